"""Products of transformed pixels and weights, summed over channels: what the passes over maps share."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.kernels.convolution.winograd.sizes import ROWS
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset


@cache
def make_products(columns: int) -> Any:
    """Return the products of one plane as a function for compiled code, `columns` tiles of images at a time.

    ``products(u, deep, v, m, depth, chain, chunk, count, begin, end, keep, real)`` makes, for `count` of the `chunk`
    tiles and the filters `begin` .. `end`-1, m[filter][tile] = sum over c < depth of u[panel][c][ROWS] * v[c][tile];
    added to what is there if `keep` is not 0. A panel of `u` has room for `deep` channels. The sum consists of chains
    of `chain` products from 0 on, added one after the other.
    """
    tile = make_tile(ROWS, columns, adds=True, loops=1)

    @numba.njit(error_model="numpy")
    def products(
        u: Any, deep: Any, v: Any, m: Any, depth: Any, chain: Any, chunk: Any, count: Any, begin: Any, end: Any,
        keep: Any, real: Any,
    ) -> None:  # fmt: skip
        # the pixels of a chain and of `columns` tiles stay in a first cache while they meet all filters
        for c in range(0, depth, chain):
            for q in range(0, count, columns):
                pixels = offset(v, (c * chunk + q) * LANES)
                for k in range(begin, end, ROWS):
                    tile(
                        offset(u, k * deep + c * ROWS), 1, pixels, LANES,
                        offset(m, (k * chunk + q) * LANES), chunk * LANES, LANES,
                        u, 0, real, min(chain, depth - c), 1, 1, ROWS, 0, 0, chunk * LANES, 0, 0, keep + c, 0,
                    )  # fmt: skip

    return products
