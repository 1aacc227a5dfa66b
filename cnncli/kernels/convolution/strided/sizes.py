"""Sizes of the loops and buffers of this folder: plain integers, without Numba."""

from __future__ import annotations

from cnncli.compute.host import LANES
from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS, columns_of, padded

#: numbers that transformed tiles and products may take: three quarters of a second cache of 1 MiB
_ROOM = 3 << 16
#: planes of transformed pixels, and of sums of products, that are held at a time: forward, input gradient
PLANES = {"forward": (5, 6), "dx": (4, 10)}
#: products of one plane, filters x channels, up to which all sixteen planes are near in a second cache: measured
NEAR_PRODUCTS = 1 << 13
#: tiles that the weight gradient transforms before it multiplies
_CHUNK = 8


def chunk_of(which: str, count: int, channels: int, filters: int) -> int:
    """Return the tiles that are transformed, multiplied and transformed back before the next ones, of `count`."""
    columns = columns_of(count)
    pixels, sums = PLANES[which]
    fit = _ROOM // (LANES * (pixels * channels + sums * padded(filters, ROWS)))
    return max(1, min(fit // columns, -(-count // columns))) * columns


def scratch_size(which: str, chunk: int, channels: int, filters: int) -> int:
    """Return the vectors that a pass takes for a chunk of tiles."""
    pixels, sums = PLANES[which]
    return pixels * (channels * chunk + 1) + sums * (padded(filters, ROWS) * chunk + 1)


def weights_size(channels: int, filters: int) -> int:
    """Return the numbers of transformed weights."""
    return 16 * padded(filters, ROWS) * padded(channels, GROUP)


def chain_of(filters: int) -> int:
    """Return the filters whose products make a chain of additions of the input gradient.

    Only 2.25 products for each filter make a result, on average, so direct sums are short: longer chains would round
    more than these.
    """
    return max(8, min(64, filters // 4 // 8 * 8))


def product_chunk(count: int, channels: int, filters: int) -> int:
    """Return the tiles that `weight_gradient.weight_products` transforms before it multiplies them."""
    fit = max(1, min(_ROOM // (LANES * (5 * channels + 3 * filters)), _CHUNK))
    return -(-count // -(-count // fit))


def products_scratch_size(chunk: int, channels: int, filters: int) -> int:
    """Return the vectors that `weight_gradient.weight_products` takes for a chunk of tiles; both padded."""
    return 10 * (channels * chunk + 1) + 6 * (filters * chunk + 1) + 5 * LANES
