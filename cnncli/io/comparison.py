"""Pictures side by side with a caption under each, as a lecture's slide shows a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP = 12  # [px] between panels and around them
_SMALLEST, _LARGEST = 160, 2048  # [px] sides of a panel: tiny matrices are enlarged, huge photographs reduced
_PAPER, _INK = 255, (32, 32, 32)


def side_by_side(panels: Sequence[tuple[str, NDArray]]) -> NDArray:
    """Return one RGB picture (H, W, 3) uint8 of all panels in a row.

    Parameters
    ----------
    panels : sequence of (caption, pixels (H, W, 1 or 3) uint8)
        Captions are broken into lines that fit under their panel.
    """
    from PIL import ImageFont
    from PIL.Image import Image as Picture
    from PIL.Image import fromarray
    from PIL.ImageDraw import Draw

    pictures: list[Picture] = [_sized(fromarray(_rgb(pixels))) for _, pixels in panels]
    height = max(picture.height for picture in pictures)
    font = ImageFont.load_default(min(max(height // 28, 13), 40))
    line = round(font.getbbox("Äg")[3] * 1.2)
    texts = [_lines(caption, picture.width, font) for (caption, _), picture in zip(panels, pictures, strict=True)]
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) + 1)
    foot = line * max(map(len, texts)) + _GAP
    sheet = fromarray(np.full((height + 2 * _GAP + foot, width, 3), _PAPER, np.uint8))
    pen = Draw(sheet)
    left = _GAP
    for picture, text in zip(pictures, texts, strict=True):
        sheet.paste(picture, (left, _GAP))
        pen.rectangle((left - 1, _GAP - 1, left + picture.width, _GAP + picture.height), outline=(170, 170, 170))
        for number, words in enumerate(text):
            middle = left + (picture.width - font.getlength(words)) / 2
            pen.text((middle, picture.height + 2 * _GAP + number * line), words, fill=_INK, font=font)
        left += picture.width + _GAP
    return np.asarray(sheet)


def _rgb(pixels: NDArray) -> NDArray:
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _sized(picture: Any) -> Any:
    from PIL.Image import Resampling

    longest = max(picture.size)
    if longest < _SMALLEST:
        # whole pixels stay squares
        factor = -(-_SMALLEST // longest)
        return picture.resize((picture.width * factor, picture.height * factor), Resampling.NEAREST)
    if longest > _LARGEST:
        return picture.reduce(-(-longest // _LARGEST))
    return picture


def _lines(caption: str, width: int, font: Any) -> list[str]:
    lines: list[str] = []
    for word in caption.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
