"""Winograd's minimal filtering of one image: the transforms of `convolution.winograd` with channels in the lanes.

Lavin and Gray 2016, arXiv:1509.09308. Products are added up over channels in the same order as there, so the bits are
the same. Transformed weights lie in panels of `columns` vectors of filters: [16][panel][channel][columns][LANES].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.winograd.sizes import DEPTH
from cnncli.kernels.convolution.winograd.transforms import output_tile, store4, taps3, transform_input
from cnncli.kernels.few.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, vload, vset


@numba.njit(error_model="numpy")
def _transform_output(
    m: Any, step: Any, y: Any, begin: Any, end: Any, bias: Any, low: Any, chunk: Any, across: Any, first: Any,
    count: Any,
) -> None:  # fmt: skip
    """Write `count` tiles from `first` on of the vectors of filters `begin` .. `end`-1 from m[16][vector][chunk]."""
    for k in range(begin, end):
        row, column = first // across, first % across
        shift = vload(bias, k * LANES)
        for tile in range(count):
            place = k * y.channel_step + 2 * row * y.row_step + 2 * column * LANES
            output_tile(
                offset(m, (k * chunk + tile) * LANES), step, offset(y.data, place), y.row_step, shift, low,
                y.height - 2 * row, y.width - 2 * column,
            )  # fmt: skip
            column += 1
            if column == across:
                row, column = row + 1, 0


@cache
def correlate(rows: int, columns: int) -> CompiledKernel:
    """Return the kernel y = x * weights + bias, `rows` tiles and `columns` vectors of filters at a time.

    `scratch` takes 16 * (vectors of channels and of filters) * chunk vectors and two more for each of the 16. A task is
    shared out over chunks of tiles, and where those are few over panels of filters, too.
    """
    tile = make_tile(rows, columns, 1, adds=True)

    def body(
        x: Maps, y: Maps, u: Reals, bias: Reals, scratch: Reals, top: int, left: int, channels: int, relu: int,
        chunk: int, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        low = vset(type(real)(0) if relu else type(real)(-float("inf")))
        across = (y.width + 1) // 2
        tiles = across * ((y.height + 1) // 2)
        chunks = (tiles + chunk - 1) // chunk
        panels = (y.channels + columns - 1) // columns
        # one line more between the 16 planes: powers of two would all meet in the same lines of the cache
        v_step, m_step = (x.channels * chunk + 1) * LANES, (y.channels * chunk + 1) * LANES
        m = offset(scratch, 16 * v_step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        shares = max(1, min(parts // chunks, panels))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            count = min(chunk, tiles - first)
            begin, end = share * panels // shares, (share + 1) * panels // shares
            transform_input(x, corner, scratch, v_step, chunk, across, first, count, False)
            for plane in range(16):
                for panel in range(begin, end):
                    column = min(panel * columns, y.channels - columns)
                    weights = offset(u, (plane * panels + panel) * channels * columns * LANES)
                    for c in range(0, channels, DEPTH):
                        for q in range(0, count, rows):
                            tile(
                                offset(scratch, plane * v_step + (c // LANES * chunk + q) * LANES),
                                offset(weights, c * columns * LANES),
                                offset(m, plane * m_step + (column * chunk + q) * LANES), chunk * LANES, bias, real,
                                0, min(DEPTH, channels - c), chunk * LANES, 1, 1, 0, 0, columns * LANES, 0, c,
                            )  # fmt: skip
            column = min(begin * columns, y.channels - columns)
            last = min(end * columns, y.channels)
            _transform_output(m, m_step, y, column, last, bias, low, chunk, across, first, count)

    return CompiledKernel(body, f"correlate{rows}x{columns}")


@kernel
def transform_weights(
    weight: Reals, own_bias: Reals, has_bias: int, out: Reals, bias: Reals, filters: int, channels: int, columns: int,
    panel: Block, real: Real,
) -> None:  # fmt: skip
    """Write G w G' of the filters of a panel, and their biases; zeros where there is no filter.

    The last panel ends with the last vector of filters.
    """
    vectors = (filters + LANES - 1) // LANES
    first = min(panel * columns, vectors - columns)
    plane = (vectors + columns - 1) // columns * channels * columns * LANES
    half = vset(type(real)(0.5))
    for j in range(columns):
        begin = (first + j) * LANES
        for lane in range(LANES):
            filter_ = begin + lane
            bias[filter_] = own_bias[filter_ if has_bias else 0] if filter_ < filters else real
        for c in range(channels):
            v = offset(out, ((panel * channels + c) * columns + j) * LANES)
            # the nine taps are gathered where the results are going to lie
            for lane in range(LANES):
                is_there = begin + lane < filters
                source = ((begin + lane if is_there else 0) * channels + c) * 9
                for tap in range(9):
                    v[tap * plane + lane] = weight[source + tap] if is_there else real
            w, z = offset(v, 3 * plane), offset(v, 6 * plane)
            a0, b0, c0, d0 = taps3(vload(v, 0), vload(w, 0), vload(z, 0), half)
            a1, b1, c1, d1 = taps3(vload(v, plane), vload(w, plane), vload(z, plane), half)
            a2, b2, c2, d2 = taps3(vload(v, 2 * plane), vload(w, 2 * plane), vload(z, 2 * plane), half)
            store4(v, plane, taps3(a0, a1, a2, half))
            store4(offset(v, 4 * plane), plane, taps3(b0, b1, b2, half))
            store4(offset(v, 8 * plane), plane, taps3(c0, c1, c2, half))
            store4(offset(v, 12 * plane), plane, taps3(d0, d1, d2, half))
