"""What a window does to the pixels under it: how often it visits each, and what deserves a note."""

from __future__ import annotations

from cnncli.errors import ShapeError, UsageError
from cnncli.layers.base import Window, pads_text
from cnncli.layers.conv import Conv2D
from cnncli.model.network import Node
from cnncli.shapes import Shape

MAX_READS = 1_000_000  # pixels that a note may look at one by one
MAX_CELLS = 1_000_000

SIDES = (("row", "bottom"), ("column", "right"))


def slides(node: Node) -> bool:
    """Return whether a node has a window that moves over rows and columns."""
    return hasattr(node.layer, "stride") and len(node.in_shapes[0]) == 3


def visits(length: int, outputs: int, window: Window, axis: int) -> list[int]:
    """Return how many windows read each pixel of one axis.

    Each tap of the kernel meets every `stride`-th pixel once.

    Examples
    --------
    >>> visits(5, 5, Window((3, 3), (1, 1), (1, 1, 1, 1)), 0)
    [2, 3, 3, 3, 2]
    """
    counts = [0] * length
    stride = window.stride[axis]
    for tap in range(window.kernel[axis]):
        start = tap * window.dilation[axis] - window.padding[2 * axis]
        first = max(0, -(start // stride))
        for pixel in range(start + first * stride, min(length, start + outputs * stride), stride):
            counts[pixel] += 1
    return counts


def coverage(shape: Shape, out: Shape, window: Window) -> list[list[int]]:
    """Return how many windows read each pixel, as rows.

    A window reads a pixel when it reads its row and its column, so the counts are products.
    """
    if shape[1] * shape[2] > MAX_CELLS:
        raise UsageError(f"coverage of {shape[1]}x{shape[2]} pixels", hint=f"use at most {MAX_CELLS:,} pixels")
    rows = visits(shape[1], out[1], window, 0)
    columns = visits(shape[2], out[2], window, 1)
    return [[row * column for column in columns] for row in rows]


def check_strict(node: Node) -> None:
    """Raise `ShapeError` unless the windows of a node end exactly at the (padded) border."""
    window, shape = node.layer.window(), node.in_shapes[0]
    for axis, (what, _) in enumerate(SIDES):
        pads = window.padding[2 * axis : 2 * axis + 2]
        span = shape[1 + axis] + sum(pads) - window.dilation[axis] * (window.kernel[axis] - 1) - 1
        if span % window.stride[axis]:
            raise ShapeError(
                f"{node.name}: ({shape[1 + axis]} + {sum(pads)} - {window.kernel[axis]})/{window.stride[axis]} is not "
                f"whole along the {what}s ({span % window.stride[axis]} left over)",
                where=node.where,
                hint="change padding or stride, or use --round floor",
            )


def notes_of(node: Node) -> tuple[str, ...]:
    """Return remarks about pixels nobody reads, padding nobody needs and uneven `same` padding."""
    window, shape = node.layer.window(), node.in_shapes[0]
    return (*_unread(window, shape, node.out_shape), *_padding(node, window))


def _unread(window: Window, shape: Shape, out: Shape) -> list[str]:
    ends: list[str] = []
    skipped: list[str] = []
    sides: list[str] = []
    for axis, (what, side) in enumerate(SIDES):
        length, outputs, stride = shape[1 + axis], out[1 + axis], window.stride[axis]
        reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        tail = length - ((outputs - 1) * stride - window.padding[2 * axis] + reach)
        tail = min(max(tail, 0), length)
        if tail:
            ends.append(_count(tail, what))
            sides.append(side)
        holes = 0
        gaps = stride > window.kernel[axis] or window.dilation[axis] > 1
        if gaps and outputs * window.kernel[axis] <= MAX_READS:
            holes = visits(length, outputs, window, axis)[: length - tail].count(0)
        if holes:
            skipped.append(_count(holes, what))
    found = []
    if ends:
        verb = "is" if len(ends) == 1 and ends[0].startswith("1 ") else "are"
        found.append(f"{' and '.join(ends)} on the {'/'.join(sides)} {verb} never read")
    if skipped:
        verb = "is" if len(skipped) == 1 and skipped[0].startswith("1 ") else "are"
        where = "between the windows" if window.dilation == (1, 1) else "between the taps of the windows"
        found.append(f"{' and '.join(skipped)} {where} {verb} skipped")
    return found


def _padding(node: Node, window: Window) -> list[str]:
    found = []
    top, bottom, left, right = window.padding
    added = node.layer.rounded if isinstance(node.layer, Conv2D) else (0, 0)
    same = all(
        out == -(-n // s) for out, n, s in zip(node.out_shape[1:], node.in_shapes[0][1:], window.stride, strict=True)
    )
    if same and not any(added) and (top != bottom or left != right):
        found.append(f"same needs uneven padding: {top} on top, {bottom} at the bottom, {left} left and {right} right")
    for axis, (what, _) in enumerate(SIDES):
        most = window.dilation[axis] * (window.kernel[axis] - 1)
        before, after = window.padding[2 * axis], window.padding[2 * axis + 1] - added[axis]
        if max(before, after) > most:
            found.append(
                f"padding {pads_text(window.padding)} is more than f-1 = {most}: "
                f"the outer {what}s of the output see padding alone"
            )
            break
    return found


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
