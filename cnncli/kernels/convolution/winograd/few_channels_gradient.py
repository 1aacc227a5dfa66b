"""The weight gradient of Winograd convolutions of few channels: the filters of dy are brought into the lanes.

The tiles of dy do not overlap: four transposes for one of them, where the transformed tile of x, or of dy, takes
sixteen. Each of the transformed numbers of dy is a sum of at most four pixels: it is made anew for every product.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Partial, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.simd.product_row import make_product_row
from cnncli.kernels.simd.vectors import LANES, offset, transpose, vadd, vload, vset, vstore, vsub


@numba.njit(error_model="numpy")
def _turn(dy: Any, place: Any, d: Any, step: Any, width: Any, count: Any, buffer: Any, real: Any) -> None:
    """Write `count` tiles of 2x2 pixels with the filters in the lanes: d[panel of `width`][tile and image][pixel]."""
    for k in range(0, (dy.channels + width - 1) // width * width, LANES):
        target = offset(d, k // width * step + k % width)
        source = offset(dy.data, place + k * dy.channel_step)
        there = min(LANES, dy.channels - k)
        for lane in range(max(there, 0), LANES if there < LANES else 0):
            vstore(buffer, lane * LANES, vset(real))
        for tile in range(count):
            for row in range(2):
                for column in range(2):
                    p = offset(source, row * dy.row_step + (2 * tile + column) * LANES)
                    q = offset(target, tile * LANES * 4 * width + (2 * row + column) * width)
                    if there == LANES:
                        transpose(p, dy.channel_step, q, 4 * width)
                    else:
                        for lane in range(there):
                            vstore(buffer, lane * LANES, vload(p, lane * dy.channel_step))
                        transpose(buffer, LANES, q, 4 * width)


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


@cache
def weight_products(rows: int, columns: int, chunk: int) -> CompiledKernel:
    """Return the kernel that adds the 16 products of all tiles of a block of images to out[16][channel][filter].

    Up to `chunk` tiles are transformed and multiplied before the next ones: tiles side by side, or whole rows of them.
    Channels are padded to a multiple of `rows`, filters to one of `columns` vectors, and each of the 16 planes is a
    vector longer. A task is shared out over the rows of the transformed tiles: at most four parts.
    """
    length, width = chunk * LANES, columns * LANES
    transform, multiply = _transform(length), _multiply(rows, columns, length)

    def body(
        x: Maps, dy: Maps, out: Partial, scratch: Reals, top: int, left: int,
        block: Block, part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        across, down = (dy.width + 1) // 2, (dy.height + 1) // 2
        channels, filters = (x.channels + rows - 1) // rows * rows, (dy.channels + width - 1) // width * width
        # a line more between planes and between panels: powers of two would all meet in the same lines of the cache
        v_step, d_step, plane = channels * length + LANES, length * 4 * width + LANES, channels * filters + LANES
        d = offset(scratch, 4 * v_step)
        buffer = offset(d, filters // width * d_step)
        target = offset(out.data, block // out.blocks * out.step)
        corner = offset(x.data, -top * x.row_step - left * LANES)
        begin, end = part * 4 // parts, (part + 1) * 4 // parts
        high = max(1, chunk // across)
        for c in range(x.channels, channels):
            for n in range(4 * chunk):
                vstore(scratch, n // chunk * v_step + c * length + n % chunk * LANES, vset(real))
        for h in range(0, down, high):
            tall = min(high, down - h)
            for w in range(0, across, chunk):
                wide = min(chunk, across - w)
                keep = h + w + block % out.blocks
                for r in range(tall):
                    source, tile = 2 * (h + r) * dy.row_step + 2 * w * LANES, r * wide * LANES
                    _turn(dy, source, offset(d, tile * 4 * width), d_step, width, wide, buffer, real)
                is_last = w + chunk >= across
                soon_h, soon_w = 2 * (h + high if is_last else h), 0 if is_last else 2 * (w + chunk) * LANES
                soon_x = offset(corner, (soon_h + 2) * x.row_step + soon_w + 2 * LANES)
                soon_dy = offset(dy.data, soon_h * dy.row_step + soon_w)
                for i in range(begin, end):
                    for r in range(tall):
                        place = offset(corner, 2 * (h + r) * x.row_step + 2 * w * LANES)
                        transform(i, x, place, offset(scratch, r * wide * LANES), v_step, wide)
                    for k in range(0, filters, width):
                        for c in range(0, channels, rows):
                            soon = _next_lines(x, soon_x, c + 4 * i, dy, soon_dy, k + 4 * i, tall)
                            multiply(
                                i, offset(scratch, c * length), v_step, offset(d, k // width * d_step),
                                offset(target, i * 4 * plane + c * filters + k), filters, plane, tall * wide * LANES,
                                keep, soon,
                            )  # fmt: skip

    return CompiledKernel(body, f"weight_products{rows}x{columns}x{chunk}")


@numba.njit(error_model="numpy")
def _next_lines(x: Any, next_x: Any, c: Any, dy: Any, next_dy: Any, k: Any, tall: Any) -> Any:
    """Return what `make_product_row` takes as `soon`: four channels of x from `c` on, four of dy from `k` on."""
    c_step = x.channel_step if c + 3 < x.channels else 0
    k_step = dy.channel_step if k + 3 < dy.channels else 0
    here, there = min(c, x.channels - 1) * x.channel_step, min(k, dy.channels - 1) * dy.channel_step
    return offset(next_x, here), c_step, tall * x.row_step, offset(next_dy, there), k_step, tall * dy.row_step


def _multiply(rows: int, columns: int, length: int) -> Any:
    """Return the products of row `i` of the planes, see `make_product_row`."""
    first, second, third, fourth = (make_product_row(rows, columns, i, length) for i in range(4))

    @numba.njit(error_model="numpy")
    def multiply(
        i: Any, v: Any, v_step: Any, d: Any, out: Any, out_row: Any, plane: Any, count: Any, keep: Any, soon: Any
    ) -> None:
        if i == 0:
            first(v, v_step, d, out, out_row, plane, count, keep, soon)
        elif i == 1:
            second(v, v_step, d, out, out_row, plane, count, keep, soon)
        elif i == 2:
            third(v, v_step, d, out, out_row, plane, count, keep, soon)
        else:
            fourth(v, v_step, d, out, out_row, plane, count, keep, soon)

    return multiply


def _transform(length: int) -> Any:
    """Return what writes row `i` of B' d B of tiles side by side: v[4][channel][tile], `length` numbers a channel."""

    @numba.njit(error_model="numpy")
    def transform(i: Any, x: Any, place: Any, v: Any, step: Any, count: Any) -> None:
        if i == 0:
            _transform_row(0, x, place, v, step, count, length)
        elif i == 1:
            _transform_row(1, x, place, v, step, count, length)
        elif i == 2:
            _transform_row(2, x, place, v, step, count, length)
        else:
            _transform_row(3, x, place, v, step, count, length)

    return transform


@numba.njit(error_model="numpy")
def _transform_row(i: Any, x: Any, place: Any, v: Any, step: Any, count: Any, length: Any) -> None:
    """Write row `i`, a constant of the caller's; neighbouring tiles share two columns."""
    for c in range(x.channels):
        p, q = offset(place, c * x.channel_step), offset(v, c * length)
        e, f = _pixel_row(i, p, x.row_step), _pixel_row(i, offset(p, LANES), x.row_step)
        for _ in range(count):
            p = offset(p, 2 * LANES)
            g, h = _pixel_row(i, p, x.row_step), _pixel_row(i, offset(p, LANES), x.row_step)
            vstore(q, 0, vsub(e, g))
            vstore(q, step, vadd(f, g))
            vstore(q, 2 * step, vsub(g, f))
            vstore(q, 3 * step, vsub(f, h))
            q = offset(q, LANES)
            e, f = g, h
