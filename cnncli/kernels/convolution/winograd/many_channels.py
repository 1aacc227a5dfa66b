"""Winograd convolutions of many channels: chunks of tiles are transformed, multiplied and transformed back."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.convolution.winograd.sizes import DEPTH, GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import output_tile, transform_input
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, prefetch_to_write, vset


@numba.njit(error_model="numpy")
def _transform_output(
    m: Any, step: Any, y: Any, begin: Any, end: Any, bias: Any, bias_row: Any, low: Any,
    chunk: Any, across: Any, first: Any, count: Any,
) -> None:  # fmt: skip
    """Write `count` tiles from `first` on of the filters `begin` .. `end`-1 from m[16][filter][chunk].

    What the next filter but one is written to is asked for: too many streams for the processor to foresee.
    """
    for k in range(begin, end):
        row, column = first // across, first % across
        shift = vset(bias[k * bias_row])
        for tile in range(count):
            place = k * y.channel_step + 2 * row * y.row_step + 2 * column * LANES
            for h in range(2):
                prefetch_to_write(y.data, place + 2 * y.channel_step + h * y.row_step)
                prefetch_to_write(y.data, place + 2 * y.channel_step + h * y.row_step + LANES)
            output_tile(
                offset(m, (k * chunk + tile) * LANES), step, offset(y.data, place), y.row_step, shift, low,
                y.height - 2 * row, y.width - 2 * column,
            )  # fmt: skip
            column += 1
            if column == across:
                row, column = row + 1, 0


@cache
def correlate(columns: int) -> CompiledKernel:
    """Return the kernel y = x * weights + bias, `columns` tiles of images at a time; at least 0 with `relu`.

    `u` holds the weights as `transform_weights` lays them out; the input gradient is the same with weights turned
    round. A task is shared out over chunks of tiles, and where those are few over filters, too.

    Each of the 16 sums over channels consists of chains of DEPTH products from 0 on, added one after the other; the
    transforms add as `pixels`, `results` and `taps3` write it, over rows first; the bias is added to the result.
    """
    tile = make_tile(ROWS, columns, adds=True)

    def body(
        x: Maps, y: Maps, u: Reals, bias: Reals, scratch: Reals, top: int, left: int, bias_row: int, relu: int,
        chunk: int, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        low = vset(type(real)(0) if relu else type(real)(-float("inf")))
        across = (y.width + 1) // 2
        tiles = across * ((y.height + 1) // 2)
        chunks = (tiles + chunk - 1) // chunk
        filters = (y.channels + ROWS - 1) // ROWS * ROWS
        deep = (x.channels + GROUP - 1) // GROUP * GROUP
        # one line more between the 16 planes: powers of two would all meet in the same lines of the cache
        v_step, m_step = (x.channels * chunk + 1) * LANES, (filters * chunk + 1) * LANES
        m = offset(scratch, 16 * v_step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        shares = max(1, min(parts // chunks, filters // ROWS))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            count = min(chunk, tiles - first)
            begin = share * (filters // ROWS) // shares * ROWS
            end = (share + 1) * (filters // ROWS) // shares * ROWS
            transform_input(x, corner, scratch, v_step, chunk, across, first, count, True)
            for plane in range(16):
                for c in range(0, x.channels, DEPTH):
                    depth = min(DEPTH, x.channels - c)
                    length = min(DEPTH, deep - c)
                    for k in range(begin, end, ROWS):
                        weights = offset(u, (plane * deep + c) * filters + k * length)
                        for q in range(0, count, columns):
                            tile(
                                weights, 1, offset(scratch, plane * v_step + (c * chunk + q) * LANES), LANES,
                                offset(m, plane * m_step + (k * chunk + q) * LANES), chunk * LANES, LANES,
                                bias, 0, real, 1, 1, depth, 0, 0, ROWS, 0, 0, chunk * LANES, c, 0,
                            )  # fmt: skip
            last = min(end, y.channels)
            _transform_output(m, m_step, y, begin, last, bias, bias_row, low, chunk, across, first, count)

    return CompiledKernel(body, f"correlate{columns}")
