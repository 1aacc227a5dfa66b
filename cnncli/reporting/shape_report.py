"""The output of `cnn shape`: one line for one layer, a table for several, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnncli import SCHEMA
from cnncli.layers.base import Window
from cnncli.model.network import Model, Node
from cnncli.model.summary import Row, connected, rows_of
from cnncli.reporting.notation import format_shape
from cnncli.reporting.table import Column, Table
from cnncli.reporting.window_formula import node_formulas
from cnncli.shapes import user_shape


def shape_json(model: Model, notes: Sequence[str] = (), *, with_field: bool = False) -> dict[str, Any]:
    """Return the stable JSON object of `cnn shape --json`."""
    rows = rows_of(model)
    rows = connected(model, rows, rows)
    layers = []
    for row in rows:
        entry: dict[str, Any] = {
            "name": row.name,
            "type": row.kind,
            "from": list(row.sources),
            "inputs": [user_shape(shape) for shape in row.inputs],
            **window_json(row),
            "output": user_shape(row.output),
            "params": row.params,
            "macs": row.macs,
        }
        if row.node is not None and (formulas := node_formulas(row.node)):
            entry["output_formula"] = list(formulas)
        if with_field:
            entry["receptive_field"] = field_json(row)
        layers.append(entry)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "input": user_shape(model.input_shape),
        "layers": layers,
        "output": user_shape(model.output_shape),
        "params": sum(row.params for row in rows),
    }
    return {**result, "notes": list(notes)} if notes else result


def window_json(row: Row) -> dict[str, list[int]]:
    """Return kernel, stride and dilation as [rows, columns], padding as [top, bottom, left, right]; {} without them."""
    window = row.node.layer.window() if row.node else Window()
    names = ("kernel", "stride", "padding", "dilation") if row.kernel else ("padding",) * any(window.padding)
    return {name: list(getattr(window, name)) for name in names}


def field_json(row: Row) -> dict[str, Any] | None:
    """Return size, jump and start (middle of the first value's field) along rows and columns, in input pixels."""
    if row.field is None:
        return None
    axes = row.field.rows, row.field.columns
    return {
        "size": [axis.size for axis in axes],
        "jump": [float(axis.jump) for axis in axes],
        "start": [axis.centre for axis in axes],
    }


def single_line(model: Model, notation: str, *, with_params: bool) -> str:
    """Return formula, output shape and parameters of a network of one layer."""
    node = model.nodes[0]
    parts = []
    formulas = node_formulas(node)
    if len(formulas) == 2:
        parts.append(f"rows {formulas[0]}   columns {formulas[1]}")
    elif formulas:
        parts.append(formulas[0])
    shape = model.output_shape
    output = f"output {format_shape(shape, notation)}"
    if notation == "hwc" and len(shape) == 3:
        output += f"   ({format_shape(shape, 'd@wxh')})"
    parts.append(output)
    if with_params and node.params:
        parts.append(params_text(node))
    return "      ".join(parts) + "\n"


def params_text(node: Node) -> str:
    """Return ``parameters 7*7*3*8 + 8 = 1,184``."""
    formula = node.layer.params_formula(*node.in_shapes)
    count = f"{node.trainable + node.non_trainable:,}"
    return f"parameters {formula} = {count}" if formula != count else f"parameters {count}"


def chain_table(model: Model, notation: str, *, with_field: bool = False) -> Table:
    """Return the table of a chain or a network: what each layer makes of its input."""
    columns = [Column("Layer"), Column("Formula", quiet=True), Column("Output"), Column("# parameters", "right")]
    if with_field:
        columns += [Column(title, "right") for title in ("Field", "Jump", "Start")]
    first = ["Input", "", format_shape(model.input_shape, notation), "-"]
    rows = [[*first, "1", "1", "0"] if with_field else first]
    for row in rows_of(model):
        name = " ".join((row.name, *row.activations))
        formulas = node_formulas(row.node) if row.node else ()
        params = f"{row.params:,}" if row.params else "-"
        cells = [name, ", ".join(formulas), format_shape(row.output, notation), params]
        rows.append([*cells, *field_cells(row)] if with_field else cells)
    total = f"{sum(node.trainable + node.non_trainable for node in model.nodes):,}"
    last = ["output", "", format_shape(model.output_shape, notation), total]
    return Table(columns, rows, [*last, "", "", ""] if with_field else last)


def field_cells(row: Row) -> list[str]:
    """Return size, jump and start of the receptive field; one number where rows and columns agree."""
    if row.field is None:
        return ["all", "", ""]
    rows, columns = row.field.rows, row.field.columns
    pairs = (
        (f"{rows.size}", f"{columns.size}"),
        (f"{float(rows.jump):g}", f"{float(columns.jump):g}"),
        (f"{rows.centre:g}", f"{columns.centre:g}"),
    )
    return [a if a == b else f"{a}x{b}" for a, b in pairs]
