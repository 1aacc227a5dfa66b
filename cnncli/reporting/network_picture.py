"""A network as a picture: volumes with D@WxH for one path, boxes and arrows where paths split and join."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

from cnncli.model.network import NETWORK_INPUT, Model
from cnncli.model.summary import Row, collapse, connections, rows_of
from cnncli.reporting.notation import format_shape
from cnncli.reporting.svg import Drawing
from cnncli.shapes import Shape

COLOURS = {
    "conv": "#9ecae1", "depthwise": "#9ecae1", "locally_connected": "#9ecae1", "maxpool": "#fdae6b",
    "avgpool": "#fdae6b", "globalavgpool": "#fdd0a2", "globalmaxpool": "#fdd0a2", "dense": "#a1d99b",
    "flatten": "#d9d9d9", "batchnorm": "#dadaeb", "dropout": "#eeeeee", "add": "#fc9272", "concat": "#fcbba1",
    "block": "#c6dbef",
}  # fmt: skip
INK = "#1d2433"
LINE = "#4a5568"
HIDDEN = {"dropout", "lrn", "batchnorm"}
GAP = 46


def network_svg(model: Model, depth: int | None = None, *, collapsed: bool = True, notation: str = "d@wxh") -> str:
    """Return an SVG: the lecture's row of volumes for a sequence of layers, a graph for any other network.

    `depth` and `collapsed` say how far the boxes of a graph are opened, as in a table; by default a large network
    shows its blocks from outside. Shapes stand in `notation`.
    """
    rows = rows_of(model)
    straight = all(node.inputs == (index - 1,) for index, node in enumerate(model.nodes))
    if straight and len(_drawn(rows)) <= 40:
        return volumes(model, rows, notation)
    return graph(model, depth or (2 if len(rows) <= 60 else 1), collapsed=collapsed, notation=notation)


def volumes(model: Model, rows: Sequence[Row], notation: str) -> str:
    """Return the row of volumes: height and depth of a box follow the image, its thickness the channels."""
    boxes = [_Box("Input", "", model.input_shape, "#ffffff")]
    for row in _drawn(rows):
        boxes.append(_Box(row.name, _short(row), row.output, COLOURS.get(row.kind, "#f0f0f0")))
    top = 60 + max(box.height + box.depth for box in boxes)
    middle = 50 + max(box.height + box.depth for box in boxes) / 2
    width = 24 + sum(box.width + box.depth + GAP for box in boxes)
    drawing = Drawing(max(width, 360), top + 62)
    drawing.text(16, 24, f"{model.name}: {_total(model)} parameters", size=15, bold=True)
    x = 24.0
    for number, box in enumerate(boxes):
        if number:
            drawing.path(f"M{x - GAP + 6:.1f},{middle:.1f} H{x - 6:.1f}", stroke=LINE, arrow=True)
        _volume(drawing, x, middle, box)
        centre = x + (box.width + box.depth) / 2
        drawing.text(centre, top + 6, format_shape(box.shape, notation), size=11, anchor="middle")
        drawing.text(centre, top + 22, box.name, size=11, anchor="middle", bold=True)
        for line, text in enumerate(box.note.split("\n") if box.note else ()):
            drawing.text(centre, top + 36 + 12 * line, text, size=9.5, anchor="middle", fill="#4a5568")
        x += box.width + box.depth + GAP
    return drawing.finish()


def graph(model: Model, depth: int, *, collapsed: bool, notation: str) -> str:
    """Return boxes from top to bottom, side by side where paths are parallel, with an arrow for each connection."""
    rows = rows_of(model)
    drawn = collapse(rows, depth, model.repeats if collapsed else None)
    edges = connections(model, rows, drawn)
    level = [0] * len(drawn)
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        level[target] = max(level[target], level[source] + 1 if source >= 0 else 1)
    lanes = _lanes(level, edges)
    across = max(lanes, default=0) + 1
    width, height = 236, 46
    heading = 40 + 9 * len(f"{model.name}: {_total(model)} parameters")
    drawing = Drawing(max(heading, 50 + across * (width + 30)), 100 + (max(level, default=0) + 1) * (height + 26))
    drawing.text(16, 24, f"{model.name}: {_total(model)} parameters", size=15, bold=True)
    at = {NETWORK_INPUT: (24.0, 44.0)}
    _label(drawing, at[NETWORK_INPUT], width, "Input", format_shape(model.input_shape, notation), "#ffffff")
    for index in range(len(drawn)):
        at[index] = 24.0 + lanes[index] * (width + 30), 44.0 + level[index] * (height + 26)
    for source, target in edges:
        _arrow(drawing, at[source], at[target], width, height, skips=level[target] - _level(level, source) > 1)
    for index, row in enumerate(drawn):
        title = f"{row.name} {_short(row)}".strip().replace("\n", " ")
        detail = format_shape(row.output, notation) + (f" · {row.params:,}" if row.params else "")
        _label(drawing, at[index], width, title, detail, COLOURS.get(row.kind, "#f0f0f0"))
    return drawing.finish()


class _Box:
    """A volume: how it is called and how large it is drawn, in px."""

    def __init__(self, name: str, note: str, shape: Shape, colour: str) -> None:
        self.name, self.note, self.shape, self.colour = name, note, shape, colour
        if len(shape) == 3:
            self.height = 18 + 17 * log2(1 + shape[1])
            self.depth = (18 + 17 * log2(1 + shape[2])) * 0.35
            self.width = 4 + 7 * log2(1 + shape[0])
        else:
            self.height = 24 + 13 * log2(1 + shape[0])
            self.depth = 0.0
            self.width = 14.0


def _volume(drawing: Drawing, x: float, middle: float, box: _Box) -> None:
    y = middle - (box.height + box.depth) / 2 + box.depth
    width, height, depth = box.width, box.height, box.depth
    if depth:
        upper = [(x, y), (x + depth, y - depth), (x + depth + width, y - depth), (x + width, y)]
        side = [
            (x + width, y),
            (x + width + depth, y - depth),
            (x + width + depth, y + height - depth),
            (x + width, y + height),
        ]
        drawing.polygon(upper, fill=_shade(box.colour, 0.93), stroke=LINE)
        drawing.polygon(side, fill=_shade(box.colour, 0.82), stroke=LINE)
    drawing.rectangle(x, y, width, height, fill=box.colour, stroke=LINE)


def _label(drawing: Drawing, place: tuple[float, float], width: float, title: str, detail: str, colour: str) -> None:
    x, y = place
    drawing.rectangle(x, y, width, 46, fill=colour, stroke=LINE, radius=5)
    title = title if len(title) <= 36 else title[:35] + "…"
    drawing.text(x + width / 2, y + 19, title, size=12, anchor="middle", bold=True)
    drawing.text(x + width / 2, y + 36, detail, size=11, anchor="middle")


def _arrow(
    drawing: Drawing,
    source: tuple[float, float],
    target: tuple[float, float],
    width: float,
    height: float,
    *,
    skips: bool,
) -> None:
    x1, y1 = source[0] + width / 2, source[1] + height
    x2, y2 = target[0] + width / 2, target[1] - 1
    if skips and x1 == x2:
        # a shortcut: around the boxes between, on their right
        right, start, end = source[0] + width, source[1] + height / 2, target[1] + height / 2
        bend = right + 26
        way = f"M{right:.1f},{start:.1f} C{bend:.1f},{start:.1f} {bend:.1f},{end:.1f} {right:.1f},{end:.1f}"
    elif x1 > x2:
        # back to the left: straight down in its own column, over only above the target
        way = f"M{x1:.1f},{y1:.1f} V{y2 - 22:.1f} C{x1:.1f},{y2 - 8:.1f} {x2:.1f},{y2 - 24:.1f} {x2:.1f},{y2:.1f}"
    else:
        way = f"M{x1:.1f},{y1:.1f} C{x1:.1f},{y1 + 24:.1f} {x2:.1f},{y1 + 2:.1f} {x2:.1f},{y1 + 24:.1f} V{y2:.1f}"
    drawing.path(way, stroke=LINE, arrow=True)


def _lanes(level: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return a column for every box: a path stays in its column, parallel ones get the next free."""
    before: dict[int, list[int]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
    lanes: list[int] = []
    taken: dict[int, set[int]] = {}
    for index, row in enumerate(level):
        wish = min((lanes[s] if s >= 0 else 0 for s in before.get(index, [0]) if s < index), default=0)
        while wish in taken.setdefault(row, set()):
            wish += 1
        taken[row].add(wish)
        lanes.append(wish)
    return lanes


def _level(level: Sequence[int], source: int) -> int:
    return 0 if source == NETWORK_INPUT else level[source]


def _drawn(rows: Sequence[Row]) -> list[Row]:
    last = len(rows) - 1
    return [
        row for index, row in enumerate(rows)
        if row.kind not in HIDDEN and not (row.node and row.node.layer.is_activation and index != last)
    ]  # fmt: skip


def _short(row: Row) -> str:
    if row.kind == "block":
        return ""
    words = {"conv": "conv", "maxpool": "max pool", "avgpool": "avg pool", "dense": "dense", "depthwise": "depthwise"}
    word = words.get(row.kind, "" if row.name.startswith(row.kind) else row.kind)
    if row.kernel:
        word += f" {row.kernel}x{row.kernel}" if "x" not in row.kernel else f" {row.kernel}"
        if row.stride != "1":
            word += f"/{row.stride}"
    return "\n".join([word.strip(), *row.activations]).strip()


def _total(model: Model) -> str:
    return f"{model.parameter_count + model.non_trainable_count:,}"


def _shade(colour: str, factor: float) -> str:
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * factor):02x}" for i in (1, 3, 5))
