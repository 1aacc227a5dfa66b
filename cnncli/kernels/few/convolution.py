"""Convolutions and dense layers of one image, with the filters in the lanes.

Every result is the sum of the same products in the same order as in `convolution.loops` (direct) and
`convolution.packed`, so that its bits are the same: multiplication commutes, and nothing else is exchanged. Weights lie
in panels of `columns` vectors of filters, [panel][channel][tap][columns][LANES]; where panels do not divide the
vectors, the last one overlaps the one before and computes the same numbers again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Parts, Real, Reals, Window
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.winograd.sizes import DEPTH
from cnncli.kernels.few.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, transpose, vadd, vfma, vload, vmax, vset, vstore

_SHIFT = LANES.bit_length() - 1  # a division by LANES


@numba.njit(error_model="numpy")
def rows_inside(height: Any, first: Any, dilation: Any, taps: Any) -> Any:
    """Return the first tap and how many taps read rows first + tap * dilation in 0 .. height-1."""
    low = max(-(first // dilation), 0)
    return low, max(min((height - 1 - first) // dilation, taps - 1) - low + 1, 0)


@cache
def contract(rows: int, columns: int, stride: int, taps: int) -> CompiledKernel:
    """Return the kernel of a tile of `rows` pixels x `columns` vectors of filters, for a stride and one or more taps.

    Sums are chains over `block` channels and their taps, as those of `convolution.loops.contract`; between them they
    lie in y, so panels of `columns` must divide the vectors of filters. A task is shared out over panels and, of each,
    over `shares` groups of rows of pixels.
    """
    tile = make_tile(rows, columns, stride, has_taps=taps > 1)

    def body(
        x: Maps, y: Maps, weight: Reals, bias: Reals, window: Window, down: int, across: int, channels: int, block: int,
        relu: int, shares: int, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        none = type(real)(-float("inf"))
        units = (y.channels + columns - 1) // columns * shares
        w_down = window.columns * columns * LANES
        w_channel = window.rows * w_down
        for unit in range(part * units // parts, (part + 1) * units // parts):
            panel, share = unit // shares, unit % shares
            weights, shift = offset(weight, panel * channels * w_channel), offset(bias, panel * columns * LANES)
            for row in range(share * y.height // shares, (share + 1) * y.height // shares):
                top = row * window.row_stride - window.top
                skip, inside = rows_inside(x.height, top, down, window.rows)
                source = offset(x.data, (top + skip * down) * x.row_step - window.left * LANES)
                target = offset(y.data, panel * columns * y.channel_step + row * y.row_step)
                for i in range(0, y.width, rows):
                    pixel = min(i, y.width - rows)
                    for c in range(0, channels, block):
                        low = type(real)(0) if relu and c + block >= channels else none
                        tile(
                            offset(source, pixel * window.column_stride * LANES), offset(weights, skip * w_down),
                            offset(target, pixel * LANES), y.channel_step, shift, low,
                            c, min(block, channels - c) if inside else 0, x.channel_step, inside, window.columns,
                            down * x.row_step, across * LANES, w_channel, w_down, c,
                        )  # fmt: skip

    return CompiledKernel(body, f"contract{rows}x{columns}x{stride}x{taps}")


@numba.njit(error_model="numpy")
def _copy_pixels(
    x: Any, target: Any, window: Any, down: Any, across: Any, channels: Any, width: Any, first: Any, count: Any,
    chunk: Any,
) -> None:  # fmt: skip
    """Write what results `first` .. first + count - 1 are made of: [channel and tap][result], in lanes of `x`."""
    taps = window.rows * window.columns
    for t in range(count):
        row, column = (first + t) // width, (first + t) % width
        corner = (row * window.row_stride - window.top) * x.row_step
        corner += (column * window.column_stride - window.left) * LANES
        for i in range(window.rows):
            for j in range(window.columns):
                source = offset(x.data, corner + i * down * x.row_step + j * across * LANES)
                d = i * window.columns + j
                for c in range(0, channels, LANES):
                    for lane in range(min(LANES, channels - c)):
                        target[((d >> _SHIFT) * chunk + t) * LANES + (d & (LANES - 1))] = source[lane]
                        d += taps
                    source = offset(source, x.channel_step)


@cache
def contract_packed(rows: int, columns: int) -> CompiledKernel:
    """Return the kernel of `contract` on copied pixels, with the order of the sums of `convolution.packed`.

    `scratch` takes (taps / LANES + filters / LANES) * chunk vectors. A task is shared out over chunks of results, and
    where those are few over panels of filters, too.
    """
    tile = make_tile(rows, columns, 1, adds=True)

    def body(
        x: Maps, y: Maps, weight: Reals, bias: Reals, scratch: Reals, window: Window, down: int, across: int,
        channels: int, relu: int, chunk: int, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        low = vset(type(real)(0) if relu else type(real)(-float("inf")))
        depth, count = channels * window.rows * window.columns, y.height * y.width
        chunks = (count + chunk - 1) // chunk
        panels = (y.channels + columns - 1) // columns
        sums = offset(scratch, (depth + LANES - 1) // LANES * chunk * LANES)
        shares = max(1, min(parts // chunks, panels))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            last = min(first + chunk, count)
            _copy_pixels(x, scratch, window, down, across, channels, y.width, first, last - first, chunk)
            for panel in range(share * panels // shares, (share + 1) * panels // shares):
                column = min(panel * columns, y.channels - columns)
                for d in range(0, depth, DEPTH):
                    for q in range(0, last - first, rows):
                        tile(
                            offset(scratch, (d // LANES * chunk + q) * LANES),
                            offset(weight, (panel * depth + d) * columns * LANES),
                            offset(sums, (column * chunk + q) * LANES), chunk * LANES, bias, real,
                            0, min(DEPTH, depth - d), chunk * LANES, 1, 1, 0, 0, columns * LANES, 0, d,
                        )  # fmt: skip
                for c in range(column, column + columns):
                    shift = vload(bias, c * LANES)
                    for t in range(first, last):
                        total = vadd(vload(sums, (c * chunk + t - first) * LANES), shift)
                        place = c * y.channel_step + t // y.width * y.row_step + t % y.width * LANES
                        vstore(y.data, place, vmax(total, low))

    return CompiledKernel(body, f"contract_packed{rows}x{columns}")


@kernel
def depthwise(
    x: Maps, y: Maps, weight: Reals, bias: Reals, window: Window, down: int, across: int, relu: int,
    part: Part, parts: Parts, real: Real,
) -> None:  # fmt: skip
    """Write y = x * weight + bias with one kernel per channel: weight[vector of channels][tap][LANES]."""
    low = vset(type(real)(0) if relu else type(real)(-float("inf")))
    units = y.channels * y.height
    for unit in range(part * units // parts, (part + 1) * units // parts):
        c, row = unit // y.height, unit % y.height
        top = row * window.row_stride - window.top
        skip, inside = rows_inside(x.height, top, down, window.rows)
        source = offset(x.data, c * x.channel_step + (top + skip * down) * x.row_step - window.left * LANES)
        taps = offset(weight, (c * window.rows + skip) * window.columns * LANES)
        shift = vload(bias, c * LANES)
        for column in range(y.width):
            pixels = offset(source, column * window.column_stride * LANES)
            total = shift
            for i in range(inside):
                for j in range(window.columns):
                    pixel = vload(pixels, i * down * x.row_step + j * across * LANES)
                    total = vfma(vload(taps, (i * window.columns + j) * LANES), pixel, total)
            vstore(y.data, c * y.channel_step + row * y.row_step + column * LANES, vmax(total, low))


@kernel
def pack_filters(
    weight: Reals, own_bias: Reals, has_bias: int, out: Reals, bias: Reals, filters: int, size: int, columns: int,
    panel: Block, real: Real,
) -> None:  # fmt: skip
    """Write out[panel][size][columns][LANES] of weight[filter][size], and the biases; zeros where there is no filter.

    The last panel ends with the last vector of filters.
    """
    vectors = (filters + LANES - 1) // LANES
    first = min(panel * columns, vectors - columns)
    step = columns * LANES
    for j in range(columns):
        begin = (first + j) * LANES
        target = offset(out, panel * size * step + j * LANES)
        whole = size // LANES * LANES if begin + LANES <= filters else 0
        for d in range(0, whole, LANES):
            transpose(offset(weight, begin * size + d), size, offset(target, d * step), step)
        for lane in range(LANES):
            filter_ = begin + lane
            for d in range(whole, size):
                target[d * step + lane] = weight[filter_ * size + d] if filter_ < filters else real
            bias[filter_] = own_bias[filter_ if has_bias else 0] if filter_ < filters else real
