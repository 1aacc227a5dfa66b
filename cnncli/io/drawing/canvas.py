"""A picture drawn from rectangles, lines and texts, with smooth edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.io.drawing.lettering import line_height, text_width, write_text

_SCALE = 2  # pixels of the picture per unit: letters are sharp on screens of today
_FINER = 2  # in which lines are drawn before they are averaged


class Canvas:
    """A picture of `width` x `height` units with a white ground; the methods are those of an SVG `Drawing`."""

    def __init__(self, width: float, height: float, title: str = "") -> None:
        from PIL import Image, ImageDraw

        self.width, self.height, self.title = width, height, title
        self._factor = _SCALE * _FINER
        size = max(1, round(width * _SCALE)) * _FINER, max(1, round(height * _SCALE)) * _FINER
        self._picture = Image.new("RGB", size, "#ffffff")
        self._draw = ImageDraw.Draw(self._picture)
        self._texts: list[tuple[float, float, str, float, str, str, bool]] = []

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str, radius: float = 0
    ) -> None:
        """Add a rectangle; ``none`` leaves out its line."""
        box = [self._at(value) for value in (x, y, x + width, y + height)]
        outline = None if stroke == "none" else stroke
        self._draw.rounded_rectangle(box, self._at(radius), fill, outline, self._factor if outline else 0)

    def polyline(
        self, points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1.3, dashed: bool = False
    ) -> None:
        """Add an open line through points."""
        thick = max(1, round(width * self._factor))
        placed = [(self._at(x), self._at(y)) for x, y in points]
        if not dashed:
            self._draw.line(placed, stroke, thick, joint="curve")
            return
        for (x0, y0), (x1, y1) in itertools.pairwise(placed):
            length = max(np.hypot(x1 - x0, y1 - y0), 1e-9)
            for start in np.arange(0, length, self._at(8)):
                near, far = start / length, min(start + self._at(4), length) / length
                piece: Any = [(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share) for share in (near, far)]
                self._draw.line(piece, stroke, thick)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: str = "start",
        fill: str = "#1d2433",
        bold: bool = False,
    ) -> None:
        """Add one line of text whose baseline is at `y`; texts lie above all else."""
        self._texts.append((x, y, text, size, anchor, fill, bold))

    def finish(self) -> NDArray[np.uint8]:
        """Return the picture, uint8 (H, W, 3)."""
        pixels = np.array(self._picture.reduce(_FINER))
        for x, y, text, size, anchor, fill, bold in self._texts:
            points = round(size * _SCALE)
            left = x * _SCALE - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * text_width(text, points)
            top = round(y * _SCALE) - round(0.78 * line_height(points))  # letters stand 0.78 of a line high
            red, green, blue = (int(fill[at : at + 2], 16) for at in (1, 3, 5))
            for shift in (0, 1) if bold else (0,):
                write_text(pixels, top, round(left) + shift, text, points, (red, green, blue))
        return pixels

    def _at(self, value: float) -> float:
        return value * self._factor
