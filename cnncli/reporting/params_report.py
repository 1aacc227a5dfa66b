"""The output of `cnn params`: the lecture's table, more columns on request, comparisons, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cnncli import SCHEMA
from cnncli.model.network import Model
from cnncli.model.receptive_field import last_field, receptive_fields
from cnncli.model.summary import FLOAT_BYTES, MemoryEstimate, Row, collapse, connected, rows_of, unread
from cnncli.reporting.notation import format_bytes, format_count, format_shape, format_tuple
from cnncli.reporting.shape_report import field_cells, field_json, window_json
from cnncli.reporting.table import Align, Column, Table
from cnncli.shapes import user_shape

DEFAULT_COLUMNS = ("layer", "shape", "size", "params")
ALL_COLUMNS = (
    "layer", "kernel", "stride", "padding", "activation", "shape", "size", "params", "trainable", "macs", "flops",
    "field", "jump", "start", "memory", "from",
)  # fmt: skip


@dataclass(frozen=True)
class TableOptions:
    """How the table is shown.

    `depth` None opens every block, `collapsed` joins the repetitions of a block; `exact` writes memory in bytes.
    """

    columns: tuple[str, ...] = DEFAULT_COLUMNS
    notation: str = ""
    formula: bool = False
    depth: int | None = None
    collapsed: bool = False
    batch: int = 1
    exact: bool = False

    def bytes(self, values: int) -> str:
        """Return the memory of so many values of one image as a text."""
        count = values * self.batch * FLOAT_BYTES
        return str(count) if self.exact else format_bytes(count)

    def shape(self, shape: tuple[int, ...]) -> str:
        """Return a shape in the chosen notation; the lecture's tuples by default."""
        return format_shape(shape, self.notation) if self.notation else format_tuple(shape)


def params_json(model: Model, depth: int | None = None, *, collapsed: bool = False) -> dict[str, Any]:
    """Return the stable JSON object of `cnn params --json`."""
    every = rows_of(model)
    rows = connected(model, every, collapse(every, depth, model.repeats if collapsed else None))
    layers = [
        {
            "name": row.name,
            "type": row.kind,
            "from": list(row.sources),
            "inputs": [user_shape(shape) for shape in row.inputs],
            **window_json(row),
            "activation": list(row.activations),
            "output": user_shape(row.output),
            "size": row.size,
            "params": row.params,
            "trainable": row.trainable,
            "non_trainable": row.non_trainable,
            "macs": row.macs,
            "formula": row.formula,
            "receptive_field": field_json(row),
        }
        for row in rows
    ]
    trainable, fixed = model.parameter_count, model.non_trainable_count
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "name": model.name,
        "input": user_shape(model.input_shape),
        "layers": layers,
        "total": trainable + fixed,
        "trainable": trainable,
        "non_trainable": fixed,
        "macs": model.macs,
    }
    notes = unread(model)
    return {**result, "notes": notes} if notes else result


def params_table(model: Model, options: TableOptions, memory: MemoryEstimate) -> Table:
    """Return the table of a network.

    With the default columns it has the rows of the lecture: a flatten says nothing new there and is left out, and the
    last activation rides with the layer before it.
    """
    every = rows_of(model)
    rows = collapse(every, options.depth, model.repeats if options.collapsed else None)
    if "from" in options.columns:
        rows = connected(model, every, rows)
    plain = options.columns == DEFAULT_COLUMNS
    columns: list[Column] = []
    cells: list[list[str]] = []
    for name in options.columns:
        title, align, _ = COLUMNS[name]
        if name == "params" and options.formula:
            columns += [Column("Formula"), Column("# parameters", "right")]
        else:
            columns.append(Column(f"{title} [B]" if name == "memory" and options.exact else title, align))
    cells.append(_input_row(model, options))
    for index, row in enumerate(rows):
        last = index == len(rows) - 1
        if plain and row.kind == "flatten" and not last:
            continue
        if plain and last and row.kind in ("softmax", "sigmoid") and cells[1:] and rows[index - 1].kind == "dense":
            cells[-1][0] += f" {row.kind}"
            continue
        cells.append(_cells(row, options))
    return Table(columns, cells, footer=[*_footer(model, memory)])


def compare_table(model: Model, others: Sequence[str], notation: str = "") -> Table:
    """Return each convolution against a dense or locally connected layer with the same input and output."""
    titles = {"dense": "dense", "local": "locally connected"}
    columns = [Column("Layer"), Column("Input"), Column("Output"), Column("convolution", "right")]
    columns += [Column(titles[other], "right") for other in others]
    columns += [Column(f"{titles[other]} / conv", "right") for other in others]
    rows = []
    options = TableOptions(notation=notation)
    for row in rows_of(model):
        if row.kind in ("conv", "depthwise"):
            counts = [comparison(row, other) for other in others]
            ratios = [f"{count / row.params:,.1f}" for count in counts]
            shapes = [options.shape(row.inputs[0]), options.shape(row.output)]
            rows.append([row.name, *shapes, f"{row.params:,}", *(f"{count:,}" for count in counts), *ratios])
    return Table(columns, rows)


def comparison(row: Row, other: str) -> int:
    """Return the parameters of another layer in the place of a convolution.

    A dense layer has ``outputs * inputs + outputs``, a locally connected one the kernel's weights and a bias for
    every single output value.
    """
    inputs = 1
    for length in row.inputs[0]:
        inputs *= length
    if other == "dense":
        return row.size * inputs + row.size
    weights = row.node.params["weight"] if row.node else None
    taps = weights.size // weights.shape[0] if weights else 0
    return row.size * taps + row.size


def diff_table(model: Model, other: Model, notation: str = "hwc") -> Table:
    """Return two networks side by side, matched layer by layer; ``-`` and ``+`` mark what one of them has alone."""
    from difflib import SequenceMatcher

    left, right = rows_of(model), rows_of(other)
    matcher = SequenceMatcher(None, [_key(row) for row in left], [_key(row) for row in right], autojunk=False)
    columns = [
        Column(""), Column(model.name), Column("Shape"), Column("# parameters", "right"), Column(other.name),
        Column("Shape"), Column("# parameters", "right"),
    ]  # fmt: skip
    rows: list[list[str]] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        for offset in range(max(i2 - i1, j2 - j1)):
            a = left[i1 + offset] if i1 + offset < i2 else None
            b = right[j1 + offset] if j1 + offset < j2 else None
            mark = "~" if a and b else "-" if a else "+"
            rows.append([" " if tag == "equal" else mark, *_side(a, notation), *_side(b, notation)])
    totals = [sum(row.params for row in side) for side in (left, right)]
    total = ["", "total", "", f"{totals[0]:,}", f"{totals[1] - totals[0]:+,}", "", f"{totals[1]:,}"]
    return Table(columns, rows, total)


def expected_values(model: Model) -> dict[str, int | str]:
    """Return everything that ``--expect key=value`` can ask for."""
    from cnncli.shapes import format_hwc

    field = last_field(model, receptive_fields(model))
    values: dict[str, int | str] = {
        "total": model.parameter_count + model.non_trainable_count,
        "trainable": model.parameter_count,
        "non_trainable": model.non_trainable_count,
        "macs": model.macs,
        "flops": 2 * model.macs,
        "layers": len(rows_of(model)),
        "output": format_hwc(model.output_shape),
    }
    if field is not None:
        values["field"] = field.rows.size
    # a layer may be named `total`: the keys of the option take precedence
    return {**{row.name: row.params for row in rows_of(model)}, **values}


def _key(row: Row) -> tuple[Any, ...]:
    return row.kind, row.label, row.output, row.params


def _side(row: Row | None, notation: str) -> list[str]:
    if row is None:
        return ["", "", ""]
    return [" ".join((row.name, *row.activations)), format_shape(row.output, notation), f"{row.params:,}"]


def _title(row: Row) -> str:
    title = f"{row.name} ({row.label})" if row.label else row.name
    return " ".join((title, *(name for name in row.activations if name in ("softmax", "sigmoid"))))


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


_Cell = Callable[[Row, TableOptions], str]

COLUMNS: dict[str, tuple[str, Align, _Cell]] = {
    "layer": ("Layer", "left", lambda row, _: _title(row)),
    "type": ("Type", "left", lambda row, _: row.kind),
    "kernel": ("Kernel", "right", lambda row, _: row.kernel),
    "stride": ("Stride", "right", lambda row, _: row.stride),
    "padding": ("Padding", "right", lambda row, _: row.padding),
    "activation": ("Activation", "left", lambda row, _: " ".join(row.activations)),
    "shape": ("Activation shape", "right", lambda row, options: options.shape(row.output)),
    "size": ("Activation size", "right", lambda row, _: f"{row.size:,}"),
    "params": ("# parameters", "right", lambda row, _: _count(row.params)),
    "trainable": ("Trainable", "right", lambda row, _: _count(row.trainable)),
    "macs": ("MACs", "right", lambda row, _: _count(row.macs)),
    "flops": ("FLOPs", "right", lambda row, _: _count(2 * row.macs)),
    "field": ("Field", "right", lambda row, _: field_cells(row)[0]),
    "jump": ("Jump", "right", lambda row, _: field_cells(row)[1]),
    "start": ("Start", "right", lambda row, _: field_cells(row)[2]),
    "from": ("Connected to", "left", lambda row, _: ", ".join(row.sources)),
    "memory": ("Memory", "right", lambda row, options: options.bytes(row.size_in_memory)),
}


def _cells(row: Row, options: TableOptions) -> list[str]:
    cells: list[str] = []
    for name in options.columns:
        if name == "layer" and len(options.columns) > 8:
            # kernel, stride and padding have columns of their own here
            cells.append(row.name)
        elif name == "params" and options.formula:
            cells += [row.formula, f"= {row.params:,}" if row.formula else _count(row.params)]
        else:
            cells.append(COLUMNS[name][2](row, options))
    return cells


def _input_row(model: Model, options: TableOptions) -> list[str]:
    size = 1
    for length in model.input_shape:
        size *= length
    known = {
        "layer": "Input",
        "type": "input",
        "shape": options.shape(model.input_shape),
        "size": f"{size:,}",
        "params": "-",
        "memory": options.bytes(size),
    }
    cells: list[str] = []
    for name in options.columns:
        if name == "params" and options.formula:
            cells.append("")
        cells.append(known.get(name, ""))
    return cells


def _footer(model: Model, memory: MemoryEstimate) -> list[str]:
    trainable, fixed = model.parameter_count, model.non_trainable_count
    split = f"trainable {trainable:,}" + (f", non-trainable {fixed:,}" if fixed else "")
    parts = [
        f"total {trainable + fixed:,} ({split})",
        f"{format_bytes(memory.parameters)} fp32",
        f"{format_count(model.macs)} MACs/image (bias not counted)",
    ]
    field = last_field(model, receptive_fields(model))
    if field is not None:
        rows, columns = field.rows.size, field.columns.size
        parts.append(f"receptive field {rows if rows == columns else f'{rows}x{columns}'}")
    return [" · ".join(parts)]


def memory_line(memory: MemoryEstimate, batch: int, optimizer: str) -> str:
    """Return the memory of one forward pass and of training."""
    images = f"{batch} image{'' if batch == 1 else 's'}"
    return (
        f"memory for {images}: parameters {format_bytes(memory.parameters)} · activations "
        f"{format_bytes(memory.activations)} · training with {optimizer} {format_bytes(memory.training)} "
        "(parameters, gradients, optimizer, activations and their gradients)"
    )
