"""Convolutions of stride 2 of one image: the transforms of `convolution.strided` with channels in the lanes.

Products are added up over channels in the same order as in `convolution.strided.correlate`, so the bits are the same.
Transformed weights lie in panels of `columns` vectors of filters: [16][panel][channel][columns][LANES].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.strided.correlate import SUM_OF, TAP_OF, transform_row
from cnncli.kernels.convolution.strided.transforms import taps4, write_results
from cnncli.kernels.convolution.winograd.sizes import DEPTH
from cnncli.kernels.convolution.winograd.transforms import store4
from cnncli.kernels.few.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, vload, vset


@numba.njit(error_model="numpy")
def _write(
    row: Any, m: Any, step: Any, y: Any, begin: Any, end: Any, bias: Any, low: Any, chunk: Any, across: Any, first: Any,
    count: Any,
) -> None:  # fmt: skip
    """Write row `row` of `count` tiles from `first` on of the vectors `begin` .. `end`-1: m[3 + 3][vector][chunk]."""
    for k in range(begin, end):
        i, j = first // across, first % across
        shift = vload(bias, k * LANES)
        for tile in range(count):
            if 2 * i + row < y.height:
                sums = offset(m, (k * chunk + tile) * LANES)
                target = offset(y.data, k * y.channel_step + (2 * i + row) * y.row_step + 2 * j * LANES)
                write_results(sums, offset(sums, 3 * step), step, target, shift, low, y.width - 2 * j)
            j += 1
            if j == across:
                i, j = i + 1, 0


@cache
def correlate(rows: int, columns: int) -> CompiledKernel:
    """Return the kernel y = x * weights + bias, `rows` tiles and `columns` vectors of filters at a time.

    `columns` divides the vectors of filters. `scratch` takes (5 * vectors of channels + 6 * those of filters) * chunk
    vectors and 11 more. A task is shared out over chunks of tiles, and where those are few over panels of filters, too.
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
        panels = y.channels // columns
        # one line more between planes: powers of two would all meet in the same lines of the cache
        v_step, m_step = (x.channels * chunk + 1) * LANES, (y.channels * chunk + 1) * LANES
        m = offset(scratch, 5 * v_step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        shares = max(1, min(parts // chunks, panels))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            count = min(chunk, tiles - first)
            begin, end = share * panels // shares, (share + 1) * panels // shares
            for n in (2, 0, 1, 3, 4):
                sums = offset(m, (3 if n == 2 else 0) * m_step)
                transform_row(n, x, corner, scratch, v_step, chunk, across, first, count)
                for j in range(5):
                    plane = 4 * TAP_OF[n] + TAP_OF[j]
                    keep = int(n == 1 or n == 4) + int(j == 1 or j == 4)
                    for panel in range(begin, end):
                        weights = offset(u, (plane * panels + panel) * channels * columns * LANES)
                        target = offset(sums, SUM_OF[j] * m_step + panel * columns * chunk * LANES)
                        for c in range(0, channels, DEPTH):
                            for q in range(0, count, rows):
                                tile(
                                    offset(scratch, j * v_step + (c // LANES * chunk + q) * LANES),
                                    offset(weights, c * columns * LANES), offset(target, q * LANES), chunk * LANES,
                                    bias, real, 0, min(DEPTH, channels - c), chunk * LANES, 1, 1, 0, 0,
                                    columns * LANES, 0, keep + c,
                                )  # fmt: skip
                if n == 1 or n == 4:
                    _write(n // 4, m, m_step, y, begin * columns, end * columns, bias, low, chunk, across, first, count)

    return CompiledKernel(body, f"correlate{rows}x{columns}")


@kernel
def transform_weights(
    weight: Reals, own_bias: Reals, has_bias: int, out: Reals, bias: Reals, filters: int, channels: int, columns: int,
    panel: Block, real: Real,
) -> None:  # fmt: skip
    """Write the transformed kernels of the filters of a panel, and their biases; zeros where there is no filter."""
    vectors = (filters + LANES - 1) // LANES
    plane = vectors * channels * LANES
    for j in range(columns):
        begin = (panel * columns + j) * LANES
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
            a0, b0, c0, d0 = taps4(vload(v, 0), vload(w, 0), vload(z, 0))
            a1, b1, c1, d1 = taps4(vload(v, plane), vload(w, plane), vload(z, plane))
            a2, b2, c2, d2 = taps4(vload(v, 2 * plane), vload(w, 2 * plane), vload(z, 2 * plane))
            store4(v, plane, taps4(a0, a1, a2))
            store4(offset(v, 4 * plane), plane, taps4(b0, b1, b2))
            store4(offset(v, 8 * plane), plane, taps4(c0, c1, c2))
            store4(offset(v, 12 * plane), plane, taps4(d0, d1, d2))
