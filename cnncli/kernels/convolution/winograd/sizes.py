"""Sizes of the loops and buffers of this folder: plain integers, without Numba."""

from __future__ import annotations

from cnncli.compute.host import LANES
from cnncli.shapes import Shape

#: filters of a panel of transformed weights: the rows of the register tile
ROWS = 4
#: channels whose weights are transformed at the same time, a vector of them and the panel's filters
GROUP = LANES // ROWS
#: channels that are added up in registers; sums of so many are then added: it fits the first cache, and rounds less
DEPTH = 64
#: numbers that transformed tiles may take: about half of a second cache of 1 MiB
_ROOM = 1 << 18
#: products of one plane, filters x channels, up to which all sixteen planes are near in a second cache: measured
NEAR_PRODUCTS = 1 << 12
#: the same from which on they are far away, so that it pays to ask for them: measured
FAR_PRODUCTS = 1 << 15
#: numbers of pixels that meet all panels of weights: three quarters of a first cache of 32 KiB
_NEAR = 3 << 11
#: tiles that `few_channels_gradient` transforms before it multiplies: measured
_SIDE_BY_SIDE = 8


def tiles(shape: Shape) -> int:
    """Return how many tiles of 2x2 cover maps (C, H, W)."""
    return -(-shape[1] // 2) * -(-shape[2] // 2)


def columns_of(count: int) -> int:
    """Return the tiles that the register tile takes at a time, where there are `count`: the fewest wasted."""
    few, many = {16: (4, 6)}.get(LANES, (2, 3))
    return few if -(-count // few) * (few * ROWS + 1) <= -(-count // many) * (many * ROWS + 1) else many


def chunk_of(count: int, channels: int, filters: int) -> int:
    """Return the tiles that are transformed, multiplied and transformed back before the next ones."""
    columns = columns_of(count)
    fit = _ROOM // (16 * LANES * (channels + filters))
    return max(1, min(fit // columns, -(-count // columns))) * columns


def packed_chunk(count: int, depth: int) -> int:
    """Return the results that `packed.contract_packed` makes at a time, each from `depth` pixels."""
    columns = columns_of(count)
    fit = _NEAR // (LANES * max(1, min(depth, DEPTH)))
    return max(1, min(fit // columns, -(-count // columns))) * columns


def scratch_size(chunk: int, channels: int, filters: int) -> int:
    """Return the vectors that `many_channels.correlate` takes for a chunk of tiles."""
    return 16 * (channels * chunk + 1) + 16 * (padded(filters, ROWS) * chunk + 1)


def weights_size(channels: int, filters: int) -> int:
    """Return the numbers of transformed weights."""
    return 16 * padded(filters, ROWS) * padded(channels, GROUP)


def product_tile(channels: int) -> tuple[int, int]:
    """Return filters and vectors of channels of the weight gradient's register tile."""
    vectors = -(-channels // LANES)
    if LANES == 16:
        return (4, 4) if vectors >= 4 else (8, 2) if vectors >= 2 else (8, 1)
    return (3, 4) if vectors >= 4 else (4, 2) if vectors >= 2 else (8, 1)


def products_shape(channels: int, filters: int) -> tuple[int, int]:
    """Return filters and channels of the products of the weight gradient, padded to whole register tiles."""
    rows, columns = product_tile(channels)
    return padded(filters, rows), padded(channels, columns * LANES)


def product_chunk(count: int, channels: int, filters: int) -> int:
    """Return the tiles that `gradient.weight_products` transforms and multiplies before the next ones."""
    fit = max(1, min(round(_ROOM / (4 * LANES * sum(products_shape(channels, filters)))), 8))
    return -(-count // -(-count // fit))


def products_scratch_size(chunk: int, channels: int, filters: int) -> int:
    """Return the vectors that `gradient.weight_products` takes for a chunk of tiles."""
    return 4 * (sum(products_shape(channels, filters)) * chunk + 2) + 4 * LANES


def few_product_tile(shape: Shape, channels: int) -> tuple[int, ...]:
    """Return channels and vectors of filters of the register tile for few channels, and the tiles of a chunk of dy."""
    across, down = -(-shape[2] // 2), -(-shape[1] // 2)
    chunk = min(_SIDE_BY_SIDE // across, down) * across if across <= _SIDE_BY_SIDE else _SIDE_BY_SIDE
    if LANES < 16:
        return 4, 2, chunk
    return min((16, 12, 8), key=lambda count: padded(channels, count)), 1, chunk


def few_products_shape(tile: tuple[int, ...], channels: int, filters: int) -> tuple[int, int]:
    """Return channels and filters of the products of `few_product_tile`, padded to whole register tiles."""
    return padded(channels, tile[0]), padded(filters, tile[1] * LANES)


def few_products_scratch_size(tile: tuple[int, ...], channels: int, filters: int) -> int:
    """Return the vectors that `few_channels_gradient.weight_products` takes for transformed pixels, and for dy."""
    rows, columns = few_products_shape(tile, channels, filters)
    panels = columns // (tile[1] * LANES)
    return 4 * (rows * tile[2] + 1) + panels * (tile[2] * LANES * 4 * tile[1] + 1) + LANES


def padded(count: int, multiple: int) -> int:
    """Return the next multiple."""
    return -(-count // multiple) * multiple
