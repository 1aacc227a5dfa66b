"""The files that show a finished run: curves, confusion matrix, and the page with all of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from cnncli.io.drawing.canvas import Canvas
from cnncli.io.images.encode import encode_image
from cnncli.io.images.image import Image
from cnncli.reporting.pictures import charts
from cnncli.reporting.results.evaluation import Measured
from cnncli.reporting.results.page import RunPage

CURVES, CONFUSION, PAGE = "curves.png", "confusion.png", "report.html"
_PNG_LEVEL = 6


def report_files(page: RunPage) -> dict[str, bytes]:
    """Return the content of the files by name; those for which there is nothing to draw are left out."""
    files = {CURVES: curves_png(page), CONFUSION: confusion_png(page.measured), PAGE: page.html().encode()}
    return {name: content for name, content in files.items() if content}


def curves_png(page: RunPage) -> bytes:
    """Return loss and accuracy by epoch as a PNG; nothing for a run without finished epochs."""
    panels = charts.panels_of(page.history, page.measured.epoch)
    if not panels:
        return b""
    canvas = Canvas(*charts.curves_size(len(panels)))
    charts.draw_curves(canvas, panels)
    return _png(canvas)


def confusion_png(measured: Measured) -> bytes:
    """Return the confusion matrix as a PNG; nothing where there is none, or for too many classes."""
    counts, names = measured.evaluation.confusion, measured.evaluation.classes
    if counts is None or len(names) > charts.MOST_CLASSES:
        return b""
    size = charts.matrix_size(names, int(counts.max()))
    canvas = Canvas(size.width, size.height)
    charts.draw_matrix(canvas, counts.tolist(), names)
    return _png(canvas)


def read_history(text: str) -> list[dict[str, float | None]]:
    """Return the rows of a ``history.csv``; a field that is empty or no number is None."""
    return [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _number(value: str | Sequence[str] | None) -> float | None:
    try:
        return float(value) if isinstance(value, str) and value else None
    except ValueError:
        return None


def _png(canvas: Canvas) -> bytes:
    return bytes(encode_image(Image(canvas.finish()), "PNG", level=_PNG_LEVEL))
