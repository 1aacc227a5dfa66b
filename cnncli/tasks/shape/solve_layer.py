"""One number of a layer is looked for: the layer is solved axis by axis, completed, and checked by its own rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnncli.errors import InvalidInputError, ShapeError, UsageError
from cnncli.language.items import Item
from cnncli.language.tree import ListNode, Mark, ScalarNode
from cnncli.model.arguments import model_from_items
from cnncli.model.network import Model
from cnncli.model.values import read_option
from cnncli.model.vocabulary import options_of
from cnncli.shapes import Pair, Shape, format_hwc
from cnncli.tasks.shape.solver import Axis, Solution, solve, uneven_padding
from cnncli.tasks.shape.window_notes import SIDES, check_strict

WINDOWS = ("conv", "depthwise", "locally_connected", "maxpool", "avgpool")


@dataclass(frozen=True)
class Wanted:
    """The output that is asked for; `channels` None is any number, `size` None keeps the input's (``same``)."""

    channels: int | None = None
    size: Pair | None = None


@dataclass(frozen=True)
class Solved:
    """The completed layer as a network of one layer, the answer along rows and columns, and what is to be said."""

    model: Model
    rows: Solution
    columns: Solution
    notes: tuple[str, ...]

    @property
    def value(self) -> int | list[int]:
        """Return the answer: one number, or one for rows and one for columns."""
        rows, columns = self.rows.value, self.columns.value
        return rows if rows == columns else [rows, columns]


def solve_layer(item: Item, shape: Shape, unknown: str, wanted: Wanted, *, rounding: str = "floor") -> Solved:
    """Return the layer whose `unknown` gives the wanted output.

    Parameters
    ----------
    item : Item
        A layer with a window; what it says of `unknown` is not used, and a note says so.
    shape : (C, H, W)
        The input; where it is looked for, only C is used.
    unknown : str
        padding, stride, kernel or input.
    wanted : Wanted
    rounding : str
        floor, ceil or strict, where the layer itself does not say it.

    Raises
    ------
    UsageError
        A layer without a window, an option out of range.
    ShapeError
        No value gives the output; the hint names the nearest outputs.
    """
    if item.kind not in WINDOWS:
        raise UsageError(f"--solve needs a layer with a window, not {item.kind}", hint=f"use {', '.join(WINDOWS)}")
    if "out" in item.options and item.kind == "avgpool":
        raise UsageError("avgpool:out=... gives that output for any input", hint="write avgpool:3 to solve its window")
    key = _key(item, unknown)
    axes = _axes(item, shape, key, rounding)
    size = wanted.size or _same_size(axes, unknown)
    rows, columns = _solve_axes(unknown, axes, size)
    given = item.options.get(key)
    if unknown == "input":
        shape = shape[0], rows.value, columns.value
    else:
        item = replace(item, options={**item.options, key: _node(unknown, rows.value, columns.value)})
    model = model_from_items(shape, (item,), rounding=rounding)
    node = model.nodes[0]
    if rounding == "strict":
        check_strict(node)
    if node.out_shape[1:] != size or wanted.channels not in (None, node.out_shape[0]):
        asked = format_hwc((wanted.channels or node.out_shape[0], *size))
        what = "filters" if item.kind == "conv" else "channels"
        hint = f"the layer gives {node.out_shape[0]} channels; change its {what} or --want"
        raise ShapeError(f"no {unknown} gives an output of {asked}", hint=hint)
    notes = _ranges(unknown, rows, columns)
    if isinstance(given, ScalarNode | ListNode):
        notes.insert(0, f"the {key} that was given is not used, as --solve looks for it")
    return Solved(model, rows, columns, tuple(notes))


def _key(item: Item, unknown: str) -> str:
    """Return the option that `unknown` stands for in a layer."""
    return "size" if unknown == "kernel" and item.kind in ("maxpool", "avgpool") else unknown


def _axes(item: Item, shape: Shape, key: str, rounding: str) -> tuple[Axis, Axis]:
    values: dict[str, Any] = {}
    for option in options_of(item.kind):
        if option.name in item.options and option.name != key:
            try:
                values[option.name] = read_option(option, item.options[option.name], {"in_channels": shape[0]})
            except InvalidInputError as error:
                raise UsageError(error.message, where=error.where, hint=error.hint) from None
    is_pool = item.kind in ("maxpool", "avgpool")
    kernel = values.get("size" if is_pool else "kernel")
    if kernel is None and key not in ("size", "kernel"):
        raise UsageError("the kernel is missing", where=str(item.mark), hint="add -k 5, or write conv:5 or maxpool:2")
    kernel = kernel or (1, 1)
    stride = values.get("stride") or ((None, None) if is_pool else (1, 1))
    padding = values.get("padding", (0, 0, 0, 0))
    dilation = values.get("dilation", (1, 1))
    ceil = values.get("round", rounding) == "ceil"
    # rounding up a convolution adds the zeros that are left over, so strict has nothing to refuse there
    strict = rounding == "strict" and (is_pool or not ceil)
    axes = []
    for axis in (0, 1):
        pads: Pair | str = padding if isinstance(padding, str) else (padding[2 * axis], padding[2 * axis + 1])
        pads = (0, 0) if pads == "valid" else pads
        axes.append(Axis(shape[1 + axis], kernel[axis], stride[axis], pads, dilation[axis], ceil, strict, is_pool))
    return axes[0], axes[1]


def _same_size(axes: Sequence[Axis], unknown: str) -> Pair:
    """Return the size that ``same`` asks for: ceil(n / stride)."""
    if unknown == "input":
        raise UsageError("--want same does not fix the input", hint="give the output, as in --want 26x26")
    open_stride = unknown == "stride" or (unknown == "kernel" and axes[0].stride is None)
    rows, columns = (axis.length if open_stride else -(-axis.length // axis.step) for axis in axes)
    return rows, columns


def _solve_axes(unknown: str, axes: Sequence[Axis], size: Pair) -> list[Solution]:
    found = []
    for axis, want, (what, _) in zip(axes, size, SIDES, strict=True):
        try:
            found.append(solve(unknown, axis, want))
        except ShapeError as error:
            hint = error.hint
            if unknown == "padding":
                pads = [uneven_padding(axis, want) for axis, want in zip(axes, size, strict=True)]
                if pads[0] and pads[1]:
                    (top, bottom), (left, right) = pads[0], pads[1]
                    before = f"{top} before and {bottom} after does: " if pads[0] == pads[1] else ""
                    hint = f"{before}p={top}/{bottom}/{left}/{right}" + " does" * (not before)
            along = "" if axes[0] == axes[1] and size[0] == size[1] else f" along the {what}s"
            raise ShapeError(error.message + along, hint=hint) from None
    return found


def _node(unknown: str, rows: int, columns: int) -> ListNode:
    mark = Mark(f"--solve {unknown}", 0, 0)
    numbers = (rows, rows, columns, columns) if unknown == "padding" else (rows, columns)
    return ListNode(tuple(ScalarNode(number, str(number), mark) for number in numbers), mark)


def _ranges(unknown: str, rows: Solution, columns: Solution) -> list[str]:
    """Return a remark where other values give the same output."""
    if len(rows.values) == len(columns.values) == 1:
        return []
    texts = [_values_text(solution.values) for solution in (rows, columns)]
    if texts[0] == texts[1]:
        return [f"{unknown} {texts[0]} gives the same output"]
    return [f"{unknown} {texts[0]} along the rows, {texts[1]} along the columns gives the same output"]


def _values_text(values: Sequence[int]) -> str:
    first, last = values[0], values[-1]
    if first == last:
        return str(first)
    if last - first + 1 == len(values):
        return f"{first} to {last}"
    shown = [str(value) for value in values[:4]]
    return ", ".join(shown) + (f", ... {last}" if len(values) > 4 else "")
