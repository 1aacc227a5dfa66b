"""The answers of `cnn shape`, from the words of the command line to the text that is handed out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnncli.errors import InvalidInputError, UsageError
from cnncli.model.assembly import LayerError
from cnncli.model.chain import chain_model
from cnncli.model.network import Model
from cnncli.model.sources import parse_model, read_source
from cnncli.model.vocabulary import vocabulary
from cnncli.reporting.shape_report import chain_table, params_text, shape_json, single_line
from cnncli.reporting.text_format import render
from cnncli.shapes import Shape, format_hwc
from cnncli.spec.chain import parse_layer
from cnncli.spec.notation import parse_shape
from cnncli.spec.tree import ScalarNode
from cnncli.tasks.shape_solver import Axis, solve
from cnncli.tasks.window_notes import check_strict, coverage, notes_of, slides

__all__ = ["LayerError"]


def read_model(
    source: str,
    layers: Sequence[str],
    flags: Mapping[str, str | None],
    is_shape: bool,
    options: Mapping[str, Any],
) -> Model:
    """Return the network that the arguments describe."""
    rounding = options["rounding"]
    if is_shape:
        for name in ("input_text", "classes"):
            if options[name]:
                raise UsageError("--input and --classes belong to an architecture file", hint="leave them out")
        model = chain_model(input_of(source), chain_texts(layers, flags), rounding=rounding)
    else:
        if layers or any(flags.values()):
            raise UsageError(
                "an architecture has its own layers", where=source, hint="begin with an input shape such as 28x28x3"
            )
        found = read_source(source)
        shape = input_of(options["input_text"]) if options["input_text"] else None
        model = parse_model(
            found.text, found.where, input_shape=shape, classes=options["classes"], rounding=rounding,
            max_parameters=None,
        )  # fmt: skip
    if rounding == "strict":
        for node in model.nodes:
            if slides(node):
                check_strict(node)
    return model


def input_of(text: str) -> Shape:
    """Return (C, H, W) of an argument; what is not a shape is a wrong use of the command."""
    try:
        return parse_shape(text)
    except InvalidInputError as error:
        raise UsageError(error.message, hint=error.hint) from None


def expected_shape(text: str) -> Shape:
    """Return the shape after ``--expect``; a single number is a vector."""
    return (int(text),) if text.strip().isdecimal() and len(text) < 13 else input_of(text)


def chain_texts(layers: Sequence[str], flags: Mapping[str, str | None]) -> list[str]:
    """Return the layers; the flags of one convolution become a layer text."""
    given = {name: value for name, value in flags.items() if value is not None}
    if not given:
        if not layers:
            raise UsageError("no layer given", hint="add -k 5, or layers such as conv:5,out=8 maxpool:2")
        return list(layers)
    if layers:
        raise UsageError("give flags or layers, not both", hint="write conv:5,p=1,out=8 instead of -k 5 -p 1")
    if "kernel" not in given:
        raise UsageError("the kernel is missing", hint="add -k 5")
    for name, value in given.items():
        if "=" in value or (name != "padding" and "," in value):
            raise UsageError(f"--{name} {value[:40]!r} cannot be read", hint="write a number, or 5x3")
    return ["conv:" + ",".join(f"{name}={value.replace(',', '/')}" for name, value in given.items())]


def notes(model: Model) -> list[str]:
    """Return the remarks on all layers, with the layer's name where there are several."""
    found = []
    for node in model.nodes:
        if slides(node):
            prefix = f"{node.name}: " if len(model.nodes) > 1 else ""
            found += [f"{prefix}{note}" for note in notes_of(node)]
    return found


def as_json(model: Model, *, with_field: bool) -> dict[str, Any]:
    """Return the JSON object."""
    return shape_json(model, notes(model), with_field=with_field)


def json_text(body: dict[str, Any], format_name: str) -> str:
    """Return one object, or one line a layer."""
    if format_name == "json":
        return json.dumps(body) + "\n"
    return "".join(json.dumps(layer) + "\n" for layer in body["layers"])


def as_text(model: Model, notation: str, format_name: str, *, single: bool, named: bool, with_field: bool) -> str:
    """Return one line for one layer and a table otherwise, remarks below."""
    remarks = notes(model)
    if single and len(model.nodes) == 1 and format_name in ("table", "plain") and not with_field:
        text = single_line(model, notation, with_params=named)
    else:
        text = render(chain_table(model, notation, with_field=with_field), format_name)
    if format_name in ("table", "plain"):
        text += "".join(f"note: {note}\n" for note in remarks)
    return text


def partial(error: LayerError, notation: str, format_name: str) -> str:
    """Return the table up to the layer that fails."""
    return render(replace(chain_table(Model("", error.input_shape, error.done), notation), total=()), format_name)


def covered(model: Model, format_name: str, output: str | None) -> str:
    """Return how often each pixel is read by the first layer, as numbers, JSON or a picture."""
    node = model.nodes[0]
    if not slides(node):
        raise UsageError(f"{node.name} has no window", hint="begin with a convolution or a pool")
    counts = coverage(node.in_shapes[0], node.out_shape, node.layer.window())
    if output and output.lower().endswith(".svg"):
        from cnncli.reporting.coverage_picture import coverage_svg

        return coverage_svg(counts)
    if format_name == "json":
        return json.dumps({**as_json(model, with_field=False), "coverage": counts}) + "\n"
    width = max(len(str(count)) for row in counts for count in row)
    return "".join(" ".join(str(count).rjust(width) for count in row) + "\n" for row in counts)


def solved(
    source: str,
    layers: Sequence[str],
    flags: Mapping[str, str | None],
    unknown: str,
    want: str,
    notation: str,
    format_name: str,
) -> str:
    """Return the answer of ``--solve`` with its formula and the resulting layer."""
    shape = input_of(source)
    texts = list(layers)
    if not texts:
        filled = {**flags, unknown: None, "kernel": flags["kernel"] or "1"} if unknown != "kernel" else dict(flags)
        filled["kernel"] = filled["kernel"] or "1"
        texts = chain_texts((), filled)
    if len(texts) != 1:
        raise UsageError("--solve takes one layer", hint="give one convolution or pool")
    if unknown != "kernel" and not layers and flags["kernel"] is None:
        raise UsageError("the kernel is missing", hint="add -k 5")
    item = parse_layer(texts[0], vocabulary())
    main = "size" if item.kind in ("maxpool", "avgpool") else "kernel"
    options = {name: node for name, node in item.options.items() if name != ("padding" if unknown == "padding" else "")}
    if main not in options:
        options[main] = ScalarNode(1, "1", item.place)
    wanted = _wanted(want, shape, options, unknown)
    axes = [_axis(options, main, shape, axis) for axis in (0, 1)]
    solutions = [solve(unknown, axes[axis], wanted[axis]) for axis in (0, 1)]
    rows, columns = (solution.value for solution in solutions)
    if unknown == "input":
        shape = (shape[0], rows, columns)
        final = texts[0]
    else:
        field = main if unknown == "kernel" else unknown
        value = f"{rows}x{columns}" if unknown != "padding" else f"{rows}/{columns}"
        kept = [f"{name}={_written(node)}" for name, node in item.options.items() if name not in (field, "round")]
        final = f"{item.kind}:" + ",".join([*kept, f"{field}={value}"])
    model = chain_model(shape, [final])
    answer: int | list[int] = rows if rows == columns else [rows, columns]
    if format_name in ("json", "jsonl"):
        return json.dumps({**as_json(model, with_field=False), "solution": {unknown: answer}}) + "\n"
    formula = solutions[0].formula
    if solutions[0].formula != solutions[1].formula:
        formula = f"rows {formula}   columns {solutions[1].formula}"
    line = f"{formula}      {single_line(model, notation, with_params=False).split('      ')[-1].strip()}"
    if notation == "hwc":
        line = f"{formula}      output {format_hwc(model.output_shape)}"
    if model.nodes[0].params:
        line += f"      {params_text(model.nodes[0])}"
    if unknown == "input":
        line = f"{formula}      input {format_hwc(shape)}      output {format_hwc(model.output_shape)}"
    low, high = solutions[0].range
    if rows == columns and low < high and solutions[0].range == solutions[1].range:
        line += f"\nnote: {unknown} {low} to {high} gives the same output"
    return line + "\n" + "".join(f"note: {note}\n" for note in notes(model))


def _wanted(want: str, shape: Shape, options: Mapping[str, Any], unknown: str) -> tuple[int, int]:
    if want.strip().lower() == "same":
        if unknown == "input":
            raise UsageError("--want same does not fix the input", hint="give the output, as in --want 26x26")
        if unknown == "stride":
            return shape[1], shape[2]
        strides = _pair(options.get("stride"), 1)
        return -(-shape[1] // strides[0]), -(-shape[2] // strides[1])
    _, rows, columns = input_of(want)
    return rows, columns


def _axis(options: Mapping[str, Any], main: str, shape: Shape, axis: int) -> Axis:
    padding = options.get("padding")
    kernel = _pair(options[main], 1)[axis]
    text = _written(padding) if padding is not None else "0"
    pads = text.split("/")
    if text == "same":
        amount = (kernel - 1) // 2
    elif text == "full":
        amount = kernel - 1
    elif text == "valid":
        amount = 0
    elif len(set(pads)) == 1 and pads[0].isdecimal() and len(pads[0]) < 6:
        amount = int(pads[0])
    else:
        raise UsageError(f"padding {text!r} cannot be used with --solve", hint="give one number")
    stride = _pair(options.get("stride"), kernel if main == "size" else 1)[axis]
    return Axis(shape[1 + axis], kernel, stride, amount, _pair(options.get("dilation"), 1)[axis])


def _pair(node: Any, default: int) -> tuple[int, int]:
    if node is None:
        return default, default
    numbers = _written(node).split("x")
    if len(numbers) > 2 or not all(n.isdecimal() and len(n) < 6 and int(n) > 0 for n in numbers):
        raise UsageError(f"{_written(node)[:40]!r} is not a size", hint="write 5 or 5x3")
    return int(numbers[0]), int(numbers[-1])


def _written(node: Any) -> str:
    return node.text if isinstance(node, ScalarNode) else "/".join(item.text for item in node.items)
