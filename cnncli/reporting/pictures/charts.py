"""Curves of a training and a confusion matrix, on anything that draws rectangles, lines and texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cnncli.errors import printable
from cnncli.reporting.pictures.svg import text_width

INK, PALE, RULE, GROUND = "#1d2433", "#5a6475", "#e3e7ee", "#ffffff"
TRAINING, VALIDATION, BEST = "#b0672a", "#2166ac", "#8792a5"
_PANEL = 380, 250  # width and height of one panel of curves [px]
_INSIDE = 52, 34, 12, 34  # room for texts: left, top, right, bottom [px]
_MARKED = 40  # epochs up to which every one has a point
_LONGEST = 18  # letters of a class name beside the matrix
MOST_CLASSES = 200  # of which a matrix is drawn


class Pen(Protocol):
    """What draws: an SVG `Drawing`, or a `Canvas` of pixels."""

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str, radius: float = 0
    ) -> None:
        """Add a rectangle."""

    def polyline(
        self, points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1.3, dashed: bool = False
    ) -> None:
        """Add an open line."""

    def text(
        self, x: float, y: float, text: str, *, size: float = 12, anchor: str = "start", fill: str = INK,
        bold: bool = False,
    ) -> None:  # fmt: skip
        """Add a line of text."""


@dataclass(frozen=True)
class Curves:
    """One panel: numbers by epoch.

    Attributes
    ----------
    title : str
    lines : mapping of str to sequence of (epoch, number)
        ``training`` and ``validation``.
    best : int or None
        The epoch whose weights were kept.
    is_share : bool
        The numbers are shares, written in percent.
    """

    title: str
    lines: Mapping[str, Sequence[tuple[int, float]]]
    best: int | None = None
    is_share: bool = False


def panels_of(history: Sequence[Mapping[str, float | None]], best: int | None) -> list[Curves]:
    """Return the panels of a history: rows with ``epoch``, ``loss``, ``acc``, ``val_loss`` and ``val_acc``."""
    panels = []
    for title, key, is_share in (("loss", "loss", False), ("accuracy", "acc", True)):
        lines = {}
        for name, column in (("training", key), ("validation", f"val_{key}")):
            points = [(int(row["epoch"] or 0), row.get(column)) for row in history]
            lines[name] = [(epoch, value) for epoch, value in points if value is not None and math.isfinite(value)]
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            panels.append(Curves(title, lines, best, is_share))
    return panels


def curves_size(panels: int) -> tuple[float, float]:
    """Return width and height of so many panels side by side [px]."""
    return float(_PANEL[0] * max(panels, 1)), float(_PANEL[1])


def draw_curves(pen: Pen, panels: Sequence[Curves]) -> None:
    """Draw panels side by side."""
    for number, panel in enumerate(panels):
        _draw_panel(pen, panel, float(number * _PANEL[0]))


def _draw_panel(pen: Pen, panel: Curves, x: float) -> None:
    left, top, right, bottom = x + _INSIDE[0], _INSIDE[1], x + _PANEL[0] - _INSIDE[2], _PANEL[1] - _INSIDE[3]
    numbers = [value for points in panel.lines.values() for _, value in points]
    epochs = [epoch for points in panel.lines.values() for epoch, _ in points]
    ticks = nice_ticks(min(numbers), max(numbers), highest=1.0 if panel.is_share else None)
    low, high = ticks[0], max(ticks[-1], max(numbers))
    first, last = min(epochs), max(epochs)

    def place(epoch: float, value: float) -> tuple[float, float]:
        across = (epoch - first) / (last - first) if last > first else 0.5
        return left + across * (right - left), bottom - (value - low) / (high - low) * (bottom - top)

    pen.text(x + 14, 20, panel.title, size=13, bold=True)
    for value in ticks:
        _, y = place(first, value)
        pen.polyline([(left, y), (right, y)], stroke=RULE, width=1)
        pen.text(left - 6, y + 4, _tick(value, panel.is_share, ticks), size=10.5, anchor="end", fill=PALE)
    for epoch in epoch_ticks(first, last):
        across, _ = place(epoch, low)
        pen.text(across, bottom + 16, str(epoch), size=10.5, anchor="middle", fill=PALE)
    pen.text((left + right) / 2, bottom + 30, "epoch", size=10.5, anchor="middle", fill=PALE)
    if panel.best is not None and first <= panel.best <= last:
        across, _ = place(panel.best, low)
        pen.polyline([(across, top), (across, bottom)], stroke=BEST, width=1, dashed=True)
        near_end = across > (left + right) / 2
        aside = across - 4 if near_end else across + 4
        pen.text(aside, bottom - 6, "best", size=10.5, anchor="end" if near_end else "start", fill=PALE)
    at = right
    for name, points in reversed(list(panel.lines.items())):
        colour = VALIDATION if name == "validation" else TRAINING
        pen.text(at, 20, name, size=11, anchor="end", fill=colour)
        at -= text_width(name, 11) + 16
        placed = [place(epoch, value) for epoch, value in points]
        if len(placed) > 1:
            pen.polyline(placed, stroke=colour, width=1.8)
        if len(placed) <= _MARKED:
            for px, py in placed:
                pen.rectangle(px - 2.4, py - 2.4, 4.8, 4.8, fill=colour, stroke="none", radius=2.4)


def nice_ticks(low: float, high: float, *, highest: float | None = None) -> list[float]:
    """Return about five round numbers from below `low` to above `high`, steps of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> nice_ticks(0.013, 2.31)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    >>> nice_ticks(0.93, 0.991, highest=1.0)
    [0.92, 0.94, 0.96, 0.98, 1.0]
    """
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last == first:
        last += 1
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    if highest is not None and len(ticks) > 2:
        ticks = [tick for tick in ticks if tick <= highest + 1e-12]
    return ticks


def epoch_ticks(first: int, last: int) -> list[int]:
    """Return some epochs for the axis, with round steps."""
    step = next(step for step in _steps() if (last - first) / step <= 6)
    inside = [epoch for epoch in range(first - first % step, last + 1, step) if epoch >= first]
    return inside if len(inside) > 1 or first == last else [first, last]


def _steps() -> list[int]:
    return [factor * 10**power for power in range(8) for factor in (1, 2, 5)]


def _tick(value: float, is_share: bool, ticks: Sequence[float]) -> str:
    if not is_share:
        return f"{value:g}"
    digits = 0 if all(abs(100 * tick - round(100 * tick)) < 1e-9 for tick in ticks) else 1
    return f"{100 * value:.{digits}f} %"


@dataclass(frozen=True)
class MatrixSize:
    """How a confusion matrix of K classes is laid out [px]."""

    cell: float
    left: float
    top: float
    width: float
    height: float
    has_names: bool


def matrix_size(names: Sequence[str], most: int) -> MatrixSize:
    """Return the layout for these classes and counts of up to `most`."""
    count = len(names)
    digits = 8 + 7.0 * len(f"{most:,}")
    cell = max(7.0, min(46.0, 560 / count))
    cell = max(cell, digits) if count <= 20 else cell
    shown = [_short(name) for name in names]
    widest = max(text_width(name, 11) for name in shown)
    has_names = widest <= cell - 4
    left = 20 + widest + (0 if has_names else text_width(f"{count - 1} ", 11))
    return MatrixSize(cell, left, 62.0, max(left + count * cell + 16, 330.0), 62.0 + count * cell + 16, has_names)


def draw_matrix(pen: Pen, counts: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Draw counts by class (row) and answer (column): right answers blue, wrong ones red, by their share of the row."""
    most = max(max(row) for row in counts)
    size = matrix_size(names, most)
    cell, left, top = size.cell, size.left, size.top
    pen.text(14, 20, "confusion matrix", size=13, bold=True)
    pen.text(left, 38, "answer of the network", size=10.5, fill=PALE)
    every = max(1, math.ceil(13 / cell))
    for number, name in enumerate(names):
        if number % every:
            continue
        short = _short(name)
        middle = number * cell + cell / 2
        text = short if size.has_names else f"{number} {short}"
        pen.text(left - 6, top + middle + 4, text, size=11, anchor="end", fill=INK)
        if size.has_names or text_width(str(number), 11) < every * cell:
            heading = short if size.has_names else str(number)
            pen.text(left + middle, top - 6, heading, size=11, anchor="middle", fill=PALE)
    for row, line in enumerate(counts):
        total = sum(line)
        for column, found in enumerate(line):
            share = found / total if total else 0.0
            colour = shade("#2166ac" if row == column else "#b2182b", math.sqrt(share))
            x, y = left + column * cell, top + row * cell
            pen.rectangle(x, y, cell, cell, fill=colour, stroke=RULE if cell >= 12 else "none")
            if found and cell >= 7.0 * len(f"{found:,}") + 3:
                ink = GROUND if math.sqrt(share) > 0.55 else INK
                pen.text(x + cell / 2, y + cell / 2 + 4, f"{found:,}", size=11, anchor="middle", fill=ink)


def shade(colour: str, share: float) -> str:
    """Return a colour between white (0) and `colour` (1).

    Examples
    --------
    >>> shade("#2166ac", 0), shade("#2166ac", 1)
    ('#ffffff', '#2166ac')
    """
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * min(max(share, 0.0), 1.0)):02x}" for part in parts)


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
