"""The answers of `cnn params`, from its options to the text that is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnncli import SCHEMA
from cnncli.errors import UsageError
from cnncli.language.items import nearest
from cnncli.language.notation import is_shape
from cnncli.model.arguments import input_from_arguments, model_from_arguments
from cnncli.model.assembly import LayerError
from cnncli.model.network import Model
from cnncli.model.sources import check_classes, parse_model, read_source
from cnncli.model.summary import memory, rows_of, unread
from cnncli.reporting.params_report import (
    ALL_COLUMNS,
    COLUMNS,
    DEFAULT_COLUMNS,
    TableOptions,
    compare_table,
    comparison,
    diff_table,
    expected_values,
    memory_line,
    params_json,
    params_table,
)
from cnncli.reporting.table import Table
from cnncli.reporting.text_format import render
from cnncli.shapes import Shape

__all__ = ["LayerError", "expected_values", "notes", "render"]

COMPARISONS = ("dense", "local")


@dataclass(frozen=True)
class ParamsOptions:
    """What was asked: one field for each argument and option of the command, by its name there."""

    source: str
    layers: tuple[str, ...] = ()
    input_shape: Shape | None = None
    classes: int | None = None
    formula: bool = False
    columns: str | None = None
    depth: int | None = None
    per_repeat: bool = False
    compare: str | None = None
    other: str | None = None
    batch: int = 1
    optimizer: str | None = None
    expected: tuple[str, ...] = ()
    notation: str | None = None
    format_name: str = "plain"
    quiet: bool = False


def read_model(source: str, layers: Sequence[str], input_shape: Shape | None, classes: int | None) -> Model:
    """Return the network of a source, or of an input shape with layers behind it."""
    if is_shape(source):
        if input_shape or classes:
            raise UsageError("--input and --classes belong to an architecture file", hint="leave them out")
        if not layers:
            raise UsageError("an input shape alone has no parameters", hint="add layers, as in 28x28x1 conv:5,out=6")
        return model_from_arguments(input_from_arguments(source, layers), layers)
    if layers:
        raise UsageError("an architecture has its own layers", where=source, hint="begin with an input shape")
    found = read_source(source)
    model = parse_model(found.text, found.where, input_shape=input_shape, classes=classes)
    check_classes(model, classes)
    return model


def notes(model: Model) -> list[str]:
    """Return the remarks on a network."""
    return unread(model)


def partial(error: LayerError, format_name: str) -> str:
    """Return the table up to the layer that fails."""
    model = Model("", error.input_shape, error.done)
    return render(replace(params_table(model, TableOptions(), memory(model, 1, "sgd")), footer=[]), format_name)


def as_json(model: Model, options: ParamsOptions) -> dict[str, Any]:
    """Return the JSON object; with a batch or an optimizer also the memory in bytes."""
    body = params_json(model, options.depth)
    if options.optimizer or options.batch > 1:
        optimizer = options.optimizer or "adam"
        need = memory(model, options.batch, optimizer)
        body["memory"] = {
            "batch": options.batch,
            "optimizer": optimizer,
            "parameters": need.parameters,
            "activations": need.activations,
            "training": need.training,
        }
    return body


def params_view(model: Model, options: ParamsOptions) -> Table:
    """Return the table of the network that the options ask for."""
    table_options = TableOptions(
        columns=_columns(options.columns),
        notation=options.notation or "",
        formula=options.formula,
        depth=options.depth or 2,
        collapsed=not options.per_repeat,
        batch=options.batch,
        exact=options.format_name == "csv",
    )
    optimizer = options.optimizer or "adam"
    need = memory(model, options.batch, optimizer)
    table = params_table(model, table_options, need)
    if options.optimizer or options.batch > 1 or table_options.columns == ALL_COLUMNS:
        table.footer.append(memory_line(need, options.batch, optimizer))
    return table


def compared(model: Model, others: str, options: ParamsOptions) -> str:
    """Return each convolution against the layers named in `others`."""
    names = [name.strip() for name in others.split(",") if name.strip()]
    for name in names:
        if name not in COMPARISONS:
            raise UsageError(f"--compare: unknown layer {name[:40]!r}", hint=nearest(name, COMPARISONS))
    if options.format_name not in ("json", "jsonl"):
        return render(compare_table(model, names, options.notation or ""), options.format_name)
    layers = [
        {"name": row.name, "conv": row.params, **{name: comparison(row, name) for name in names}}
        for row in rows_of(model)
        if row.kind in ("conv", "depthwise")
    ]
    if options.format_name == "jsonl":
        return "".join(json.dumps(layer) + "\n" for layer in layers)
    return json.dumps({"schema": SCHEMA, "name": model.name, "compare": layers}) + "\n"


def differences(model: Model, other: Model, options: ParamsOptions) -> str:
    """Return two networks side by side."""
    if options.format_name not in ("json", "jsonl"):
        return render(diff_table(model, other, options.notation or "hwc"), options.format_name)
    if options.format_name == "jsonl":
        raise UsageError("--diff has no answer as jsonl", hint="use --json")
    a, b = params_json(model), params_json(other)
    delta = {key: b[key] - a[key] for key in ("total", "trainable", "non_trainable", "macs")}
    return json.dumps({"schema": SCHEMA, "left": a, "right": b, "difference": delta}) + "\n"


def _columns(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_COLUMNS
    if text.strip().lower() == "all":
        return ALL_COLUMNS
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if name not in COLUMNS:
            raise UsageError(f"unknown column {name[:40]!r}", hint=nearest(name, (*COLUMNS, "all")))
    return names or DEFAULT_COLUMNS
