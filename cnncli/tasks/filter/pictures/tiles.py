"""All channels of a result as one picture of labelled tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.io.drawing.grid import grid, signed
from cnncli.io.images.image import Image
from cnncli.tasks.filter.pictures.shown import shown

if TYPE_CHECKING:
    from cnncli.filtering.apply import FilterResult

_LONGEST = 512  # side of a tile; larger pictures are reduced by a whole factor [px]
_COLOURS = ("red", "green", "blue")


def channel_grid(source: Image, result: FilterResult, alpha: NDArray | None, title: str) -> tuple[NDArray, str]:
    """Return the picture (H, W, 3) uint8, and a note on how it was made, which may be empty.

    The first tile is the input. Channels that are the colours of one response make one tile in colours. Numbers of
    both signs are drawn in two colours, red above 0 and blue below, with one scale for all tiles.

    Parameters
    ----------
    source : Image
    result : FilterResult
    alpha : ndarray, shape (H, W), optional
        Opacity of the result; what is transparent becomes white.
    title : str
        The line above the tiles.

    Raises
    ------
    InvalidInputError
        A picture of more than 100 Mpx.
    """
    pixels, names = result.pixels, result.channels
    tiles = [("input", shown(source.pixels[..., : 3 if source.pixels.shape[2] == 3 else 1], source.alpha))]
    has_signs = pixels.dtype.kind == "f" and float(pixels.min(initial=0)) < 0
    if has_signs:
        most = float(np.abs(pixels).max())
        tiles += [(name, signed(pixels[..., i], most)) for i, name in enumerate(names)]
    else:
        bytes_ = shown(pixels, alpha)
        tiles += [(name, bytes_[..., first:last]) for name, first, last in _groups(names)]
    longest = max(max(tile.shape[:2]) for _, tile in tiles)
    factor = -(-longest // _LONGEST)
    note = f"tiles are reduced by {factor} to {-(-longest // factor)} pixels" if factor > 1 else ""
    reduced = [_reduced(tile, factor) for _, tile in tiles]
    return grid(reduced, [name or "result" for name, _ in tiles], title=title), note


def _groups(names: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Return the label and the channels of each tile: three that end in red, green, blue are one."""
    found, i = [], 0
    while i < len(names):
        stems = [name.removesuffix(colour) for name, colour in zip(names[i : i + 3], _COLOURS, strict=False)]
        is_colour = len(stems) == 3 and len(set(stems)) == 1 and stems[0] != names[i]
        found.append((stems[0].strip() if is_colour else names[i], i, i + (3 if is_colour else 1)))
        i = found[-1][2]
    return found


def _reduced(tile: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means of blocks of pixels; those at the right and bottom edge may be smaller."""
    if factor == 1:
        return tile
    planes = tile.astype(np.float64).reshape(*tile.shape[:2], -1)
    for axis in (0, 1):
        starts = np.arange(0, planes.shape[axis], factor)
        counts = np.diff([*starts, planes.shape[axis]])
        planes = np.add.reduceat(planes, starts, axis=axis) / (counts[:, None, None] if axis == 0 else counts[:, None])
    return np.rint(planes).astype(np.uint8)
