"""The input gradient of convolutions of stride 2: tiles of dy make 4x4 pixels each, row of sums by row."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.convolution.strided.products import make_products
from cnncli.kernels.convolution.strided.transforms import slope_values, write_pixels
from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import store4
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload

#: for each of the five sums in one dimension, s t u and two odd pixels: the value of a tile, and the weights
_VALUE_OF = (0, 1, 2, 1, 3)
_TAP_OF = (3, 2, 0, 1, 1)


@numba.njit(error_model="numpy")
def _transform_row(
    row: Any, dy: Any, corner: Any, v: Any, step: Any, odd_row: Any, odd_column: Any, chunk: Any, across: Any,
    first: Any, count: Any,
) -> None:  # fmt: skip
    """Write row `row` of `count` transformed tiles from `first` on: v[4][filter][chunk], planes `step` apart."""
    for c in range(dy.channels):
        i, j = first // across, first % across
        for tile in range(count):
            source = offset(corner, c * dy.channel_step + 2 * i * dy.row_step + 2 * j * LANES)
            values = slope_values(source, dy.row_step, row, odd_row, odd_column)
            store4(offset(v, (c * chunk + tile) * LANES), step, values)
            j += 1
            if j == across:
                i, j = i + 1, 0


@numba.njit(error_model="numpy")
def _write(
    row: Any, has_two: Any, m: Any, step: Any, dx: Any, begin: Any, end: Any, odd_column: Any, chunk: Any, across: Any,
    first: Any, count: Any,
) -> None:  # fmt: skip
    """Write row `row` of `count` tiles from `first` on of the channels `begin` .. `end`-1 from m[5][channel][chunk].

    With `has_two` the five planes after these are added to them.
    """
    for k in range(begin, end):
        i, j = first // across, first % across
        for tile in range(count):
            if 4 * i + row < dx.height:
                p = offset(m, (k * chunk + tile) * LANES)
                a, b, c = vload(p, 0), vload(p, step), vload(p, 2 * step)
                d, e = vload(p, 3 * step), vload(p, 4 * step)
                if has_two:
                    q = offset(p, 5 * step)
                    a, b, c = vadd(a, vload(q, 0)), vadd(b, vload(q, step)), vadd(c, vload(q, 2 * step))
                    d, e = vadd(d, vload(q, 3 * step)), vadd(e, vload(q, 4 * step))
                target = offset(dx.data, k * dx.channel_step + (4 * i + row) * dx.row_step + 4 * j * LANES)
                write_pixels((a, b, c, d, e), target, odd_column, dx.width - 4 * j)
            j += 1
            if j == across:
                i, j = i + 1, 0


@cache
def input_gradient(columns: int) -> CompiledKernel:
    """Return the kernel that writes dx, `columns` tiles of images at a time.

    `u` holds the weights as `transform_weights` lays them out, with channels for filters; `scratch` takes 4 vectors for
    each filter and tile of a chunk and 10 for each channel and tile, and 14 more. Sums over filters are chains of
    `chain` products from 0 on, added one after the other. A task is shared out as that of `correlate`.
    """
    products = make_products(columns)

    def body(
        dy: Maps, dx: Maps, u: Reals, scratch: Reals, top: int, left: int, chain: int, chunk: int, part: Part,
        parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        across = (dx.width + 3) // 4
        tiles = across * ((dx.height + 3) // 4)
        chunks = (tiles + chunk - 1) // chunk
        channels = (dx.channels + ROWS - 1) // ROWS * ROWS
        deep = (dy.channels + GROUP - 1) // GROUP * GROUP
        sizes = dy.channels, chain, chunk, channels, across
        v_step, m_step = (dy.channels * chunk + 1) * LANES, (channels * chunk + 1) * LANES
        m = offset(scratch, 4 * v_step)
        odd_row, odd_column = top % 2, left % 2
        corner = offset(dy.data, ((top + 1) // 2 - 1) * dy.row_step + ((left + 1) // 2 - 1) * LANES)
        shares = max(1, min(parts // chunks, channels // ROWS))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            count = min(chunk, tiles - first)
            begin = share * (channels // ROWS) // shares * ROWS
            end = (share + 1) * (channels // ROWS) // shares * ROWS
            last = min(end, dx.channels)
            # the middle sums of rows, which both even pixels share, are kept behind the others
            for n in (3, 1, 0, 2, 4):
                if n != 1:
                    _transform_row(
                        _VALUE_OF[n], dy, corner, scratch, v_step, odd_row, odd_column, chunk, across, first, count
                    )
                row = odd_row + (n if n < 3 else 1) if n < 4 else 3 * (1 - odd_row)
                sums = offset(m, (5 if n == 1 else 0) * m_step)
                ahead = first + chunk if n == 4 else first if n == 3 or n == 1 else -1
                following = 1 if n == 4 else 0 if n == 3 else 2
                for j in range(5):
                    read = (
                        offset(corner, following * dy.row_step + j * LANES), dy.channel_step, 2 * dy.row_step, 2 * LANES
                    )  # fmt: skip
                    written = (
                        offset(dx.data, row * dx.row_step + j * LANES),
                        dx.channel_step,
                        4 * dx.row_step,
                        4 * LANES,
                    )
                    products(
                        offset(u, (4 * _TAP_OF[n] + _TAP_OF[j]) * channels * deep),
                        offset(scratch, _VALUE_OF[j] * v_step), offset(sums, j * m_step), sizes, (first, count),
                        (begin, end), 0, read, ahead if j == 1 or j == 2 else -1, written, n != 1 and j < 4, real,
                    )  # fmt: skip
                if n != 1:
                    has_two = n == 0 or n == 2
                    _write(row, has_two, m, m_step, dx, begin, last, odd_column, chunk, across, first, count)

    return CompiledKernel(body, f"input_gradient{columns}")
