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

from cnncli.compute.arguments import Block, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.simd.product_tile import make_product_tile
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload, vset, vstore, vsub

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
def _transform_two(dy: Any, f: Any, i: Any, out: Any, deep: Any, real: Any) -> None:
    """Write d0, d0 + d1, d0 - d1, d1 of each two columns of row i: rows backwards, as the taps meet them."""
    source, step = offset(dy.data, f * dy.channel_step + i * dy.row_step), dy.height * deep
    for p in range((dy.width + 1) // 2):
        a = vload(source, 2 * p * LANES)
        b = vload(source, (2 * p + 1) * LANES) if 2 * p + 1 < dy.width else vset(real)
        vstore(out, p * step, a)
        vstore(out, p * step + LANES, vadd(a, b))
        vstore(out, p * step + 2 * LANES, vsub(a, b))
        vstore(out, p * step + 3 * LANES, b)


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
                _transform_two(dy, f, i, offset(scratch, (dy.height - 1 - i) * deep + 4 * LANES * f), deep, real)
        factors = PRODUCTS * together * dy.channels
        for h in range(first, last):
            low, high = max(0, h + top - dy.height + 1), min(TAPS - 1, h + top)
            for p in range(pairs):
                source = offset(scratch, (p * dy.height + dy.height - 1 - (h + top - low)) * deep)
                for c in range(0, dx.channels, together):
                    factor = offset(u, (c // together * TAPS + low) * factors)
                    tile(factor, source, six, (high - low + 1) * dy.channels, PRODUCTS * together, 4 * LANES)
                    for r in range(min(together, dx.channels - c)):
                        place = (c + r) * dx.channel_step + h * dx.row_step + (2 * p - left) * LANES
                        for j in range(6):
                            # the two columns before have written the first four of these already
                            if 0 <= 2 * p + j - left < dx.width:
                                value, target = vload(six, (6 * r + j) * LANES), place + j * LANES
                                if j < 4 and p:
                                    value = vadd(vload(dx.data, target), value)
                                vstore(dx.data, target, value)

    return CompiledKernel(body, f"input_gradient{together}")
