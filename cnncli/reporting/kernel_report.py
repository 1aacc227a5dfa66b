"""Kernels for people: the catalogue as a table, and one kernel with its numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from cnncli.filters.kernel import Kernel, separate
from cnncli.filters.named import CATALOGUE, named_kernel
from cnncli.filters.steps import STEP_PURPOSES
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render

_COMBINATIONS = {"stack": "", "magnitude": "square root of the sum of squares", "maximum": "the largest response"}


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
    steps = [f"  {step:25s}{purpose}" for step, purpose in STEP_PURPOSES.items()]
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
    """Return name, size, sum, separability and numbers; 2-D kernels as rows, banks as nested lists."""
    weights = kernel.weights
    numbers = weights[:, 0].tolist() if kernel.per_channel else weights.tolist()
    body: dict[str, Any] = {
        "name": kernel.name,
        "size": list(kernel.size),
        "sum": kernel.total,
        "separable": separable_text(kernel) == "yes",
        "combine": kernel.combine if kernel.filters > 1 else "stack",
        "kernel": numbers[0] if len(numbers) == 1 else numbers,
    }
    if kernel.biases.any():
        body["bias"] = kernel.biases.tolist()
    return body


def numbers(kernel: Kernel, form: str) -> str:
    """Return the numbers of a kernel as rows, with what can be said about it above them."""
    planes = [(f, c) for f in range(kernel.filters) for c in range(kernel.channels)]
    rows = [[_number(value, kernel) for value in row] for f, c in planes for row in kernel.numerators[f, c]]
    if form in ("csv", "md", "latex"):
        columns = [Column(str(i + 1), "right") for i in range(kernel.size[1])]
        return render(Table(columns, rows), form)
    facts = [size_text(kernel), f"sum {sum_text(kernel)}"]
    facts.append({"yes": "separable", "each": "each separable"}.get(separable_text(kernel), "not separable"))
    if _COMBINATIONS[kernel.combine] and kernel.filters > 1:
        facts.append(f"{kernel.filters} kernels, {_COMBINATIONS[kernel.combine]}")
    if kernel.biases.any():
        facts.append("bias " + " ".join(f"{b:g}" for b in kernel.biases))
    purpose = CATALOGUE.get(kernel.name.partition(":")[0])
    lines = [" · ".join([kernel.name, *facts]), *([purpose.purpose] if purpose else []), ""]
    width = max(len(cell) for row in rows for cell in row)
    height = kernel.size[0]
    for i, (f, c) in enumerate(planes):
        if i:
            lines.append("")
        if not kernel.per_channel:
            lines.append(f"filter {f + 1}, channel {c + 1}")
        lines += ["  ".join(cell.rjust(width) for cell in row) for row in rows[i * height : (i + 1) * height]]
    split = separate(kernel.numerators[0, 0]) if len(planes) == 1 and min(kernel.size) > 1 else None
    if split:
        column, row = split
        over = f" / {kernel.divisor:g}" if kernel.divisor != 1 else ""
        lines += ["", f"= column ({_join(column)}) times row ({_join(row)}){over}"]
    return "\n".join(lines) + "\n"


def size_text(kernel: Kernel) -> str:
    """Return ``3x3``, or ``2 of 3x3`` for several kernels, or ``4x3x3x3`` for a bank."""
    height, width = kernel.size
    if not kernel.per_channel:
        return f"{kernel.filters}x{kernel.channels}x{height}x{width}"
    return f"{height}x{width}" if kernel.filters == 1 else f"{kernel.filters} of {height}x{width}"


def sum_text(kernel: Kernel, digits: int = 6) -> str:
    """Return the sum of the numbers of the first filter, 0 for what only rounding keeps from it."""
    return "0" if kernel.signed else f"{kernel.total:.{digits}g}"


def separable_text(kernel: Kernel) -> str:
    """Return ``yes``, ``no``, or ``each`` where every kernel of several is separable."""
    every = all(separate(plane) is not None for planes in kernel.numerators for plane in planes)
    if not every:
        return "no"
    return "yes" if kernel.filters * kernel.channels == 1 else "each"


def _number(value: float, kernel: Kernel) -> str:
    if kernel.divisor != 1 and kernel.integral:
        return str(Fraction(int(value)) / Fraction(int(kernel.divisor)))
    return f"{value / kernel.divisor:.6g}"


def _join(values: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)
