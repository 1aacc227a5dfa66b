"""How often each pixel is read, as a picture: the darker, the more windows."""

from __future__ import annotations

from collections.abc import Sequence

from cnncli.errors import CnnError
from cnncli.reporting.pictures.svg import Drawing, text_width

CELL = 36  # px
MAX_SIDE = 200


def coverage_svg(counts: Sequence[Sequence[int]]) -> str:
    """Return an SVG of `counts`, each cell shaded and, where there is room, with its number."""
    rows, columns = len(counts), len(counts[0])
    if max(rows, columns) > MAX_SIDE:
        raise CnnError(f"a picture of {rows}x{columns} cells is too large", hint=f"use at most {MAX_SIDE} a side")
    cell = CELL if max(rows, columns) <= 30 else 8
    most = max(1, max(max(row) for row in counts))
    title = f"windows that read each pixel (0 to {most})"
    width = max(columns * cell + 20, 20 + text_width(title, 13))
    drawing = Drawing(width, rows * cell + 44, title)
    drawing.text(10, 18, title, size=13)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            share = count / most
            shade = "#ffffff" if count == 0 else _blue(share)
            drawing.rectangle(10 + j * cell, 30 + i * cell, cell, cell, fill=shade, stroke="#8a94a6")
            if cell == CELL:
                ink = "#ffffff" if _luminance(shade) < 0.18 else "#000000"
                drawing.text(
                    10 + (j + 0.5) * cell, 30 + (i + 0.5) * cell + 5, str(count), size=14, anchor="middle", fill=ink
                )
    return drawing.finish()


def _blue(share: float) -> str:
    light, dark = (222, 235, 247), (8, 69, 148)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(light, dark, strict=True))


def _luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2); below 0.18 white is easier to read on it than black."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
