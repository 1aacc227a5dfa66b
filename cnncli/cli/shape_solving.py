"""The answers of `cnn shape --solve`: one number of one layer is unknown, the output is wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cnncli.cli.shape_answers import as_json, chain_texts, input_of, notes
from cnncli.errors import UsageError
from cnncli.model.chain import chain_model
from cnncli.model.network import Model
from cnncli.model.vocabulary import vocabulary
from cnncli.reporting.notation import format_shape
from cnncli.reporting.shape_report import params_text
from cnncli.shapes import Pair, Shape
from cnncli.spec.chain import parse_layer
from cnncli.spec.items import Item
from cnncli.spec.tree import ListNode, ScalarNode, TreeNode
from cnncli.tasks.shape_solver import Axis, Solution, solve


def solved(
    source: str,
    layers: Sequence[str],
    flags: Mapping[str, str | None],
    unknown: str,
    want: str,
    notation: str,
    format_name: str,
) -> str:
    """Return the answer with its formula and the layer that it makes.

    Parameters
    ----------
    source : str
        The input shape.
    layers, flags
        The layer, as one text or as flags.
    unknown : str
        padding, stride, kernel or input.
    want : str
        The output shape, or ``same``.
    """
    shape = input_of(source)
    item = _layer(layers, flags, unknown)
    kernel_name = "size" if item.kind in ("maxpool", "avgpool") else "kernel"
    wanted = _wanted(want, shape, item, unknown)
    rows, columns = (solve(unknown, _axis(item, kernel_name, shape, axis, unknown), wanted[axis]) for axis in (0, 1))
    if unknown == "input":
        shape = shape[0], rows.value, columns.value
    model = chain_model(shape, [_completed(item, kernel_name, unknown, rows.value, columns.value)])
    if format_name in ("json", "jsonl"):
        answer = rows.value if rows.value == columns.value else [rows.value, columns.value]
        return json.dumps({**as_json(model, with_field=False), "solution": {unknown: answer}}) + "\n"
    return _text(model, unknown, rows, columns, notation)


def _layer(layers: Sequence[str], flags: Mapping[str, str | None], unknown: str) -> Item:
    """Return the layer; a kernel that is looked for need not be given."""
    if layers and any(flags.values()):
        raise UsageError("give flags or a layer, not both", hint="write conv:5,p=1,out=8 instead of -k 5 -p 1")
    if not layers:
        given = dict(flags)
        if unknown == "kernel":
            given["kernel"] = "1"
        layers = chain_texts((), given)
    if len(layers) != 1:
        raise UsageError("--solve takes one layer", hint="give one convolution or pool")
    return parse_layer(layers[0], vocabulary())


def _completed(item: Item, kernel_name: str, unknown: str, rows: int, columns: int) -> str:
    """Return the layer as a text with the unknown filled in."""
    name = kernel_name if unknown == "kernel" else unknown
    kept = [f"{key}={_written(node)}" for key, node in item.options.items() if key not in (name, "round")]
    if unknown != "input":
        kept.append(f"{name}={rows}/{columns}" if unknown == "padding" else f"{name}={rows}x{columns}")
    elif "padding" in item.options and _written(item.options["padding"]) == "same":
        raise UsageError("padding same does not fix the input", hint="give padding as a number")
    return f"{item.kind}:{','.join(kept)}"


def _text(model: Model, unknown: str, rows: Solution, columns: Solution, notation: str) -> str:
    formula = rows.formula
    if formula != columns.formula:
        formula = f"rows {formula}   columns {columns.formula}"
    parts = [formula]
    if unknown == "input":
        parts.append(f"input {format_shape(model.input_shape, notation)}")
    parts.append(f"output {format_shape(model.output_shape, notation)}")
    if model.nodes[0].params:
        parts.append(params_text(model.nodes[0]))
    remarks = notes(model)
    low, high = rows.range
    if low < high and rows.range == columns.range:
        remarks.insert(0, f"{unknown} {low} to {high} gives the same output")
    return "      ".join(parts) + "\n" + "".join(f"note: {remark}\n" for remark in remarks)


def _wanted(want: str, shape: Shape, item: Item, unknown: str) -> Pair:
    if want.strip().lower() != "same":
        _, rows, columns = input_of(want)
        return rows, columns
    if unknown == "input":
        raise UsageError("--want same does not fix the input", hint="give the output, as in --want 26x26")
    strides = (1, 1) if unknown == "stride" else _pair(item.options.get("stride"), 1)
    return -(-shape[1] // strides[0]), -(-shape[2] // strides[1])


def _axis(item: Item, kernel_name: str, shape: Shape, axis: int, unknown: str) -> Axis:
    kernel = _pair(item.options.get(kernel_name), 1)[axis]
    dilation = _pair(item.options.get("dilation"), 1)[axis]
    padding = 0 if unknown == "padding" else _padding(item.options.get("padding"), dilation * (kernel - 1))
    stride = _pair(item.options.get("stride"), kernel if kernel_name == "size" else 1)[axis]
    return Axis(shape[1 + axis], kernel, stride, padding, dilation)


def _padding(node: TreeNode | None, most: int) -> int:
    """Return the zeros on each side; `most` is the reach of the kernel beyond its first pixel."""
    text = "0" if node is None else _written(node)
    words: Mapping[str, Any] = {"valid": 0, "same": most // 2, "full": most}
    sides = set(text.split("/"))
    if text in words:
        return int(words[text])
    if len(sides) == 1 and text.split("/")[0].isdecimal() and len(text) < 30:
        return int(text.split("/")[0])
    raise UsageError(f"padding {text[:40]!r} cannot be used with --solve", hint="give one number")


def _pair(node: TreeNode | None, default: int) -> Pair:
    if node is None:
        return default, default
    numbers = _written(node).split("x")
    if len(numbers) > 2 or not all(n.isdecimal() and len(n) < 6 and int(n) > 0 for n in numbers):
        raise UsageError(f"{_written(node)[:40]!r} is not a size", hint="write 5 or 5x3")
    return int(numbers[0]), int(numbers[-1])


def _written(node: TreeNode) -> str:
    """Return a value as it stood in the argument."""
    if isinstance(node, ScalarNode):
        return node.text
    parts = node.items if isinstance(node, ListNode) else ()
    return "/".join(part.text for part in parts if isinstance(part, ScalarNode))
