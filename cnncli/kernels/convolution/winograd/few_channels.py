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
    prefetch,
    prefetch_to_write,
    vadd,
    vload,
    vmax,
    vset,
    vstore,
    vsub,
)

_tile = make_plane_tile(ROWS)


@numba.njit(error_model="numpy")
def _transform(x: Any, place: Any, v: Any) -> None:
    """Write B' d B of the tile at `place` for every channel: v[column][channel][row]."""
    step = x.channels * 4 * LANES
    for c in range(x.channels):
        p, target = offset(place, c * x.channel_step), offset(v, c * 4 * LANES)
        a0, b0, c0, d0 = pixels(load4(p, x.row_step))
        a1, b1, c1, d1 = pixels(load4(offset(p, LANES), x.row_step))
        a2, b2, c2, d2 = pixels(load4(offset(p, 2 * LANES), x.row_step))
        a3, b3, c3, d3 = pixels(load4(offset(p, 3 * LANES), x.row_step))
        store4(target, step, pixels((a0, a1, a2, a3)))
        store4(offset(target, LANES), step, pixels((b0, b1, b2, b3)))
        store4(offset(target, 2 * LANES), step, pixels((c0, c1, c2, c3)))
        store4(offset(target, 3 * LANES), step, pixels((d0, d1, d2, d3)))


@numba.njit(error_model="numpy")
def _write(sums: Any, products: Any, y: Any, place: Any, k: Any, bias: Any, step: Any, low: Any, both: Any,
           is_right: Any) -> None:  # fmt: skip
    """Finish one column of results of ROWS filters: the sum of the others plus, or minus, the last products."""
    for r in range(ROWS):
        if k + r < y.channels:
            target = offset(y.data, place + (k + r) * y.channel_step)
            shift = vset(bias[(k + r) * step])
            top, bottom = products[2 * r], products[2 * r + 1]
            upper, lower = vload(sums, 2 * r * LANES), vload(sums, (2 * r + 1) * LANES)
            upper = vsub(upper, top) if is_right else vadd(top, upper)
            lower = vsub(lower, bottom) if is_right else vadd(bottom, lower)
            vstore(target, 0, vmax(vadd(upper, shift), low))
            if both:
                vstore(target, y.row_step, vmax(vadd(lower, shift), low))


@numba.njit(error_model="numpy")
def _ask_for(x: Any, x_place: Any, y: Any, y_place: Any, part: Any, parts: Any) -> None:
    """Ask for a part of what the next tile reads and writes: too many streams for the processor to foresee."""
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        for row in range(4):
            place = x_place + c * x.channel_step + row * x.row_step
            prefetch(x.data, place + 2 * LANES)
            prefetch(x.data, place + 3 * LANES)
    for k in range(part * y.channels // parts, (part + 1) * y.channels // parts):
        for row in range(2):
            place = y_place + k * y.channel_step + row * y.row_step
            prefetch_to_write(y.data, place)
            prefetch_to_write(y.data, place + LANES)


@kernel
def correlate(
    x: Maps, y: Maps, u: Reals, bias: Reals, scratch: Reals, top: int, left: int, bias_row: int, relu: int,
    part: Part, parts: Parts, real: Real,
) -> None:  # fmt: skip
    """Write y = x * weights + bias, at least 0 with `relu`; operands as `many_channels.correlate` takes them.

    `scratch` takes 16 vectors for each channel of x and 4 for each filter. A task is shared out over tiles of pixels.
    """
    low = vset(type(real)(0) if relu else type(real)(-float("inf")))
    across = (y.width + 1) // 2
    tiles = across * ((y.height + 1) // 2)
    filters = (y.channels + ROWS - 1) // ROWS * ROWS
    deep = (x.channels + GROUP - 1) // GROUP * GROUP
    plane, column = filters * deep, x.channels * 4 * LANES
    panels = filters // ROWS
    even = offset(scratch, 16 * x.channels * LANES)
    odd = offset(even, 2 * filters * LANES)
    corner = offset(x.data, -top * x.row_step - left * LANES)
    for t in range(part * tiles // parts, (part + 1) * tiles // parts):
        i, j = 2 * (t // across), 2 * (t % across)
        _transform(x, offset(corner, i * x.row_step + j * LANES), scratch)
        place, both = i * y.row_step + j * LANES, y.height - i > 1
        has_right = y.width - j > 1
        i, j = 2 * ((t + 1) // across), 2 * ((t + 1) % across)
        next_x, next_y = (i - top) * x.row_step + (j - left) * LANES, i * y.row_step + j * LANES
        for k in range(0, filters, ROWS):
            found = _tile(offset(u, plane + k * deep), 4 * plane, ROWS, offset(scratch, column), x.channels)
            _ask_for(x, next_x, y, next_y, k // ROWS + 0 * panels, 4 * panels)
            for r in range(2 * ROWS):
                vstore(even, (2 * k + r) * LANES, found[r])
        for k in range(0, filters, ROWS):
            found = _tile(offset(u, 2 * plane + k * deep), 4 * plane, ROWS, offset(scratch, 2 * column), x.channels)
            _ask_for(x, next_x, y, next_y, k // ROWS + 1 * panels, 4 * panels)
            for r in range(2 * ROWS):
                second = vload(even, (2 * k + r) * LANES)
                vstore(even, (2 * k + r) * LANES, vadd(second, found[r]))
                vstore(odd, (2 * k + r) * LANES, vsub(second, found[r]))
        for k in range(0, filters, ROWS):
            found = _tile(offset(u, k * deep), 4 * plane, ROWS, scratch, x.channels)
            _ask_for(x, next_x, y, next_y, k // ROWS + 2 * panels, 4 * panels)
            _write(offset(even, 2 * k * LANES), found, y, place, k, bias, bias_row, low, both, False)
        if has_right:
            for k in range(0, filters, ROWS):
                found = _tile(offset(u, 3 * plane + k * deep), 4 * plane, ROWS, offset(scratch, 3 * column), x.channels)
                _ask_for(x, next_x, y, next_y, k // ROWS + 3 * panels, 4 * panels)
                _write(offset(odd, 2 * k * LANES), found, y, place + LANES, k, bias, bias_row, low, both, True)
