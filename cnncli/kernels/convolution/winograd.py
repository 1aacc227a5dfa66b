"""Winograd's minimal filtering for 3x3 kernels of stride 1: compiled code; which layers use it is said in layers/.

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

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Maps, Part, Partial, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.winograd_sizes import DEPTH, GROUP, NEAR_PRODUCTS, ROWS
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, prefetch, transpose, vadd, vload, vmax, vmul, vset, vstore, vsub


@numba.njit(error_model="numpy")
def _pixels(four: Any) -> Any:
    """Return B' applied to four vectors."""
    a, b, c, d = four
    return vsub(a, c), vadd(b, c), vsub(c, b), vsub(b, d)


@numba.njit(error_model="numpy")
def _results(four: Any) -> Any:
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
def _gradients(four: Any, half: Any) -> Any:
    """Return the three results of a gradient from four products, of which the middle two lack the factor 1/2."""
    a, b, c, d = four
    even = vmul(half, vadd(b, c))
    return vadd(a, even), vmul(half, vsub(b, c)), vsub(even, d)


@numba.njit(error_model="numpy")
def _load4(p: Any, step: Any) -> Any:
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
    a0, b0, c0, d0 = _pixels(_load4(x, row_step))
    a1, b1, c1, d1 = _pixels(_load4(offset(x, LANES), row_step))
    a2, b2, c2, d2 = _pixels(_load4(offset(x, 2 * LANES), row_step))
    a3, b3, c3, d3 = _pixels(_load4(offset(x, 3 * LANES), row_step))
    store4(v, step, _pixels((a0, a1, a2, a3)))
    store4(offset(v, 4 * step), step, _pixels((b0, b1, b2, b3)))
    store4(offset(v, 8 * step), step, _pixels((c0, c1, c2, c3)))
    store4(offset(v, 12 * step), step, _pixels((d0, d1, d2, d3)))


@numba.njit(error_model="numpy")
def output_tile(m: Any, step: Any, y: Any, row_step: Any, bias: Any, low: Any, rows: Any, columns: Any) -> None:
    """Write A' m A + bias, at least `low`, of 16 vectors `step` apart: what lies within `rows` and `columns`."""
    a0, b0 = _results(_load4(m, 4 * step))
    a1, b1 = _results(_load4(offset(m, step), 4 * step))
    a2, b2 = _results(_load4(offset(m, 2 * step), 4 * step))
    a3, b3 = _results(_load4(offset(m, 3 * step), 4 * step))
    left, right = _results((a0, a1, a2, a3))
    vstore(y, 0, vmax(vadd(left, bias), low))
    if columns > 1:
        vstore(y, LANES, vmax(vadd(right, bias), low))
    if rows > 1:
        left, right = _results((b0, b1, b2, b3))
        vstore(y, row_step, vmax(vadd(left, bias), low))
        if columns > 1:
            vstore(y, row_step + LANES, vmax(vadd(right, bias), low))


@numba.njit(error_model="numpy")
def transform_input(x: Any, corner: Any, v: Any, step: Any, chunk: Any, across: Any, first: Any, count: Any) -> None:
    """Transform `count` tiles from `first` on of every channel: v[16][channel][chunk]."""
    for c in range(x.channels):
        row, column = first // across, first % across
        for tile in range(count):
            place = c * x.channel_step + 2 * row * x.row_step + 2 * column * LANES
            _input_tile(offset(corner, place), x.row_step, offset(v, (c * chunk + tile) * LANES), step)
            column += 1
            if column == across:
                row, column = row + 1, 0


@numba.njit(error_model="numpy")
def _transform_output(
    m: Any, step: Any, y: Any, begin: Any, end: Any, bias: Any, bias_row: Any, low: Any,
    chunk: Any, across: Any, first: Any, count: Any,
) -> None:  # fmt: skip
    """Write `count` tiles from `first` on of the filters `begin` .. `end`-1 from m[16][filter][chunk]."""
    for k in range(begin, end):
        row, column = first // across, first % across
        shift = vset(bias[k * bias_row])
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
def correlate(columns: int) -> CompiledKernel:
    """Return the kernel y = x * weights + bias, `columns` tiles of images at a time; at least 0 with `relu`.

    `u` holds the weights as `transform_weights` lays them out; the input gradient is the same with weights turned
    round. A task is shared out over chunks of tiles, and where those are few over filters, too.

    Each of the 16 sums over channels consists of chains of DEPTH products from 0 on, added one after the other; the
    transforms add as `_pixels`, `_results` and `taps3` write it, over rows first; the bias is added to the result.
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
            transform_input(x, corner, scratch, v_step, chunk, across, first, count)
            for plane in range(16):
                for c in range(0, x.channels, DEPTH):
                    depth = min(DEPTH, x.channels - c)
                    for k in range(begin, end, ROWS):
                        weights = offset(u, (plane * filters + k) * deep + c * ROWS)
                        for q in range(0, count, columns):
                            tile(
                                weights, 1, offset(scratch, plane * v_step + (c * chunk + q) * LANES), LANES,
                                offset(m, plane * m_step + (k * chunk + q) * LANES), chunk * LANES, LANES,
                                bias, 0, real, 1, 1, depth, 0, 0, ROWS, 0, 0, chunk * LANES, c, 0,
                            )  # fmt: skip
            last = min(end, y.channels)
            _transform_output(m, m_step, y, begin, last, bias, bias_row, low, chunk, across, first, count)

    return CompiledKernel(body, f"correlate{columns}")


@kernel
def transform_weights(
    weight: Reals, out: Reals, rows: int, depth: int, row_step: int, depth_step: int, is_turned: int, panel: Block,
    real: Real,
) -> None:  # fmt: skip
    """Write G w G' of ROWS filters: out[16][panel][depth][ROWS], zeros where there is no filter or channel.

    The kernel of row r and depth c begins at weight[r * row_step + c * depth_step], and is read backwards if
    `is_turned`.
    """
    panels = (rows + ROWS - 1) // ROWS
    deep = (depth + GROUP - 1) // GROUP * GROUP
    plane = panels * deep * ROWS
    half = vset(type(real)(0.5))
    for c in range(0, deep, GROUP):
        target = offset(out, (panel * deep + c) * ROWS)
        # the nine taps are gathered where the results are going to lie
        for lane in range(LANES):
            row, channel = panel * ROWS + lane % ROWS, c + lane // ROWS
            is_there = row < rows and channel < depth
            for tap in range(9):
                source = row * row_step + channel * depth_step + (8 - tap if is_turned else tap)
                target[tap * plane + lane] = weight[source] if is_there else real
        w = offset(target, 3 * plane)
        v = offset(target, 6 * plane)
        a0, b0, c0, d0 = taps3(vload(target, 0), vload(w, 0), vload(v, 0), half)
        a1, b1, c1, d1 = taps3(vload(target, plane), vload(w, plane), vload(v, plane), half)
        a2, b2, c2, d2 = taps3(vload(target, 2 * plane), vload(w, 2 * plane), vload(v, 2 * plane), half)
        store4(target, plane, taps3(a0, a1, a2, half))
        store4(offset(target, 4 * plane), plane, taps3(b0, b1, b2, half))
        store4(offset(target, 8 * plane), plane, taps3(c0, c1, c2, half))
        store4(offset(target, 12 * plane), plane, taps3(d0, d1, d2, half))


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
                    store4(offset(buffer, lane * LANES), square, _pixels((e, f, g, h)))
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
                        for c in range(0, channels, width):
                            for k in range(0, filters, rows):
                                place = ((i * 4 + j) * filters + k) * channels + c
                                tile(
                                    offset(d, j * d_step + k * length), length,
                                    offset(scratch, j * v_step + c * length), LANES,
                                    offset(target, place), channels, LANES,
                                    scratch, 0, real, 1, 1, count * LANES, 0, 0, 1, 0, 0, width, keep, 0,
                                )  # fmt: skip

    return CompiledKernel(body, f"weight_products{rows}x{columns}")


@kernel
def weight_gradient(
    products: Reals, out: Reals, filters: int, channels: int, plane: int, row: int, groups: int, step: int, k: Block,
    real: Real,
) -> None:  # fmt: skip
    """Write the gradient of filter `k` from the products of all groups of blocks, added in their order.

    products[group][16][filter][channel]: `step` numbers for a group, `plane` for each of the 16, `row` for a filter.
    The sums of the groups, and then the nine results, take the place of the first group's products.
    """
    half = vset(type(real)(0.5))
    for c in range(0, channels, LANES):
        m = offset(products, k * row + c)
        for i in range(16 if groups > 1 else 0):
            total = vload(m, i * plane)
            for group in range(1, groups):
                total = vadd(total, vload(m, group * step + i * plane))
            vstore(m, i * plane, total)
        a0, b0, c0 = _gradients(_load4(m, 4 * plane), half)
        a1, b1, c1 = _gradients(_load4(offset(m, plane), 4 * plane), half)
        a2, b2, c2 = _gradients(_load4(offset(m, 2 * plane), 4 * plane), half)
        a3, b3, c3 = _gradients(_load4(offset(m, 3 * plane), 4 * plane), half)
        p, q, r = _gradients((a0, a1, a2, a3), half)
        vstore(m, 0, p)
        vstore(m, plane, q)
        vstore(m, 2 * plane, r)
        p, q, r = _gradients((b0, b1, b2, b3), half)
        vstore(m, 3 * plane, p)
        vstore(m, 4 * plane, q)
        vstore(m, 5 * plane, r)
        p, q, r = _gradients((c0, c1, c2, c3), half)
        vstore(m, 6 * plane, p)
        vstore(m, 7 * plane, q)
        vstore(m, 8 * plane, r)
        target = offset(out, (k * channels + c) * 9)
        for lane in range(min(LANES, channels - c)):
            for tap in range(9):
                target[lane * 9 + tap] = m[tap * plane + lane]
