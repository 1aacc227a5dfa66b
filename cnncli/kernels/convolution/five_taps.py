"""5x5 convolutions of stride 1 with 7 multiplications where 10 are usual: minimal filtering along the rows.

Two neighbouring results of five taps are the sum of two of three taps, F(2, 3), and two of two taps, F(2, 2): 4 and 3
products (Winograd 1980, Arithmetic Complexity of Computations) at the points 0, 1, -1 and infinity, which round as
little as direct sums do. F(2, 5) would take 6 products, but at points that round worse. With the taps g and the pixels
x of a row, the products are those of the same place in the two lists ::

    g0   (g0 + g1 + g2) / 2   (g0 - g1 + g2) / 2   g2        g3        g3 + g4   g4
    x0 - x2   x1 + x2         x2 - x1              x1 - x3   x3 - x4   x4        x4 - x5

and y0 = 0 + 1 + 2 + 4 + 5, y1 = 1 - 2 - 3 + 5 - 6. The transposed algorithm makes the input gradient: two numbers of
dy meet five taps and give six sums of dx (4 and 3 products of d0, d0 + d1, d0 - d1, d1 with the same seven factors).
Images lie in the lanes, so what is transformed along a row are whole vectors.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from cnncli.compute.arguments import Block, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.simd.product_tile import make_product_tile
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload, vmax, vset, vstore, vsub

TAPS, PRODUCTS = 5, 7
#: vector of dy and sum of each product; the six sums of dx as sums and differences of those
_TURNED = ((0, 0), (1, 1), (2, 2), (3, 3), (0, 4), (1, 5), (3, 6))
_SIX = (
    ((0, 1),),
    ((1, 1), (2, -1), (3, -1)),
    ((1, 1), (2, 1), (0, -1)),
    ((3, 1), (4, 1)),
    ((5, 1), (4, -1), (6, -1)),
    ((6, 1),),
)

#: sum of each product of the seven; the two results as sums and differences of the four sums
_FORWARD = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1), (6, 3))
_TWO = (((0, 1), (1, 1), (2, 1)), ((1, 1), (2, -1), (3, -1)))


@kernel
def transform_weights(
    weight: Reals, out: Reals, rows: int, depth: int, row_step: int, depth_step: int, together: int, panel: Block,
    real: Real,
) -> None:  # fmt: skip
    """Write the seven factors of each row of taps: out[panel][tap row][depth][product][together], 0 beyond `rows`.

    The taps of row r and depth c begin at weight[r * row_step + c * depth_step].
    """
    half = type(real)(0.5)
    for i in range(TAPS):
        for c in range(depth):
            target = offset(out, ((panel * TAPS + i) * depth + c) * PRODUCTS * together)
            for r in range(together):
                row = panel * together + r
                if row < rows:
                    g = offset(weight, row * row_step + c * depth_step + i * TAPS)
                    outer, middle = (g[0] + g[2]) * half, g[1] * half
                    target[r] = g[0]
                    target[together + r] = outer + middle
                    target[2 * together + r] = outer - middle
                    target[3 * together + r] = g[2]
                    target[4 * together + r] = g[3]
                    target[5 * together + r] = g[3] + g[4]
                    target[6 * together + r] = g[4]
                else:
                    for product in range(PRODUCTS):
                        target[product * together + r] = real


@numba.njit(error_model="numpy")
def transform_six(source: Any, out: Any, is_whole: Any, real: Any) -> None:
    """Write the seven vectors of the six pixels from `source` on; the last one is 0 if not `is_whole`."""
    x1, x2, x3, x4 = vload(source, LANES), vload(source, 2 * LANES), vload(source, 3 * LANES), vload(source, 4 * LANES)
    x5 = vload(source, 5 * LANES) if is_whole else vset(real)
    vstore(out, 0, vsub(vload(source, 0), x2))
    vstore(out, LANES, vadd(x1, x2))
    vstore(out, 2 * LANES, vsub(x2, x1))
    vstore(out, 3 * LANES, vsub(x1, x3))
    vstore(out, 4 * LANES, vsub(x3, x4))
    vstore(out, 5 * LANES, x4)
    vstore(out, 6 * LANES, vsub(x4, x5))


@cache
def correlate(together: int) -> CompiledKernel:
    """Return the kernel of the forward pass that makes `together` maps at a time.

    It writes y = x * weights + bias, at least 0 with `relu`, from the factors of `transform_weights` with filters as
    rows, channels as depth. Columns of x lie in zeros that are `left` wide, and as wide as y needs on the right; rows
    beyond the image are not read. `scratch` takes 7 vectors for each channel, row of x and two columns of y, and 2 for
    each of the maps made together. A task is shared out over rows of y.
    """
    tile = make_product_tile(together, _FORWARD, _TWO)

    def body(
        x: Maps, y: Maps, u: Reals, bias: Reals, scratch: Reals, top: int, left: int, bias_row: int, relu: int,
        part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        low = vset(type(real)(0) if relu else type(real)(-np.inf))
        pairs = (y.width + 1) // 2
        deep = PRODUCTS * LANES * x.channels
        two = offset(scratch, x.height * pairs * deep)
        first, last = part * y.height // parts, (part + 1) * y.height // parts
        for i in range(max(0, first - top), min(x.height, last - top + TAPS - 1)):
            for c in range(x.channels):
                source = offset(x.data, c * x.channel_step + i * x.row_step - left * LANES)
                for p in range(pairs):
                    target = offset(scratch, (p * x.height + i) * deep + PRODUCTS * LANES * c)
                    transform_six(offset(source, 2 * p * LANES), target, 2 * p + 1 < y.width, real)
        factors = PRODUCTS * together * x.channels
        for h in range(first, last):
            skip, end = max(0, top - h), min(TAPS, x.height - h + top)
            for p in range(pairs):
                source = offset(scratch, (p * x.height + h - top + skip) * deep)
                for k in range(0, y.channels, together):
                    factor = offset(u, (k // together * TAPS + skip) * factors)
                    tile(factor, source, two, (end - skip) * x.channels, PRODUCTS * together, PRODUCTS * LANES)
                    for r in range(min(together, y.channels - k)):
                        target = offset(y.data, (k + r) * y.channel_step + h * y.row_step + 2 * p * LANES)
                        shift = vset(bias[(k + r) * bias_row])
                        vstore(target, 0, vmax(vadd(vload(two, 2 * r * LANES), shift), low))
                        if 2 * p + 1 < y.width:
                            vstore(target, LANES, vmax(vadd(vload(two, (2 * r + 1) * LANES), shift), low))

    return CompiledKernel(body, f"correlate{together}")


@numba.njit(error_model="numpy")
def transform_two(source: Any, out: Any, step: Any, is_whole: Any, real: Any) -> None:
    """Write d0, d0 + d1, d0 - d1, d1 of the two vectors from `source` on; the second one is 0 if not `is_whole`."""
    a = vload(source, 0)
    b = vload(source, LANES) if is_whole else vset(real)
    vstore(out, 0, a)
    vstore(out, step, vadd(a, b))
    vstore(out, 2 * step, vsub(a, b))
    vstore(out, 3 * step, b)


@numba.njit(error_model="numpy")
def _transform_row(dy: Any, f: Any, i: Any, out: Any, deep: Any, real: Any) -> None:
    """Write the four vectors of each two columns of row i: rows backwards, as the taps meet them."""
    source, step = offset(dy.data, f * dy.channel_step + i * dy.row_step), dy.height * deep
    for p in range((dy.width + 1) // 2):
        transform_two(offset(source, 2 * p * LANES), offset(out, p * step), LANES, 2 * p + 1 < dy.width, real)


@numba.njit(error_model="numpy")
def _add_six(dx: Any, row: Any, column: Any, left: Any, found: Any) -> None:
    """Add the six sums of two columns of dy to a row of dx, four of which the columns before have written already."""
    for j in range(6):
        if 0 <= column + j - left < dx.width:
            value, target = vload(found, j * LANES), row + (column + j) * LANES
            if j < 4 and column:
                value = vadd(vload(dx.data, target), value)
            vstore(dx.data, target, value)


@cache
def input_gradient(together: int) -> CompiledKernel:
    """Return the kernel of the input gradient that makes `together` channels at a time.

    It writes dx from dy and the factors of `transform_weights` with channels as rows, filters as depth; dy's row i and
    column j lie below the row i - top and right of the column j - left of x. `scratch` takes 4 vectors for each filter
    and each two columns of dy, and 6 for each of the channels made together. A task is shared out over rows of dx.
    """
    tile = make_product_tile(together, _TURNED, _SIX)

    def body(
        dy: Maps, dx: Maps, u: Reals, scratch: Reals, top: int, left: int, part: Part, parts: Parts, real: Real
    ) -> None:
        pairs = (dy.width + 1) // 2
        deep = 4 * LANES * dy.channels
        six = offset(scratch, dy.height * pairs * deep)
        first, last = part * dx.height // parts, (part + 1) * dx.height // parts
        for i in range(max(0, first + top - TAPS + 1), min(dy.height, last + top)):
            for f in range(dy.channels):
                _transform_row(dy, f, i, offset(scratch, (dy.height - 1 - i) * deep + 4 * LANES * f), deep, real)
        factors = PRODUCTS * together * dy.channels
        for h in range(first, last):
            low, high = max(0, h + top - dy.height + 1), min(TAPS - 1, h + top)
            for p in range(pairs):
                source = offset(scratch, (p * dy.height + dy.height - 1 - (h + top - low)) * deep)
                for c in range(0, dx.channels, together):
                    factor = offset(u, (c // together * TAPS + low) * factors)
                    tile(factor, source, six, (high - low + 1) * dy.channels, PRODUCTS * together, 4 * LANES)
                    for r in range(min(together, dx.channels - c)):
                        place = (c + r) * dx.channel_step + h * dx.row_step - left * LANES
                        _add_six(dx, place, 2 * p, left, offset(six, 6 * r * LANES))

    return CompiledKernel(body, f"input_gradient{together}")
