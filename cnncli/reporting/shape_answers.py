"""The answers of `cnn shape`, from its arguments to the text that is printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnncli.errors import InvalidInputError, UsageError
from cnncli.language.arguments import parse_layer
from cnncli.language.notation import is_shape, parse_output, parse_shape
from cnncli.model.arguments import input_from_arguments, model_from_arguments
from cnncli.model.assembly import LayerError
from cnncli.model.network import Model
from cnncli.model.sources import check_classes, parse_model, read_source
from cnncli.model.summary import unread
from cnncli.model.vocabulary import vocabulary
from cnncli.reporting.notation import format_shape
from cnncli.reporting.shape_report import chain_table, params_text, shape_json, single_line
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render
from cnncli.reporting.window_formula import node_formulas
from cnncli.shapes import Shape
from cnncli.tasks.shape.solve_layer import Solved, Wanted, solve_layer
from cnncli.tasks.shape.window_notes import check_strict, coverage, notes_of, slides

__all__ = ["LayerError", "is_shape"]


@dataclass(frozen=True)
class ShapeOptions:
    """What was asked: one field for each argument and option of the command, by its name there."""

    source: str | None
    layers: tuple[str, ...]
    kernel: str | None
    padding: str | None
    stride: str | None
    filters: str | None
    dilation: str | None
    groups: str | None
    rounding: str
    solve: str | None
    want: str | None
    expect: str | None
    with_field: bool
    with_coverage: bool
    input_text: str | None
    classes: int | None
    notation: str | None
    format_name: str
    quiet: bool

    @property
    def window(self) -> dict[str, str]:
        """Return the options of one convolution that were given, by their names as options of a layer."""
        names = ("kernel", "padding", "stride", "filters", "dilation", "groups")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def read_model(options: ShapeOptions) -> Model:
    """Return the network that the arguments describe."""
    source, layers = options.source or "", options.layers
    rounding = options.rounding
    if is_shape(source):
        if options.input_text or options.classes:
            raise UsageError("--input and --classes belong to an architecture file", hint="leave them out")
        texts = chain_texts(layers, options.window)
        model = model_from_arguments(input_from_arguments(source, texts), texts, rounding=rounding)
    else:
        if layers or any(options.window.values()):
            raise UsageError(
                "an architecture has its own layers", where=source, hint="begin with an input shape such as 28x28x3"
            )
        found = read_source(source)
        shape = input_of(options.input_text) if options.input_text else None
        model = parse_model(
            found.text, found.where, input_shape=shape, classes=options.classes, rounding=rounding,
            max_parameters=None,
        )  # fmt: skip
        check_classes(model, options.classes)
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


def chain_texts(layers: Sequence[str], given: Mapping[str, str], *, open_kernel: bool = False) -> list[str]:
    """Return the layers; the options of one convolution become a layer text (`open_kernel`: without its kernel)."""
    if layers and given:
        raise UsageError("give flags or layers, not both", hint="write conv:5,p=1,out=8 instead of -k 5 -p 1")
    if layers:
        return list(layers)
    if not given and not open_kernel:
        raise UsageError("no layer given", hint="add -k 5, or layers such as conv:5,out=8 maxpool:2")
    if "kernel" not in given and not open_kernel:
        raise UsageError("the kernel is missing", hint="add -k 5")
    for name, value in given.items():
        if "=" in value:
            raise UsageError(f"--{name} {value[:40]!r} cannot be read", hint="write a number, or 5x3")
    parts = []
    for name, value in given.items():
        # rows and columns may also be written with a comma; a padding has two or four such numbers
        parts.append(f"{name}={value.replace(',', '/' if name == 'padding' else 'x')}")
    return ["conv:" + ",".join(parts)]


def solved(options: ShapeOptions) -> Solved:
    """Return the layer that `--solve` asks for, checked by its own rule."""
    source, layers = options.source, options.layers
    unknown, want = options.solve or "", options.want
    if want is None:
        raise UsageError("--solve needs --want", hint="add --want same or --want 26x26")
    if unknown == "input" and (source is None or not is_shape(source)):
        source, layers = None, tuple(text for text in (source, *layers) if text is not None)
    elif source is None or not is_shape(source):
        raise UsageError("--solve needs an input shape", hint="as in `cnn shape 28x28x3 -k 5 --solve padding`")
    if unknown in options.window:
        raise UsageError(f"--{unknown} is what --solve looks for", hint="leave one of them out")
    texts = chain_texts(layers, options.window, open_kernel=unknown == "kernel")
    if len(texts) != 1:
        raise UsageError("--solve takes one layer", hint="give one convolution or pool")
    if want.strip().lower() == "same":
        wanted = Wanted()
    else:
        try:
            channels, *size = parse_output(want)
        except InvalidInputError as error:
            raise UsageError(error.message, where="--want", hint=error.hint) from None
        wanted = Wanted(channels, (size[0], size[1]))
    item = parse_layer(texts[0].removesuffix(":"), vocabulary())
    shape = input_of(source) if source is not None else (1, 1, 1)
    result = solve_layer(item, shape, unknown, wanted, rounding=options.rounding)
    if unknown == "input" and shape[1:] not in ((1, 1), result.model.input_shape[1:]):
        note = "height and width of the given input are not used, as --solve looks for them"
        return replace(result, notes=(note, *result.notes))
    return result


def solved_text(answer: Solved, options: ShapeOptions) -> str:
    """Return the answer with its formula, the output of the completed layer and its parameters."""
    unknown, notation = options.solve or "", options.notation or "hwc"
    model, node = answer.model, answer.model.nodes[0]
    letter = {"padding": "p", "stride": "s", "kernel": "f", "input": "n"}[unknown]
    forward = (*node_formulas(node), *node_formulas(node))
    axes = [
        solution.formula or f"{letter} = {solution.value}: {formula}"
        for solution, formula in zip((answer.rows, answer.columns), forward[-2:], strict=True)
    ]
    parts = [axes[0] if axes[0] == axes[1] else f"rows {axes[0]}   columns {axes[1]}"]
    if unknown == "input":
        parts.append(f"input {format_shape(model.input_shape, notation)}")
    parts.append(f"output {format_shape(model.output_shape, notation)}")
    if node.params:
        parts.append(params_text(node))
    remarks = [] if options.quiet else [*answer.notes, *notes(model)]
    return "      ".join(parts) + "\n" + "".join(f"note: {remark}\n" for remark in remarks)


def solved_json(answer: Solved, unknown: str) -> dict[str, Any]:
    """Return the JSON object of the completed layer, with the answer as ``solution``."""
    body = shape_json(answer.model, [*answer.notes, *notes(answer.model)])
    return {**body, "solution": {unknown: answer.value}}


def notes(model: Model) -> list[str]:
    """Return the remarks on all layers, with the layer's name where there are several."""
    found = unread(model)
    for node in model.nodes:
        if slides(node):
            prefix = f"{node.name}: " if len(model.nodes) > 1 else ""
            found += [f"{prefix}{note}" for note in notes_of(node)]
    return found


def as_json(model: Model, *, with_field: bool) -> dict[str, Any]:
    """Return the JSON object of a network, with receptive fields if `with_field`."""
    return shape_json(model, notes(model), with_field=with_field)


def json_text(body: dict[str, Any], format_name: str) -> str:
    """Return one object, or one line per layer."""
    if format_name == "json":
        return json.dumps(body) + "\n"
    return "".join(json.dumps(layer) + "\n" for layer in body["layers"])


def as_text(model: Model, options: ShapeOptions) -> str:
    """Return one line for one layer and a table otherwise, remarks below unless they are not wanted."""
    notation, is_plain = options.notation or "hwc", options.format_name in ("table", "plain")
    single = is_shape(options.source or "") and len(model.nodes) == 1 and is_plain and not options.with_field
    if single:
        # one filter is what -k 5 without a number of filters means: its parameters are not asked for
        named = options.filters is not None or any("=" in layer for layer in options.layers)
        text = single_line(model, notation, with_params=named or model.nodes[0].layer.kind != "conv")
    else:
        text = render(chain_table(model, notation, with_field=options.with_field), options.format_name)
    if is_plain and not options.quiet:
        text += "".join(f"note: {note}\n" for note in notes(model))
    return text


def partial(error: LayerError, notation: str, format_name: str) -> str:
    """Return the table up to the layer that fails."""
    return render(replace(chain_table(Model("", error.input_shape, error.done), notation), total=()), format_name)


def covered(model: Model, format_name: str) -> str:
    """Return how often each pixel is read by the first layer, as numbers, a table, JSON or a picture."""
    node = model.nodes[0]
    if not slides(node):
        raise UsageError(f"{node.name} has no window", hint="begin with a convolution or a pool")
    counts = coverage(node.in_shapes[0], node.out_shape, node.layer.window())
    if format_name == "svg":
        from cnncli.reporting.pictures.coverage import coverage_svg

        return coverage_svg(counts)
    if format_name == "json":
        return json.dumps({**as_json(model, with_field=False), "coverage": counts}) + "\n"
    if format_name == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in counts)
    if format_name == "csv":
        return "".join(",".join(map(str, row)) + "\n" for row in counts)
    cells = [[str(count) for count in row] for row in counts]
    if format_name in ("md", "latex"):
        return render(Table([Column(str(number + 1), "right") for number in range(len(cells[0]))], cells), format_name)
    width = max(len(cell) for row in cells for cell in row)
    return "".join(" ".join(cell.rjust(width) for cell in row) + "\n" for row in cells)
