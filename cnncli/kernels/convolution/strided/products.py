"""Products of transformed pixels and weights, summed over channels: what the passes over maps share."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, prefetch_far, prefetch_to_write


@numba.njit(error_model="numpy")
def _ask(lines: Any, begin: Any, end: Any, first: Any, count: Any, across: Any, is_written: Any) -> None:
    """Ask for a line of each of the channels `begin` .. `end`-1 and of `count` tiles from `first` on.

    `lines` are where that of channel 0 and tile 0 is, and the steps to the next channel, row of tiles and tile.
    """
    p, channel_step, row_step, step = lines
    top, left = first // across, first % across
    for c in range(begin, end):
        i, j = top, left
        for _ in range(count):
            place = c * channel_step + i * row_step + j * step
            if is_written:
                prefetch_to_write(p, place)
            else:
                prefetch_far(p, place)
            j += 1
            if j == across:
                i, j = i + 1, 0


@cache
def make_products(columns: int) -> Any:
    """Return the products of one plane as a function for compiled code, `columns` tiles of images at a time.

    ``products(u, v, m, sizes, tiles, filters, keep, read, ahead, written, asks, real)`` makes, for the tiles of a chunk
    and some filters, m[filter][tile] = sum over c < depth of u[c][filter] * v[c][tile]; added to what is there if
    `keep` is not 0. The sum consists of chains of products from 0 on, added one after the other; `u` is laid out
    by `weights.transform_weights`.

    sizes : depth, products of a chain, tiles that the chunk has room for, filters of `u`, tiles side by side
    tiles : first tile and how many; filters : first and last + 1
    read, ahead : lines, as `_ask` takes them, of what is read next, from tile `ahead` on; of nothing if that is < 0
    written, asks : lines of what is written next, if `asks`
    """
    tile = make_tile(ROWS, columns, adds=True, loops=1)

    @numba.njit(error_model="numpy")
    def products(
        u: Any, v: Any, m: Any, sizes: Any, tiles: Any, filters: Any, keep: Any, read: Any, ahead: Any, written: Any,
        asks: Any, real: Any,
    ) -> None:  # fmt: skip
        depth, chain, chunk, rows, across = sizes
        first, count = tiles
        begin, end = filters
        deep = (depth + GROUP - 1) // GROUP * GROUP
        # the pixels of a chain and of `columns` tiles stay in a first cache while they meet all filters
        for c in range(0, depth, chain):
            length = min(chain, depth - c)
            weights, room = offset(u, c * rows), min(chain, deep - c)
            for q in range(0, count, columns):
                pixels = offset(v, (c * chunk + q) * LANES)
                for k in range(begin, end, ROWS):
                    if ahead >= 0:
                        low = c + length * (k - begin) // (end - begin)
                        high = c + length * (k + ROWS - begin) // (end - begin)
                        _ask(read, low, high, ahead + q, columns, across, False)
                    if asks and c == 0:
                        _ask(written, k, k + ROWS, first + q, columns, across, True)
                    tile(
                        offset(weights, k * room), 1, pixels, LANES,
                        offset(m, (k * chunk + q) * LANES), chunk * LANES, LANES,
                        u, 0, real, length, 1, 1, ROWS, 0, 0, chunk * LANES, 0, 0, keep + c, 0,
                    )  # fmt: skip

    return products
