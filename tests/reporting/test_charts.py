"""Curves and matrices: round numbers on the axes, points where the numbers are, nothing outside of the picture."""

import numpy as np
import pytest

from cnncli.io.drawing.canvas import Canvas
from cnncli.reporting.pictures import charts
from cnncli.reporting.pictures.svg import Drawing


class Recorder:
    """Remembers what is drawn."""

    def __init__(self):
        self.rectangles, self.lines, self.texts = [], [], []

    def rectangle(self, x, y, width, height, *, fill, stroke, radius=0):
        self.rectangles.append((x, y, width, height, fill))

    def polyline(self, points, *, stroke, width=1.3, dashed=False):
        self.lines.append((list(points), stroke, dashed))

    def text(self, x, y, text, *, size=12, anchor="start", fill="", bold=False):
        self.texts.append((x, y, text))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.2, 0.21), (1e-9, 3e-9), (0.5, 0.5), (0, 0), (-3, 1e6), (2.3, 2.30001), (1e20, 1e30)]
)
def test_ticks_are_round_and_enclose_the_numbers(low, high):
    ticks = charts.nice_ticks(low, high)
    steps = np.diff(ticks)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-9 * abs(low)
    assert ticks[-1] >= high - 1e-9 * abs(high)
    assert np.allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (1, 10), (3, 47), (1, 1_000_000)])
def test_epochs_on_the_axis_are_whole_and_few(first, last):
    ticks = charts.epoch_ticks(first, last)
    assert all(isinstance(tick, int) and first <= tick <= last for tick in ticks)
    assert 1 <= len(ticks) <= 8


def test_points_lie_where_their_numbers_are():
    history = [{"epoch": e, "loss": 4.0 - e, "acc": None, "val_loss": 4.5 - e, "val_acc": None} for e in (1, 2, 3)]
    (panel,) = charts.panels_of(history, 2)
    pen = Recorder()
    charts.draw_curves(pen, [panel])
    curves = [points for points, colour, _ in pen.lines if colour in (charts.TRAINING, charts.VALIDATION)]
    scale = {float(text): y - 4 for x, y, text in pen.texts if x < 52 and text.replace(".", "").isdigit()}
    (low, at_low), (high, at_high) = min(scale.items()), max(scale.items())
    values = {round(low + (at_low - y) / (at_low - at_high) * (high - low), 6) for points in curves for _, y in points}
    assert values == {3.0, 2.0, 1.0, 3.5, 2.5, 1.5}
    best = [points for points, _, dashed in pen.lines if dashed]
    assert [x for x, _ in best[0]] == [curves[0][1][0]] * 2


def test_numbers_that_are_missing_or_not_finite_are_left_out():
    history = [{"epoch": 1.0, "loss": float("inf"), "acc": 0.5, "val_loss": None, "val_acc": None}]
    panels = charts.panels_of(history, None)
    assert [(panel.title, dict(panel.lines)) for panel in panels] == [("accuracy", {"training": [(1, 0.5)]})]
    assert charts.panels_of([], None) == []


@pytest.mark.parametrize("count", [2, 3, 10, 40, 100, 200])
@pytest.mark.parametrize("name", ["a", "a name that is much too long for its cell", "語" * 30])
def test_a_matrix_of_any_size_stays_in_its_picture(count, name):
    counts = np.random.default_rng(1).integers(0, 3000, (count, count)).tolist()
    size = charts.matrix_size([name] * count, 3000)
    pen = Recorder()
    charts.draw_matrix(pen, counts, [name] * count)
    assert len(pen.rectangles) == count * count
    assert max(x + width for x, _, width, _, _ in pen.rectangles) <= size.width
    assert max(y + height for _, y, _, height, _ in pen.rectangles) <= size.height
    assert min(x for x, *_ in pen.rectangles) >= 0
    # rows of the matrix from top to bottom, columns from left to right
    tops = [y for _, y, *_ in pen.rectangles]
    assert tops == sorted(tops)
    if count == 2:
        assert [text for _, _, text in pen.texts if text.replace(",", "").isdigit() and len(text) > 1] == [
            f"{number:,}" for row in counts for number in row if number > 9
        ]


def test_an_empty_row_is_white():
    pen = Recorder()
    charts.draw_matrix(pen, [[0, 0], [5, 5]], ["a", "b"])
    colours = [fill for *_, fill in pen.rectangles]
    assert colours[:2] == ["#ffffff", "#ffffff"]
    assert colours[2] != colours[3] != "#ffffff"


def test_the_same_chart_as_svg_and_as_pixels():
    history = [{"epoch": e, "loss": 1 / e, "acc": 1 - 1 / e, "val_loss": 1 / e, "val_acc": 0.5} for e in range(1, 99)]
    panels = charts.panels_of(history, 7)
    size = charts.curves_size(2)
    drawing, canvas = Drawing(*size, "t"), Canvas(*size)
    charts.draw_curves(drawing, panels)
    charts.draw_curves(canvas, panels)
    assert drawing.finish().count("<polyline") > 10
    pixels = canvas.finish()
    assert pixels.shape == (500, 1520, 3)
    assert (pixels == (33, 102, 172)).all(2).sum() > 200  # the colour of validation
    assert (pixels[:8] == 255).all()
