"""Kernels for people: the catalogue as a table, and one kernel with its numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from cnncli.filters.kernel import COMBINATIONS, Kernel, separate
from cnncli.filters.named import CATALOGUE, named_kernel
from cnncli.filters.steps import STEP_PURPOSES
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render

_DIGITS = 6  # of numbers on a terminal


def catalogue(form: str) -> str:
    """Return the table of all named kernels, and the steps below it where people read."""
    columns = [Column("name"), Column("size"), Column("sum", "right"), Column("separable"), Column("purpose")]
    rows = []
    for name, entry in CATALOGUE.items():
        kernel = named_kernel(name)
        rows.append((name, size_text(kernel), sum_text(kernel, 3), separable_text(kernel), entry.purpose))
    text = render(Table(columns, rows), form)
    if form not in ("table", "plain"):
        return text
    taking = [f"  {name}:{','.join(e.parameters)}" for name, e in CATALOGUE.items() if e.parameters]
    indent = " " * 27
    steps = [
        textwrap.fill(f"  {step:25s}{purpose}", 80, subsequent_indent=indent) for step, purpose in STEP_PURPOSES.items()
    ]
    arguments = "Arguments, all optional, by place or as key=value:"
    return text + "\n".join(["", arguments, *taking, "", "Steps that need no kernel:", *steps]) + "\n"


def catalogue_json() -> list[dict[str, Any]]:
    """Return one object for each named kernel."""
    return [
        {
            **kernel_json(named_kernel(name)),
            "name": name,
            "parameters": list(entry.parameters),
            "purpose": entry.purpose,
        }
        for name, entry in CATALOGUE.items()
    ]


def kernel_json(kernel: Kernel) -> dict[str, Any]:
    """Return name, size, sum, separability and numbers, so that a kernel file of it is read as the same kernel.

    ``kernel`` holds the numbers: rows (KH, KW), several matrices (F, KH, KW) that ``combine`` joins, or (C, KH, KW) and
    (F, C, KH, KW) with ``order`` FCHW. With ``divisor`` they are whole numbers over it, rounded to float64.
    """
    weights = kernel.weights[:, 0] if kernel.per_channel else kernel.weights
    numbers = _whole(weights.tolist()) if kernel.integral and kernel.divisor == 1 else weights.tolist()
    body: dict[str, Any] = {
        "name": kernel.name,
        "size": list(kernel.size),
        "sum": kernel.total,
        "separable": separable_text(kernel) == "yes",
        "combine": kernel.combine if kernel.filters > 1 else "stack",
        "kernel": numbers[0] if len(numbers) == 1 else numbers,
    }
    if kernel.divisor != 1:
        body["divisor"] = int(kernel.divisor)
    if not kernel.per_channel:
        body["order"] = "FCHW"
    if kernel.biases.any():
        body["bias"] = kernel.biases.tolist()
    return body


def numbers(kernels: Sequence[Kernel], form: str) -> str:
    """Return the numbers of kernels as rows, with what can be said about each above them.

    The numbers of one kernel without bias are read back from every text form but md and latex: other lines begin with
    ``#``, and numbers are exact. The form ``table`` rounds them for people and says so.
    """
    texts = [_numbers(kernel, form) for kernel in kernels]
    if len(texts) > 1 and form not in ("md", "latex"):
        heads = [f"kernel {i} of {len(texts)}: {k.name}\n" for i, k in enumerate(kernels, start=1)]
        texts = [head + text for head, text in zip(heads, texts, strict=True)]
    return "\n".join(texts)


def _numbers(kernel: Kernel, form: str) -> str:
    planes = [(f, c) for f in range(kernel.filters) for c in range(kernel.channels)]
    exact = [[_number(value, kernel) for value in row] for f, c in planes for row in kernel.numerators[f, c]]
    rows = [[_rounded(cell) for cell in row] for row in exact] if form in ("table", "md", "latex") else exact
    height = kernel.size[0]
    matrices = [rows[i : i + height] for i in range(0, len(rows), height)]
    if form in ("md", "latex"):
        return _tables(kernel, matrices, form)
    lines = [] if form == "csv" else _facts(kernel)
    if form == "table" and rows != exact:
        lines.append(f"rounded to {_DIGITS} digits; --format plain has all of them")
    if kernel.biases.any():
        lines.append("bias " + " ".join(repr(b) for b in kernel.biases.tolist()))
    width = 0 if form == "csv" else max(len(cell) for row in rows for cell in row)
    separator = "," if form == "csv" else "  "
    for (f, c), matrix in zip(planes, matrices, strict=True):
        if lines:
            lines.append("")
        if c == 0 and kernel.filters > 1:
            lines.append(f"filter {f + 1} of {kernel.filters}")
        if kernel.channels > 1 and form != "csv":
            lines.append(f"# channel {c + 1}")
        lines += [separator.join(cell.rjust(width) for cell in row) for row in matrix]
    split = separate(kernel.numerators[0, 0]) if len(planes) == 1 and min(kernel.size) > 1 else None
    if split and form != "csv":
        column, row = split
        over = f" / {kernel.divisor:g}" if kernel.divisor != 1 else ""
        lines += ["", f"# = column ({_join(column)}) times row ({_join(row)}){over}"]
    return "\n".join(lines) + "\n"


def _facts(kernel: Kernel) -> list[str]:
    facts = [size_text(kernel), f"sum {sum_text(kernel)}"]
    facts.append({"yes": "separable", "each": "each separable"}.get(separable_text(kernel), "not separable"))
    if COMBINATIONS[kernel.combine] and kernel.filters > 1:
        facts.append(f"{kernel.filters} kernels, {COMBINATIONS[kernel.combine]}")
    purpose = CATALOGUE.get(kernel.name.partition(":")[0])
    return ["# " + " · ".join([kernel.name, *facts]), *([f"# {purpose.purpose}"] if purpose else [])]


def _tables(kernel: Kernel, matrices: list[list[list[str]]], form: str) -> str:
    """Return one table for each matrix, with its filter and channel below it where there are several."""
    columns = [Column(str(i + 1), "right") for i in range(kernel.size[1])]
    texts = []
    for i, rows in enumerate(matrices):
        place = [f"filter {i // kernel.channels + 1} of {kernel.filters}"] if kernel.filters > 1 else []
        place += [f"channel {i % kernel.channels + 1} of {kernel.channels}"] if kernel.channels > 1 else []
        footer = [", ".join([kernel.name, *place])] if place else []
        texts.append(render(Table(columns, rows, footer=footer), form))
    return "\n".join(texts)


def size_text(kernel: Kernel) -> str:
    """Return ``3x3``, or ``2 of 3x3`` for several kernels, or ``4x3x3x3`` for a bank."""
    height, width = kernel.size
    if not kernel.per_channel:
        return f"{kernel.filters}x{kernel.channels}x{height}x{width}"
    return f"{height}x{width}" if kernel.filters == 1 else f"{kernel.filters} of {height}x{width}"


def sum_text(kernel: Kernel, digits: int = 6) -> str:
    """Return the sum of the numbers of the first filter, 0 for what only rounding keeps from it."""
    return "0" if kernel.is_zero_sum else f"{kernel.total:.{digits}g}"


def separable_text(kernel: Kernel) -> str:
    """Return ``yes``, ``no``, or ``each`` where every kernel of several is separable."""
    every = all(separate(plane) is not None for planes in kernel.numerators for plane in planes)
    if not every:
        return "no"
    return "yes" if kernel.filters * kernel.channels == 1 else "each"


def _number(value: float, kernel: Kernel) -> str:
    """Return a number of the kernel as a text that is read back without loss."""
    if kernel.divisor != 1 and kernel.integral:
        return str(Fraction(int(value)) / Fraction(int(kernel.divisor)))
    exact = float(value) / kernel.divisor + 0.0  # no -0
    return str(int(exact)) if exact.is_integer() and abs(exact) < 2**53 else repr(exact)


def _rounded(cell: str) -> str:
    return cell if "/" in cell or len(cell) <= _DIGITS else f"{float(cell):.{_DIGITS}g}"


def _whole(numbers: Any) -> Any:
    """Return nested lists of whole floats as ints."""
    return [_whole(item) for item in numbers] if isinstance(numbers, list) else int(numbers)


def _join(values: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)
