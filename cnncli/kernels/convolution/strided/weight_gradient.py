"""The weight gradient of convolutions of stride 2: products of transformed pixels and dy, summed over tiles."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Partial, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.strided.transforms import pixel_values, sides
from cnncli.kernels.convolution.winograd.transforms import load4
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import (
    LANES,
    offset,
    prefetch,
    prefetch_far,
    prefetch_to_write,
    transpose,
    vadd,
    vload,
    vset,
    vstore,
)


@numba.njit(error_model="numpy")
def _transform_pixels(
    row: Any, x: Any, corner: Any, v: Any, step: Any, width: Any, across: Any, first: Any, count: Any, length: Any,
    buffer: Any, real: Any,
) -> None:  # fmt: skip
    """Write row `row` of transformed tiles with the channels in the lanes: v[5][panel][tile and image][channel].

    A panel has `width` channels and room for `length` tiles and images; `buffer` takes 5 * LANES * LANES numbers.
    """
    square = LANES * LANES
    none = vset(real)
    for c in range(0, (x.channels + width - 1) // width * width, LANES):
        target = offset(v, c // width * width * length + c % width)
        i, j = first // across, first % across
        for tile in range(count):
            place = 4 * i * x.row_step + 4 * j * LANES
            j += 1
            if j == across:
                i, j = i + 1, 0
            following = 4 * i * x.row_step + 4 * j * LANES
            for lane in range(LANES):
                values = none, none, none, none, none
                if c + lane < x.channels:
                    p = offset(corner, place + (c + lane) * x.channel_step)
                    values = pixel_values(p, x.row_step, row)
                    # the pixels of the next tile: too many streams for the processor to foresee
                    soon = offset(p, following - place + row * x.row_step)
                    for h in range(1, 5):
                        prefetch(soon, h * LANES)
                at = offset(buffer, lane * LANES)
                vstore(at, 0, values[0])
                vstore(at, square, values[1])
                vstore(at, 2 * square, values[2])
                vstore(at, 3 * square, values[3])
                vstore(at, 4 * square, values[4])
            for plane in range(5):
                out = offset(target, plane * step + tile * LANES * width)
                transpose(offset(buffer, plane * square), LANES, out, width)


@numba.njit(error_model="numpy")
def _transform_dy(row: Any, dy: Any, d: Any, step: Any, across: Any, first: Any, count: Any, length: Any) -> None:
    """Write row `row` of the transformed tiles of dy: d[3][filter][tile and image], `length` of these for a filter."""
    for k in range(dy.channels):
        i, j = first // across, first % across
        later, beside = (first + count) // across, (first + count) % across
        for tile in range(count):
            p = offset(dy.data, k * dy.channel_step + 2 * i * dy.row_step + 2 * j * LANES)
            a, b = sides(p, dy.row_step, row), sides(offset(p, LANES), dy.row_step, row)
            # what the next chunk reads
            soon = offset(dy.data, k * dy.channel_step + 2 * later * dy.row_step + 2 * beside * LANES)
            for h in range(2):
                prefetch_far(soon, h * dy.row_step)
                prefetch_far(soon, h * dy.row_step + LANES)
            beside += 1
            if beside == across:
                later, beside = later + 1, 0
            target = offset(d, k * length + tile * LANES)
            vstore(target, 0, a)
            vstore(target, step, vadd(a, b))
            vstore(target, 2 * step, b)
            j += 1
            if j == across:
                i, j = i + 1, 0


@cache
def weight_products(rows: int, columns: int) -> CompiledKernel:
    """Return the kernel that adds the products of all tiles of a block of images to out[16][panel][filter][channel].

    Filters are padded to a multiple of `rows`; a panel has `columns` vectors of channels. The 16 sums are s, t, u, b
    for rows and columns. A task is shared out over the rows of them: at most four parts.
    """
    tile = make_tile(rows, columns, adds=True)

    def body(
        x: Maps, dy: Maps, out: Partial, scratch: Reals, top: int, left: int, chunk: int, together: int,
        block: Block, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        across = (dy.width + 1) // 2
        tiles = across * ((dy.height + 1) // 2)
        width, length = columns * LANES, chunk * LANES
        filters = (dy.channels + rows - 1) // rows * rows
        channels = (x.channels + width - 1) // width * width
        v_step, d_step = channels * length + LANES, filters * length + LANES
        d = offset(scratch, 10 * v_step)
        buffer = offset(d, 6 * d_step)
        target = offset(out.data, block // out.blocks * out.step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        begin, end = part * 4 // parts, (part + 1) * 4 // parts
        for n in range(begin, end, together):
            for first in range(0, tiles, chunk):
                count = min(chunk, tiles - first)
                keep = first + block % out.blocks
                for i in range(n, min(n + together, end)):
                    # the last row of sums has two rows of pixels and of dy, and so with columns
                    pairs = 2 if i == 3 else 1
                    for pair in range(pairs):
                        row = 2 * pair + 1 if i == 3 else 2 * i
                        v = offset(scratch, pair * 5 * v_step)
                        _transform_pixels(row, x, corner, v, v_step, width, across, first, count, length, buffer, real)
                        side = 2 * pair if i == 3 else i
                        _transform_dy(side, dy, offset(d, pair * 3 * d_step), d_step, across, first, count, length)
                    for j in range(4):
                        a, b, both = (0, 1, 2) if j == 3 else (j, 2 * j, 1)
                        for c in range(0, channels, width):
                            for k in range(0, filters, rows):
                                place = (i * 4 + j) * filters * channels + c * filters + k * width
                                # asked for before the products are made
                                for line in range(rows * columns):
                                    prefetch_to_write(target, place + line * LANES)
                                tile(
                                    offset(d, a * d_step + k * length), length,
                                    offset(scratch, b * v_step + c * length), LANES,
                                    offset(target, place), width, LANES,
                                    scratch, 0, real, pairs, both, count * LANES,
                                    3 * d_step, 2 * d_step, 1, 5 * v_step, 2 * v_step, width, keep, 0,
                                )  # fmt: skip

    return CompiledKernel(body, f"weight_products{rows}x{columns}")


@numba.njit(error_model="numpy")
def _taps(four: Any) -> Any:
    """Return the gradients of three taps from the sums s, t, u, b."""
    s, t, u, b = four
    return vadd(s, t), b, vadd(t, u)


@kernel
def weight_gradient(
    products: Reals, out: Reals, filters: int, channels: int, rows: int, width: int, plane: int, groups: int, step: int,
    k: Block, real: Real,
) -> None:  # fmt: skip
    """Write the gradient of filter `k` from the products of all groups of blocks, added in their order.

    products[group][16][panel of `width` channels][filter, of `rows`][channel]: `step` numbers for a group, `plane` for
    each of the 16. The sums of the groups, and then the nine results, take the place of the first group's products.
    """
    for c in range(0, channels, LANES):
        m = offset(products, (c // width * rows + k) * width + c % width)
        for i in range(16 if groups > 1 else 0):
            total = vload(m, i * plane)
            for group in range(1, groups):
                total = vadd(total, vload(m, group * step + i * plane))
            vstore(m, i * plane, total)
        a0, b0, c0 = _taps(load4(m, 4 * plane))
        a1, b1, c1 = _taps(load4(offset(m, plane), 4 * plane))
        a2, b2, c2 = _taps(load4(offset(m, 2 * plane), 4 * plane))
        a3, b3, c3 = _taps(load4(offset(m, 3 * plane), 4 * plane))
        for row, four in enumerate(((a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3))):
            p, q, r = _taps(four)
            vstore(m, 3 * row * plane, p)
            vstore(m, (3 * row + 1) * plane, q)
            vstore(m, (3 * row + 2) * plane, r)
        target = offset(out, (k * channels + c) * 9)
        for lane in range(min(LANES, channels - c)):
            for tap in range(9):
                target[lane * 9 + tap] = m[tap * plane + lane]
