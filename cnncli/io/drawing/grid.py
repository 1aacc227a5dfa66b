"""Pictures side by side, each with a label below it; and numbers as pictures, in gray or in two colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnncli.io.drawing.lettering import line_height, shortened, text_width, write_text
from cnncli.io.images.image import MAX_PIXELS, check_size

_GROUND = 255
_OUTLINE = 208  # gray of the line around a tile: white tiles would have no edge
_GAP = 10  # between tiles and around all of them [px]
_SIZE, _TITLE = 12, 15  # of labels and title [px]
_SMALL = 64  # tiles smaller than this are magnified [px]
_LONGEST_TITLE = 600  # [px]
_LONGEST = 150  # widest label for which a tile gets more room [px]
_ASPECT = 1.5  # width : height of a grid whose number of columns is free


def grid(
    tiles: Sequence[NDArray[np.uint8]],
    labels: Sequence[str] = (),
    columns: int | None = None,
    *,
    title: str = "",
    zoom: int | None = None,
    where: str = "",
) -> NDArray[np.uint8]:
    """Return one picture of all tiles, row by row from the left, on a white ground.

    Every tile lies in the middle of a cell as large as the largest tile, within a thin line; nothing is scaled but by
    whole factors, so that each pixel of a tile is a square of one colour.

    Parameters
    ----------
    tiles : sequence of ndarray of uint8, (H, W), (H, W, 1) or (H, W, 3)
        One or more, of any sizes; read only.
    labels : sequence of str, optional
        One per tile, or none; a text that is too wide for its cell is cut and ends in ``...``.
    columns : int, optional
        Tiles in a row; by itself as many as make the picture half wider than high.
    title : str
        A line above all tiles.
    zoom : int, optional
        Factor by which tiles are magnified; by itself the least one that makes the largest tile 64 px.
    where : str
        Name of the picture, for the message of the error.

    Returns
    -------
    ndarray of uint8, (H, W, 3)

    Raises
    ------
    InvalidInputError
        The picture would have more than 100 Mpx.
    """
    cells = _Cells(tiles, labels, columns, zoom)
    head = line_height(_TITLE) + _GAP if title else 0
    width, height = cells.width, head + cells.height
    if title:
        width = max(width, min(text_width(title, _TITLE), _LONGEST_TITLE) + 2 * _GAP)
    check_size(width, height, where, MAX_PIXELS)
    picture = np.full((height, width, 3), _GROUND, np.uint8)
    if title:
        write_text(picture, _GAP, _GAP, shortened(title, _TITLE, width - 2 * _GAP), _TITLE)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, cells.columns)
        top, left = head + _GAP + row * cells.pitch[0], _GAP + column * cells.pitch[1]
        _put(picture, tile, cells.zoom, (top, left), (cells.high, cells.room))
        if labels:
            text = shortened(labels[number], _SIZE, cells.room)
            middle = left + (cells.room - text_width(text, _SIZE)) // 2
            write_text(picture, top + cells.high + 4, middle, text, _SIZE)
    return picture


class _Cells:
    """The sizes of a grid [px]: room for the largest tile and for labels of a sensible length."""

    def __init__(
        self, tiles: Sequence[NDArray[np.uint8]], labels: Sequence[str], columns: int | None, zoom: int | None
    ) -> None:
        self.zoom = zoom or max(1, math.ceil(_SMALL / max(max(tile.shape[:2]) for tile in tiles)))
        self.high, wide = (self.zoom * max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
        widest = max((text_width(label, _SIZE) for label in labels), default=0)
        self.room = max(wide + 2, min(widest, _LONGEST))
        line = line_height(_SIZE) + 2 if any(labels) else 0
        self.pitch = self.high + 2 + line + _GAP, self.room + _GAP
        free = round(math.sqrt(_ASPECT * len(tiles) * self.pitch[0] / self.pitch[1]))
        self.columns = max(1, min(len(tiles), columns or free))
        self.width = self.columns * self.pitch[1] + _GAP
        self.height = -(-len(tiles) // self.columns) * self.pitch[0] + _GAP


def gray(values: NDArray, low: float | None = None, high: float | None = None) -> NDArray[np.uint8]:
    """Return numbers (H, W) as gray: `low` (the least) is black, `high` (the largest) white.

    Where all numbers are equal they are mid-gray. Numbers that are not finite are black.
    """
    least, most = _range(values, low, high)
    if most <= least:
        return np.full(values.shape, 128, np.uint8)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num((np.clip(values, least, most) - least) / (most - least), nan=0.0)
    result: NDArray[np.uint8] = np.rint(255 * share).astype(np.uint8)
    return result


def signed(values: NDArray, most: float | None = None) -> NDArray[np.uint8]:
    """Return numbers (H, W) as colours (H, W, 3): 0 is white, `most` (the largest size) red, and its negative blue."""
    least, largest = _range(values, None, None)
    limit = max(abs(least), abs(largest)) if most is None else most
    share = np.clip(np.nan_to_num(np.asarray(values, np.float64)) / (limit or 1.0), -1, 1)[..., None]
    # end points of ColorBrewer's RdBu (Harrower and Brewer 2003, doi:10.1179/000870403235002042)
    red, blue = np.array([178, 24, 43]), np.array([33, 102, 172])
    ends = np.where(share > 0, red, blue)
    return np.rint(255 + np.abs(share) * (ends - 255.0)).astype(np.uint8)


def _range(values: NDArray, low: float | None, high: float | None) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (least if low is None else low), (most if high is None else high)


def _put(
    picture: NDArray[np.uint8], tile: NDArray[np.uint8], zoom: int, corner: tuple[int, int], room: tuple[int, int]
) -> None:
    """Write a tile, magnified and within a line, into the middle of its cell."""
    colours = tile[..., None] if tile.ndim == 2 else tile
    large = np.repeat(np.repeat(colours, zoom, axis=0), zoom, axis=1)
    high, wide = large.shape[:2]
    top, left = corner[0] + (room[0] - high) // 2, corner[1] + (room[1] - wide - 2) // 2
    picture[top : top + high + 2, left : left + wide + 2] = _OUTLINE
    picture[top + 1 : top + 1 + high, left + 1 : left + 1 + wide] = large
