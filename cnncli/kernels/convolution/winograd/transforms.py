"""Winograd's minimal filtering for 3x3 kernels of stride 1: the transforms.

Lavin and Gray 2016, arXiv:1509.09308, F(2x2, 3x3): a tile of 2x2 results is A' [(G w G') * (B' d B)] A summed over
channels, where d is the 4x4 tile of pixels it sees; 16 multiplications in place of 36. The gradient of the weights is
F(3x3, 2x2) with the same B: its "kernel" is a 2x2 tile of dy. The 16 products of a tile are contractions over channels
(or over tiles and images) on the register tile. Images lie in the lanes, so every transform is an addition of vectors.

    B' = [1  0 -1  0]   G = [ 1    0    0 ]   A' = [1  1  1  0]    for dy   [ 1    0 ]   results   [1  1  1  0]
         [0  1  1  0]       [1/2  1/2  1/2]        [0  1 -1 -1]             [1/2  1/2]             [0  1 -1  0]
         [0 -1  1  0]       [1/2 -1/2  1/2]                                 [1/2 -1/2]             [0  1  1 -1]
         [0  1  0 -1]       [ 0    0    1 ]                                 [ 0    1 ]
"""

from __future__ import annotations

from typing import Any

import numba

from cnncli.kernels.simd.vectors import LANES, offset, prefetch, vadd, vload, vmax, vmul, vstore, vsub


@numba.njit(error_model="numpy")
def pixels(four: Any) -> Any:
    """Return B' applied to four vectors."""
    a, b, c, d = four
    return vsub(a, c), vadd(b, c), vsub(c, b), vsub(b, d)


@numba.njit(error_model="numpy")
def results(four: Any) -> Any:
    """Return A' applied to four vectors."""
    a, b, c, d = four
    return vadd(a, vadd(b, c)), vsub(vsub(b, c), d)


@numba.njit(error_model="numpy")
def taps3(a: Any, b: Any, c: Any, half: Any) -> Any:
    """Return G applied to three vectors."""
    outer = vmul(half, vadd(a, c))
    middle = vmul(half, b)
    return a, vadd(outer, middle), vsub(outer, middle), c


@numba.njit(error_model="numpy")
def gradients(four: Any, half: Any) -> Any:
    """Return the three results of a gradient from four products, of which the middle two lack the factor 1/2."""
    a, b, c, d = four
    even = vmul(half, vadd(b, c))
    return vadd(a, even), vmul(half, vsub(b, c)), vsub(even, d)


@numba.njit(error_model="numpy")
def load4(p: Any, step: Any) -> Any:
    """Return four vectors, `step` apart."""
    return vload(p, 0), vload(p, step), vload(p, 2 * step), vload(p, 3 * step)


@numba.njit(error_model="numpy")
def store4(p: Any, step: Any, vectors: Any) -> None:
    """Write four vectors, `step` apart."""
    vstore(p, 0, vectors[0])
    vstore(p, step, vectors[1])
    vstore(p, 2 * step, vectors[2])
    vstore(p, 3 * step, vectors[3])


@numba.njit(error_model="numpy")
def _input_tile(x: Any, row_step: Any, v: Any, step: Any) -> None:
    """Write B' d B of the tile at `x`, its 16 vectors `step` apart."""
    a0, b0, c0, d0 = pixels(load4(x, row_step))
    a1, b1, c1, d1 = pixels(load4(offset(x, LANES), row_step))
    a2, b2, c2, d2 = pixels(load4(offset(x, 2 * LANES), row_step))
    a3, b3, c3, d3 = pixels(load4(offset(x, 3 * LANES), row_step))
    store4(v, step, pixels((a0, a1, a2, a3)))
    store4(offset(v, 4 * step), step, pixels((b0, b1, b2, b3)))
    store4(offset(v, 8 * step), step, pixels((c0, c1, c2, c3)))
    store4(offset(v, 12 * step), step, pixels((d0, d1, d2, d3)))


@numba.njit(error_model="numpy")
def output_tile(m: Any, step: Any, y: Any, row_step: Any, bias: Any, low: Any, rows: Any, columns: Any) -> None:
    """Write A' m A + bias, at least `low`, of 16 vectors `step` apart: what lies within `rows` and `columns`."""
    a0, b0 = results(load4(m, 4 * step))
    a1, b1 = results(load4(offset(m, step), 4 * step))
    a2, b2 = results(load4(offset(m, 2 * step), 4 * step))
    a3, b3 = results(load4(offset(m, 3 * step), 4 * step))
    left, right = results((a0, a1, a2, a3))
    vstore(y, 0, vmax(vadd(left, bias), low))
    if columns > 1:
        vstore(y, LANES, vmax(vadd(right, bias), low))
    if rows > 1:
        left, right = results((b0, b1, b2, b3))
        vstore(y, row_step, vmax(vadd(left, bias), low))
        if columns > 1:
            vstore(y, row_step + LANES, vmax(vadd(right, bias), low))


@numba.njit(error_model="numpy")
def transform_input(
    x: Any, corner: Any, v: Any, step: Any, chunk: Any, across: Any, first: Any, count: Any, asks: Any
) -> None:
    """Transform `count` tiles from `first` on of every channel: v[16][channel][chunk].

    The pixels of the next channel but one are asked for where `asks`: too many streams for the processor to foresee.
    """
    for c in range(x.channels):
        row, column = first // across, first % across
        for tile in range(count):
            place = c * x.channel_step + 2 * row * x.row_step + 2 * column * LANES
            if asks:
                soon = offset(corner, place + 2 * x.channel_step)
                for h in range(4):
                    prefetch(soon, h * x.row_step + 2 * LANES)
                    prefetch(soon, h * x.row_step + 3 * LANES)
            _input_tile(offset(corner, place), x.row_step, offset(v, (c * chunk + tile) * LANES), step)
            column += 1
            if column == across:
                row, column = row + 1, 0
