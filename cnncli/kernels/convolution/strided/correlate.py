"""Convolutions of stride 2: chunks of tiles are transformed, multiplied and transformed back, row of sums by row."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.convolution.strided.products import make_products
from cnncli.kernels.convolution.strided.transforms import pixel_values, write_results
from cnncli.kernels.convolution.winograd.sizes import DEPTH, GROUP, ROWS
from cnncli.kernels.simd.vectors import LANES, offset, vset, vstore

#: for each of the five values of a tile in one dimension: the sum its products go into, and their weights
SUM_OF = (0, 0, 1, 2, 2)
TAP_OF = (0, 1, 2, 1, 3)
#: the values of rows in the order in which they are made, as the one that comes after each
_NEXT = (1, 3, 0, 4, 2)


@numba.njit(error_model="numpy")
def transform_row(
    row: Any, x: Any, corner: Any, v: Any, step: Any, chunk: Any, across: Any, first: Any, count: Any
) -> None:
    """Write row `row` of `count` transformed tiles from `first` on: v[5][channel][chunk], planes `step` apart."""
    for c in range(x.channels):
        i, j = first // across, first % across
        for tile in range(count):
            source = offset(corner, c * x.channel_step + 4 * i * x.row_step + 4 * j * LANES)
            values = pixel_values(source, x.row_step, row)
            target = offset(v, (c * chunk + tile) * LANES)
            vstore(target, 0, values[0])
            vstore(target, step, values[1])
            vstore(target, 2 * step, values[2])
            vstore(target, 3 * step, values[3])
            vstore(target, 4 * step, values[4])
            j += 1
            if j == across:
                i, j = i + 1, 0


@numba.njit(error_model="numpy")
def _write(
    row: Any, m: Any, step: Any, y: Any, begin: Any, end: Any, bias: Any, bias_row: Any, low: Any,
    chunk: Any, across: Any, first: Any, count: Any,
) -> None:  # fmt: skip
    """Write row `row` of `count` tiles from `first` on of the filters `begin` .. `end`-1: m[3 + 3][filter][chunk]."""
    for k in range(begin, end):
        i, j = first // across, first % across
        shift = vset(bias[k * bias_row])
        for tile in range(count):
            if 2 * i + row < y.height:
                sums = offset(m, (k * chunk + tile) * LANES)
                target = offset(y.data, k * y.channel_step + (2 * i + row) * y.row_step + 2 * j * LANES)
                write_results(sums, offset(sums, 3 * step), step, target, shift, low, y.width - 2 * j)
            j += 1
            if j == across:
                i, j = i + 1, 0


@cache
def correlate(columns: int) -> CompiledKernel:
    """Return the kernel y = x * weights + bias, `columns` tiles of images at a time; at least 0 with `relu`.

    `u` holds the weights as `transform_weights` lays them out; `scratch` takes 5 vectors for each channel and tile of
    a chunk and 6 for each filter and tile, and 11 more. A task is shared out over chunks of tiles, and where those are
    few over filters, too.

    Each sum over channels consists of chains of DEPTH products from 0 on, added one after the other, in the order of
    the values of a tile; then the sums of rows, those of columns, and the bias are added.
    """
    products = make_products(columns)

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
        sizes = x.channels, DEPTH, chunk, filters, across
        # one line more between planes: powers of two would all meet in the same lines of the cache
        v_step, m_step = (x.channels * chunk + 1) * LANES, (filters * chunk + 1) * LANES
        m = offset(scratch, 5 * v_step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        shares = max(1, min(parts // chunks, filters // ROWS))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            count = min(chunk, tiles - first)
            begin = share * (filters // ROWS) // shares * ROWS
            end = (share + 1) * (filters // ROWS) // shares * ROWS
            # the middle sums of rows, which both results share, are kept behind the others
            n = 2
            for _ in range(5):
                sums = offset(m, (3 if n == 2 else 0) * m_step)
                transform_row(n, x, corner, scratch, v_step, chunk, across, first, count)
                row, is_done, ahead = _NEXT[n], n == 1 or n == 4, first + (chunk if n == 4 else 0)
                for j in range(5):
                    read = offset(corner, row * x.row_step + j * LANES), x.channel_step, 4 * x.row_step, 4 * LANES
                    written = offset(y.data, n // 4 * y.row_step + j * LANES), y.channel_step, 2 * y.row_step, 2 * LANES
                    products(
                        offset(u, (4 * TAP_OF[n] + TAP_OF[j]) * filters * deep), offset(scratch, j * v_step),
                        offset(sums, SUM_OF[j] * m_step), sizes, (first, count), (begin, end),
                        int(is_done) + int(j == 1 or j == 4), read, ahead if j else -1, written, is_done and j < 2,
                        real,
                    )  # fmt: skip
                if is_done:
                    last = min(end, y.channels)
                    _write(n // 4, m, m_step, y, begin, last, bias, bias_row, low, chunk, across, first, count)
                n = row

    return CompiledKernel(body, f"correlate{columns}")
