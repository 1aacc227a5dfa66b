"""A network as a picture: volumes with D@WxH for one path, boxes and arrows where paths split and join."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log2

from cnncli.model.network import NETWORK_INPUT, Model
from cnncli.model.summary import Row, collapse, connections, rows_of
from cnncli.reporting.notation import format_shape
from cnncli.reporting.pictures.svg import Drawing, text_width
from cnncli.shapes import Shape

COLOURS = {
    "conv": "#9ecae1", "depthwise": "#9ecae1", "locally_connected": "#9ecae1", "conv_transpose": "#9ecae1",
    "maxpool": "#fdae6b", "avgpool": "#fdae6b", "globalavgpool": "#fdd0a2", "globalmaxpool": "#fdd0a2",
    "dense": "#a1d99b", "flatten": "#d9d9d9", "batchnorm": "#dadaeb", "groupnorm": "#dadaeb", "layernorm": "#dadaeb",
    "dropout": "#eeeeee", "add": "#fc9272", "concat": "#fcbba1", "multiply": "#fc9272", "block": "#c6dbef",
}  # fmt: skip
LINE = "#4a5568"
HIDDEN = {"dropout", "lrn", "batchnorm", "groupnorm", "layernorm"}
GAP = 46
NAME_WIDTH = 16  # characters of a name on one line
TRACK = 12  # px between the lines of two shortcuts beside each other


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
    boxes = [_Box("Input", "", model.input_shape, "#ffffff", notation)]
    for row in _drawn(rows):
        boxes.append(_Box(row.name, _short(row), row.output, COLOURS.get(row.kind, "#f0f0f0"), notation))
    top = 60 + max(box.height + box.depth for box in boxes)
    middle = 50 + max(box.height + box.depth for box in boxes) / 2
    title = f"{model.name}: {_total(model)} parameters"
    width = 24 + sum(box.slot + GAP for box in boxes)
    lines = max(len(box.lines) for box in boxes)
    drawing = Drawing(max(width, 32 + text_width(title, 15, bold=True)), top + 14 + 13 * lines, title)
    drawing.text(16, 24, title, size=15, bold=True)
    x = end = 24.0
    for number, box in enumerate(boxes):
        centre = x + box.slot / 2
        left = centre - (box.width + box.depth) / 2
        if number:
            drawing.path(f"M{end + 6:.1f},{middle:.1f} H{left - 6:.1f}", stroke=LINE, arrow=True)
        _volume(drawing, left, middle, box)
        for line, (text, size, bold) in enumerate(box.lines):
            drawing.text(centre, top + 6 + 13 * line, text, size=size, anchor="middle", bold=bold)
        end = left + box.width + box.depth
        x += box.slot + GAP
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
    tracks = _tracks(level, lanes, edges)
    across = max(lanes, default=0) + 1
    width, height = 236, 46
    column = width + 30 + TRACK * (max(tracks.values(), default=-1) + 1)
    title = f"{model.name}: {_total(model)} parameters"
    wide = max(32 + text_width(title, 15, bold=True), 24 + across * column)
    drawing = Drawing(wide, 44 + max(level, default=0) * (height + 26) + height + 20, title)
    drawing.text(16, 24, title, size=15, bold=True)
    at = {NETWORK_INPUT: (24.0, 44.0)}
    _label(drawing, at[NETWORK_INPUT], width, "Input", format_shape(model.input_shape, notation), "#ffffff")
    for index in range(len(drawn)):
        at[index] = 24.0 + lanes[index] * column, 44.0 + level[index] * (height + 26)
    for edge in edges:
        _arrow(drawing, at[edge[0]], at[edge[1]], width, height, track=tracks.get(edge))
    for index, row in enumerate(drawn):
        name = f"{row.name} {_short(row)}".strip().replace("\n", " ")
        detail = format_shape(row.output, notation) + (f" · {row.params:,}" if row.params else "")
        _label(drawing, at[index], width, name, detail, COLOURS.get(row.kind, "#f0f0f0"))
    return drawing.finish()


class _Box:
    """A volume: how it is called and how large it is drawn, in px."""

    def __init__(self, name: str, note: str, shape: Shape, colour: str, notation: str) -> None:
        self.colour = colour
        self.lines = [(format_shape(shape, notation), 11.0, False)]
        self.lines += [(part, 11.0, True) for part in _broken(name)]
        self.lines += [(part, 9.5, False) for part in note.split("\n") if part]
        if len(shape) == 3:
            self.height = 18 + 17 * log2(1 + shape[1])
            self.depth = (18 + 17 * log2(1 + shape[2])) * 0.35
            self.width = 4 + 7 * log2(1 + shape[0])
        else:
            self.height = 24 + 13 * log2(1 + shape[0])
            self.depth = 0.0
            self.width = 14.0
        texts = max(text_width(text, size, bold=bold) for text, size, bold in self.lines)
        # the texts below it may reach into the gaps on both sides
        self.slot = max(self.width + self.depth, texts - GAP + 10)


def _broken(name: str) -> list[str]:
    """Return a name in lines of at most `NAME_WIDTH` characters, broken behind ``_ - . /`` where there is one."""
    lines = [""]
    for part in re.findall(r"[^_\-./ ]*[_\-./ ]?", name):
        while part:
            room = NAME_WIDTH - len(lines[-1])
            if len(part) <= room:
                lines[-1] += part
                break
            if lines[-1]:
                lines.append("")
                continue
            lines[-1], part = part[:NAME_WIDTH], part[NAME_WIDTH:]
    return [line.strip() for line in lines]


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
    track: int | None,
) -> None:
    x1, y1 = source[0] + width / 2, source[1] + height
    x2, y2 = target[0] + width / 2, target[1] - 1
    if track is not None:
        # a shortcut: around the boxes between, on their right, each on a line of its own
        right, start, end = source[0] + width, source[1] + height / 2 + 6, target[1] + height / 2 - 6
        bend = right + 14 + TRACK * track
        way = (
            f"M{right:.1f},{start:.1f} H{bend - 6:.1f} Q{bend:.1f},{start:.1f} {bend:.1f},{start + 6:.1f} "
            f"V{end - 6:.1f} Q{bend:.1f},{end:.1f} {bend - 6:.1f},{end:.1f} H{right + 1:.1f}"
        )
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
        lane = min((lanes[s] if s >= 0 else 0 for s in before.get(index, [0]) if s < index), default=0)
        while lane in taken.setdefault(row, set()):
            lane += 1
        taken[row].add(lane)
        lanes.append(lane)
    return lanes


def _tracks(level: Sequence[int], lanes: Sequence[int], edges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return for every shortcut within a column the line beside it that it runs on: short ones inside long ones."""

    def span(edge: tuple[int, int]) -> tuple[int, int]:
        return _level(level, edge[0]), level[edge[1]]

    def lane(index: int) -> int:
        return 0 if index == NETWORK_INPUT else lanes[index]

    found: dict[tuple[int, int], int] = {}
    for edge in sorted(edges, key=lambda edge: span(edge)[1] - span(edge)[0]):
        first, last = span(edge)
        if last - first < 2 or lane(edge[0]) != lane(edge[1]):
            continue
        beside = {
            track for other, track in found.items()
            if lane(other[0]) == lane(edge[0]) and span(other)[0] < last and first < span(other)[1]
        }  # fmt: skip
        found[edge] = next(track for track in range(len(beside) + 1) if track not in beside)
    return found


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
    words = {
        "conv": "conv", "maxpool": "max pool", "avgpool": "avg pool", "dense": "dense", "depthwise": "depthwise",
        "conv_transpose": "conv transpose",
    }  # fmt: skip
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
