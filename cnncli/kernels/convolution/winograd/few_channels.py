"""Winograd convolutions of few channels: the products of a tile of pixels are transformed back in registers.

The same transforms, weights and order of additions as `many_channels.correlate`, so the same bits. That kernel writes
the 16 products of many tiles to memory, which are four times the results: with few channels that takes as long as the
multiplications. Here one tile of pixels meets all filters, plane column by plane column, and what is kept of the
products are two vectors for each row of results.
"""

from __future__ import annotations

from typing import Any

import numba

from cnncli.compute.arguments import Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import load4, pixels, store4
from cnncli.kernels.simd.plane_tile import make_plane_tile
from cnncli.kernels.simd.vectors import (
    LANES,
    offset,
    vadd,
    vload,
    vmax,
    vset,
    vstore,
    vsub,
)

_tile = make_plane_tile(ROWS)


@numba.njit(error_model="numpy")
def _transform(j: Any, x: Any, place: Any, v: Any, part: Any, parts: Any) -> None:
    """Write column `j` of B' d B of the tile at `place` for a part of the channels: v[channel][row]."""
    first, second = (0, 2) if j == 0 else (1, 2) if j == 1 else (2, 1) if j == 2 else (1, 3)
    begin, end = part * x.channels // parts, (part + 1) * x.channels // parts
    for c in range(begin, end):
        p, target = offset(place, c * x.channel_step), offset(v, c * 4 * LANES)
        e, f, g, h = pixels(load4(offset(p, first * LANES), x.row_step))
        q, r, s, t = pixels(load4(offset(p, second * LANES), x.row_step))
        if j == 1:
            store4(target, LANES, (vadd(e, q), vadd(f, r), vadd(g, s), vadd(h, t)))
        else:
            store4(target, LANES, (vsub(e, q), vsub(f, r), vsub(g, s), vsub(h, t)))


@numba.njit(error_model="numpy")
def _exchange(even: Any, odd: Any, four: Any) -> None:
    """Write the sums of the second products and these to `even`, their differences to `odd`."""
    a, b, c, d = load4(even, LANES)
    p, q, r, s = four
    store4(even, LANES, (vadd(a, p), vadd(b, q), vadd(c, r), vadd(d, s)))
    store4(odd, LANES, (vsub(a, p), vsub(b, q), vsub(c, r), vsub(d, s)))


@numba.njit(error_model="numpy")
def _write(sums: Any, products: Any, y: Any, place: Any, k: Any, bias: Any, step: Any, low: Any, both: Any,
           is_right: Any) -> None:  # fmt: skip
    """Finish one column of results of ROWS filters: the sum of the others plus, or minus, the last products."""
    _write_row(sums, products[0], products[1], y, place, k, bias, step, low, both, is_right)
    _write_row(offset(sums, 2 * LANES), products[2], products[3], y, place, k + 1, bias, step, low, both, is_right)
    _write_row(offset(sums, 4 * LANES), products[4], products[5], y, place, k + 2, bias, step, low, both, is_right)
    _write_row(offset(sums, 6 * LANES), products[6], products[7], y, place, k + 3, bias, step, low, both, is_right)


@numba.njit(error_model="numpy")
def _write_row(sums: Any, top: Any, bottom: Any, y: Any, place: Any, k: Any, bias: Any, step: Any, low: Any, both: Any,
               is_right: Any) -> None:  # fmt: skip
    if k < y.channels:
        target = offset(y.data, place + k * y.channel_step)
        shift = vset(bias[k * step])
        upper, lower = vload(sums, 0), vload(sums, LANES)
        upper = vsub(upper, top) if is_right else vadd(top, upper)
        lower = vsub(lower, bottom) if is_right else vadd(bottom, lower)
        vstore(target, 0, vmax(vadd(upper, shift), low))
        if both:
            vstore(target, y.row_step, vmax(vadd(lower, shift), low))


@numba.njit(error_model="numpy")
def _next_lines(x: Any, next_x: Any, y: Any, next_y: Any, row: Any, panel: Any) -> Any:
    """Return a pointer and a step per channel to what is asked for meanwhile: a row of x, or a pixel of y."""
    if panel < 2:
        return offset(next_x, row * x.row_step + (2 + panel) * LANES), x.channel_step
    k = (panel - 2) * x.channels
    step = y.channel_step if k < y.channels else 0
    return offset(next_y, min(k, y.channels) * y.channel_step + row // 2 * y.row_step + row % 2 * LANES), step


@kernel
def correlate(
    x: Maps, y: Maps, u: Reals, bias: Reals, scratch: Reals, top: int, left: int, bias_row: int, relu: int,
    part: Part, parts: Parts, real: Real,
) -> None:  # fmt: skip
    """Write y = x * weights + bias, at least 0 with `relu`; operands as `many_channels.correlate` takes them.

    `scratch` takes 8 vectors for each channel of x and 4 for each filter. A task is shared out over tiles of pixels.
    While one column of the transformed tile is multiplied, the next one is made.
    """
    low = vset(type(real)(0) if relu else type(real)(-float("inf")))
    across = (y.width + 1) // 2
    tiles = across * ((y.height + 1) // 2)
    filters = (y.channels + ROWS - 1) // ROWS * ROWS
    plane = filters * ((x.channels + GROUP - 1) // GROUP * GROUP)
    panel, panels = plane // filters * ROWS, filters // ROWS
    even = offset(scratch, 8 * x.channels * LANES)
    odd = offset(even, 2 * filters * LANES)
    v, w = offset(scratch, 0), offset(scratch, 4 * x.channels * LANES)
    corner = offset(x.data, -top * x.row_step - left * LANES)
    begin, end = part * tiles // parts, (part + 1) * tiles // parts
    if begin < end:
        first = offset(corner, 2 * (begin // across) * x.row_step + 2 * (begin % across) * LANES)
        _transform(1, x, first, v, 0, 1)
    for tile in range(begin, end):
        i, j = 2 * (tile // across), 2 * (tile % across)
        here, place, both = offset(corner, i * x.row_step + j * LANES), i * y.row_step + j * LANES, y.height - i > 1
        has_next, has_right = tile + 1 < end, y.width - j > 1
        i, j = 2 * ((tile + 1) // across), 2 * ((tile + 1) % across)
        next_x, next_y = offset(corner, i * x.row_step + j * LANES), offset(y.data, i * y.row_step + j * LANES)
        for n in range(panels):
            _transform(2, x, here, w, n, panels)
            soon, step = _next_lines(x, next_x, y, next_y, 0, n)
            found = _tile(offset(u, plane + n * panel), 4 * plane, ROWS, v, x.channels, soon, step)
            store4(offset(even, 2 * n * ROWS * LANES), LANES, found[:4])
            store4(offset(even, (2 * n + 1) * ROWS * LANES), LANES, found[4:])
        for n in range(panels):
            _transform(0, x, here, v, n, panels)
            soon, step = _next_lines(x, next_x, y, next_y, 1, n)
            found = _tile(offset(u, 2 * plane + n * panel), 4 * plane, ROWS, w, x.channels, soon, step)
            _exchange(offset(even, n * 2 * ROWS * LANES), offset(odd, n * 2 * ROWS * LANES), found[:4])
            _exchange(offset(even, (2 * n + 1) * ROWS * LANES), offset(odd, (2 * n + 1) * ROWS * LANES), found[4:])
        for n in range(panels):
            if has_right:
                _transform(3, x, here, w, n, panels)
            elif has_next:
                _transform(1, x, next_x, w, n, panels)
            soon, step = _next_lines(x, next_x, y, next_y, 2, n)
            found = _tile(offset(u, n * panel), 4 * plane, ROWS, v, x.channels, soon, step)
            _write(offset(even, 2 * n * ROWS * LANES), found, y, place, n * ROWS, bias, bias_row, low, both, False)
        v, w = w, v
        for n in range(panels if has_right else 0):
            if has_next:
                _transform(1, x, next_x, w, n, panels)
            soon, step = _next_lines(x, next_x, y, next_y, 3, n)
            found = _tile(offset(u, 3 * plane + n * panel), 4 * plane, ROWS, v, x.channels, soon, step)
            _write(
                offset(odd, 2 * n * ROWS * LANES), found, y, place + LANES, n * ROWS, bias, bias_row, low, both, True
            )
        if has_right:
            v, w = w, v
