"""Texts as pixels, in Pillow's built-in font (Aileron: Latin letters; other signs become boxes)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ELLIPSIS = "..."


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except (ImportError, OSError):  # Pillow without FreeType
        return ImageFont.load_default_imagefont()


def line_height(size: int) -> int:
    """Return the height of every line of `size` [px]: from above the tallest letter to below the deepest."""
    font = _font(size)
    return sum(font.getmetrics()) if hasattr(font, "getmetrics") else size


def text_width(text: str, size: int) -> int:
    """Return how wide one line of text is [px]."""
    return int(np.ceil(_font(size).getlength(_drawable(text, size))))


def shortened(text: str, size: int, width: int) -> str:
    """Return `text`, cut at its end and closed with ``...`` where it is wider than `width` px."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(kept + ELLIPSIS, size) > width:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS if kept else ""


def text_mask(text: str, size: int) -> NDArray[np.uint8]:
    """Return one line of text as coverage, 0 outside of the letters and 255 inside; uint8 (line_height, text_width)."""
    from PIL import Image, ImageDraw

    drawn = _drawable(text, size)
    picture = Image.new("L", (max(text_width(drawn, size), 1), line_height(size)))
    ImageDraw.Draw(picture).text((0, 0), drawn, fill=255, font=_font(size))
    return np.asarray(picture)


def write_text(
    pixels: NDArray[np.uint8], top: int, left: int, text: str, size: int, colour: tuple[int, int, int] = (29, 36, 51)
) -> None:
    """Write one line of text into uint8 (H, W, 3), in place; what lies outside of the picture is left out."""
    mask = text_mask(text, size)
    up, near = max(-top, 0), max(-left, 0)
    area = pixels[top + up : top + mask.shape[0], left + near : left + mask.shape[1]]
    if not area.size or top + mask.shape[0] <= 0 or left + mask.shape[1] <= 0:
        return
    share = mask[up : up + area.shape[0], near : near + area.shape[1], None].astype(np.uint32)
    area[...] = (area * (255 - share) + np.array(colour, np.uint32) * share + 127) // 255


def _drawable(text: str, size: int) -> str:
    """Return the text on one line, in Latin-1 where the font has no other signs."""
    line = " ".join(text.split()) if text.strip() else text
    return line if hasattr(_font(size), "getmetrics") else line.encode("latin-1", "replace").decode("latin-1")
