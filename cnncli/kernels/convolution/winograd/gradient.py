"""The weight gradient of Winograd convolutions: products of transformed pixels and gradients, summed over tiles."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Partial, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.winograd.sizes import FAR_PRODUCTS, NEAR_PRODUCTS
from cnncli.kernels.convolution.winograd.transforms import gradients, load4, pixels, store4
from cnncli.kernels.simd.taps import make_taps_store
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import (
    LANES,
    offset,
    prefetch,
    prefetch_to_write,
    transpose,
    vadd,
    vload,
    vset,
    vstore,
    vsub,
)

_store_taps = make_taps_store(9)


@numba.njit(error_model="numpy")
def _pixel_row(i: Any, p: Any, row_step: Any) -> Any:
    """Return row `i` of B' applied to a column of pixels."""
    if i == 0:
        return vsub(vload(p, 0), vload(p, 2 * row_step))
    if i == 1:
        return vadd(vload(p, row_step), vload(p, 2 * row_step))
    if i == 2:
        return vsub(vload(p, 2 * row_step), vload(p, row_step))
    return vsub(vload(p, row_step), vload(p, 3 * row_step))


@numba.njit(error_model="numpy")
def _gradient_row(i: Any, p: Any, row_step: Any) -> Any:
    """Return row `i` of what dy is transformed with, but for the factor 1/2."""
    if i == 0:
        return vload(p, 0)
    if i == 1:
        return vadd(vload(p, 0), vload(p, row_step))
    if i == 2:
        return vsub(vload(p, 0), vload(p, row_step))
    return vload(p, row_step)


@numba.njit(error_model="numpy")
def _transform_pixels(
    i: Any, x: Any, corner: Any, v: Any, step: Any, width: Any, across: Any, first: Any, count: Any, length: Any,
    buffer: Any, asks: Any, real: Any,
) -> None:  # fmt: skip
    """Write row `i` of B' d B with the channels in the lanes: v[4][panel of `width` channels][tile and image][channel].

    `buffer` takes LANES x LANES numbers four times; `length` tiles and images make room for a panel. The pixels of the
    next tile are asked for where `asks`: too many streams for the processor to foresee.
    """
    square = LANES * LANES
    for c in range(0, (x.channels + width - 1) // width * width, LANES):
        target = offset(v, c // width * width * length + c % width)
        row, column = first // across, first % across
        for tile in range(count):
            place = 2 * row * x.row_step + 2 * column * LANES
            column += 1
            if column == across:
                row, column = row + 1, 0
            following = 2 * row * x.row_step + 2 * column * LANES
            for lane in range(LANES):
                if c + lane < x.channels:
                    p = offset(corner, place + (c + lane) * x.channel_step)
                    if asks:
                        soon = offset(corner, following + (c + lane) * x.channel_step)
                        for h in range(4):
                            prefetch(soon, h * x.row_step + 2 * LANES)
                            prefetch(soon, h * x.row_step + 3 * LANES)
                    e = _pixel_row(i, p, x.row_step)
                    f = _pixel_row(i, offset(p, LANES), x.row_step)
                    g = _pixel_row(i, offset(p, 2 * LANES), x.row_step)
                    h = _pixel_row(i, offset(p, 3 * LANES), x.row_step)
                    store4(offset(buffer, lane * LANES), square, pixels((e, f, g, h)))
                else:
                    none = vset(real)
                    store4(offset(buffer, lane * LANES), square, (none, none, none, none))
            for j in range(4):
                transpose(offset(buffer, j * square), LANES, offset(target, j * step + tile * LANES * width), width)


@numba.njit(error_model="numpy")
def _transform_gradient(
    i: Any, dy: Any, d: Any, step: Any, across: Any, first: Any, count: Any, length: Any, asks: Any
) -> None:
    """Write row `i` of the transformed tiles of dy: d[4][filter][tile and image], `length` of these for a filter."""
    for k in range(dy.channels):
        row, column = first // across, first % across
        later, beside = (first + count) // across, (first + count) % across
        for tile in range(count):
            p = offset(dy.data, k * dy.channel_step + 2 * row * dy.row_step + 2 * column * LANES)
            if asks:
                soon = offset(dy.data, k * dy.channel_step + 2 * later * dy.row_step + 2 * beside * LANES)
                for h in range(2):
                    prefetch(soon, h * dy.row_step)
                    prefetch(soon, h * dy.row_step + LANES)
                beside += 1
                if beside == across:
                    later, beside = later + 1, 0
            e = _gradient_row(i, p, dy.row_step)
            f = _gradient_row(i, offset(p, LANES), dy.row_step)
            store4(offset(d, k * length + tile * LANES), step, (e, vadd(e, f), vsub(e, f), f))
            column += 1
            if column == across:
                row, column = row + 1, 0


@cache
def weight_products(rows: int, columns: int) -> CompiledKernel:
    """Return the kernel that adds the 16 products of all tiles of a block of images to out[16][filter][channel].

    Filters are padded to a multiple of `rows`, channels to one of `columns` vectors. A task is shared out over the rows
    of the transformed tiles: at most four parts.
    """
    tile = make_tile(rows, columns, adds=True)

    def body(
        x: Maps, dy: Maps, out: Partial, scratch: Reals, top: int, left: int, chunk: int,
        block: Block, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        across = (dy.width + 1) // 2
        tiles = across * ((dy.height + 1) // 2)
        width, length = columns * LANES, chunk * LANES
        filters = (dy.channels + rows - 1) // rows * rows
        channels = (x.channels + width - 1) // width * width
        v_step, d_step = channels * length + LANES, filters * length + LANES
        d = offset(scratch, 4 * v_step)
        buffer = offset(d, 4 * d_step)
        target = offset(out.data, block // out.blocks * out.step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        begin, end = part * 4 // parts, (part + 1) * 4 // parts
        # all rows of a chunk while its pixels are in the cache, unless that takes longer to add to the products
        together = 4 if filters * channels <= NEAR_PRODUCTS else 1
        for n in range(begin, end, together):
            for first in range(0, tiles, chunk):
                count = min(chunk, tiles - first)
                keep = first + block % out.blocks
                for i in range(n, min(n + together, end)):
                    asks = i == n
                    _transform_pixels(
                        i, x, corner, scratch, v_step, width, across, first, count, length, buffer, asks, real
                    )
                    _transform_gradient(i, dy, d, d_step, across, first, count, length, asks)
                    for j in range(4):
                        for k in range(0, filters, rows):
                            for c in range(0, channels, width):
                                place = ((i * 4 + j) * filters + k) * channels + c
                                # asked for before the products are made: the sums of one plane fill the second cache
                                for row in range(rows if filters * channels > FAR_PRODUCTS else 0):
                                    for column in range(columns):
                                        prefetch_to_write(target, place + row * channels + column * LANES)
                                tile(
                                    offset(d, j * d_step + k * length), length,
                                    offset(scratch, j * v_step + c * length), LANES,
                                    offset(target, place), channels, LANES,
                                    scratch, 0, real, 1, 1, count * LANES, 0, 0, 1, 0, 0, width, keep, 0,
                                )  # fmt: skip

    return CompiledKernel(body, f"weight_products{rows}x{columns}")


@numba.njit(error_model="numpy")
def _sum4(m: Any, plane: Any, groups: Any, step: Any) -> Any:
    """Return four vectors, 4 * `plane` apart: each the sum over the groups, in their order."""
    a, b, c, d = load4(m, 4 * plane)
    for group in range(1, groups):
        e, f, g, h = load4(offset(m, group * step), 4 * plane)
        a, b, c, d = vadd(a, e), vadd(b, f), vadd(c, g), vadd(d, h)
    return a, b, c, d


@kernel
def weight_gradient(
    products: Reals, out: Reals, rows: int, columns: int, row_taps: int, column_taps: int, plane: int, row: int,
    groups: int, step: int, k: Block, real: Real,
) -> None:  # fmt: skip
    """Write the gradient of row `k` from the products of all groups of blocks, added in their order.

    products[group][16][row][column]: `step` numbers for a group, `plane` for each of the 16, `row` for a row. Rows are
    filters and columns channels, or the other way round: the nine numbers of a pair lie at out[row * row_taps + column
    * column_taps].
    """
    half = vset(type(real)(0.5))
    for c in range(0, columns, LANES):
        m = offset(products, k * row + c)
        a0, b0, c0 = gradients(_sum4(m, plane, groups, step), half)
        a1, b1, c1 = gradients(_sum4(offset(m, plane), plane, groups, step), half)
        a2, b2, c2 = gradients(_sum4(offset(m, 2 * plane), plane, groups, step), half)
        a3, b3, c3 = gradients(_sum4(offset(m, 3 * plane), plane, groups, step), half)
        t0, t1, t2 = gradients((a0, a1, a2, a3), half)
        t3, t4, t5 = gradients((b0, b1, b2, b3), half)
        t6, t7, t8 = gradients((c0, c1, c2, c3), half)
        taps = t0, t1, t2, t3, t4, t5, t6, t7, t8
        target = offset(out, k * row_taps + c * column_taps)
        if column_taps == 9 and c + LANES <= columns:
            _store_taps(target, taps)
        else:
            # scattered from where the first group's products were
            for tap, vector in enumerate(taps):
                vstore(m, tap * plane, vector)
            for lane in range(min(LANES, columns - c)):
                for tap in range(9):
                    target[lane * column_taps + tap] = m[tap * plane + lane]
