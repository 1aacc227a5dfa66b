"""The answers of `cnn shape`, from the words of the command line to the text that is handed out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnncli.errors import InvalidInputError, UsageError
from cnncli.model.assembly import LayerError, WrittenError
from cnncli.model.chain import chain_input, chain_model
from cnncli.model.network import Model
from cnncli.model.sources import parse_model, read_source
from cnncli.reporting.shape_report import chain_table, shape_json, single_line
from cnncli.reporting.text_format import render
from cnncli.shapes import Shape
from cnncli.spec.notation import parse_shape
from cnncli.tasks.window_notes import check_strict, coverage, notes_of, slides

__all__ = ["LayerError", "WrittenError"]


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
        texts = chain_texts(layers, flags)
        model = chain_model(chain_input(source, texts), texts, rounding=rounding)
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


def as_text(
    model: Model, notation: str, format_name: str, *, single: bool, named: bool, with_field: bool, quiet: bool
) -> str:
    """Return one line for one layer and a table otherwise, remarks below unless it is `quiet`."""
    remarks = [] if quiet else notes(model)
    if single and len(model.nodes) == 1 and format_name in ("table", "plain") and not with_field:
        # one filter is what -k 5 without a number of filters means: its parameters are not asked for
        text = single_line(model, notation, with_params=named or model.nodes[0].layer.kind != "conv")
    else:
        text = render(chain_table(model, notation, with_field=with_field), format_name)
    if format_name in ("table", "plain"):
        text += "".join(f"note: {note}\n" for note in remarks)
    return text


def partial(error: LayerError | WrittenError, notation: str, format_name: str) -> str:
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
