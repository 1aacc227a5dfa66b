"""Predictions as a table for people, or as lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnncli.reporting.encodable import encodable, printable, write_line
from cnncli.tasks.predict import Failure, Prediction

FORMATS = ("table", "plain", "jsonl", "csv")


def write_predictions(
    results: Iterable[Prediction | Failure], style: str, out: TextIO, *, top: int, with_probs: bool
) -> None:
    """Write results as they come (tables when all have come).

    Parameters
    ----------
    results : iterable of Prediction or Failure
        In the order of the command line.
    style : str
        One of `FORMATS`.
    out : text stream
        Data only; notes go elsewhere.
    top : int
        How many classes of each picture.
    with_probs : bool
        Add the probability of every class.
    """
    if style == "jsonl":
        for result in results:
            write_line(json.dumps(json_row(result, top, with_probs=with_probs)), out)
    elif style == "csv":
        _write_csv(results, out, top, with_probs)
    else:
        _write_table(list(results), out, top, with_probs, plain=style == "plain")


def json_row(result: Prediction | Failure, top: int, *, with_probs: bool) -> dict[str, Any]:
    """Return one result as the JSON object that scripts may rely on."""
    if isinstance(result, Failure):
        error = result.error
        body = {"code": int(error.exit_code), "message": error.message, "hint": error.hint}
        return {"schema": "cnncli/1", "path": result.path, "error": body}
    row: dict[str, Any] = {
        "schema": "cnncli/1",
        "path": result.path,
        "label": result.label,
        "index": result.index,
        "prob": _rounded(result.probs[result.index]),
        "top": [[name, _rounded(prob)] for name, prob in result.top(top)],
    }
    if with_probs:
        row["probs"] = {name: _rounded(prob) for name, prob in zip(result.classes, result.probs, strict=True)}
    if result.notes:
        row["notes"] = list(result.notes)
    return row


def _write_csv(results: Iterable[Prediction | Failure], out: TextIO, top: int, with_probs: bool) -> None:
    head: list[str] | None = None
    for result in results:
        if head is None:
            head = ["path", "label", "index", "prob"]
            head += [f"{word}{n}" for n in range(2, top + 1) for word in ("label", "prob")]
            head += [f"p({name})" for name in result.classes] if with_probs and isinstance(result, Prediction) else []
            head.append("error")
            write_line(_csv_line(head), out)
        if isinstance(result, Failure):
            cells: list[Any] = [result.path, *[""] * (len(head) - 2), result.error.message]
        else:
            first, *others = result.top(top)
            cells = [result.path, first[0], result.index, _rounded(first[1])]
            cells += [cell for name, prob in others for cell in (name, _rounded(prob))]
            cells += [_rounded(prob) for prob in result.probs] if with_probs else []
            cells += [""] * (len(head) - len(cells))
        write_line(_csv_line(cells), out)


def _csv_line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([printable(str(cell)) for cell in cells])
    return text.getvalue()


def _write_table(results: list[Prediction | Failure], out: TextIO, top: int, with_probs: bool, *, plain: bool) -> None:
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("label", style="" if plain else "bold")
    table.add_column("prob", justify="right")
    several = next((result for result in results if isinstance(result, Prediction)), None)
    others = with_probs or top > 1
    if others and several is not None:
        table.add_column("every class" if with_probs else "next", overflow="fold")
    for result in results:
        path = Text(encodable(printable(result.path), out))
        if isinstance(result, Failure):
            table.add_row(path, Text("error", style="red"), "", Text(encodable(printable(result.error.message), out)))
            continue
        listed = [(name, float(p)) for name, p in zip(result.classes, result.probs, strict=True)]
        rest = " ".join(
            f"{printable(name)} {prob:.2%}" for name, prob in (listed if with_probs else result.top(top)[1:])
        )
        name = Text(encodable(printable(result.label), out))
        cells = [path, name, Text(f"{result.probs[result.index]:.2%}")]
        table.add_row(*cells, *([Text(encodable(rest, out), style="dim")] if others else []))
    width = None if not plain else 10_000
    Console(file=out, highlight=False, width=width).print(table)


def _rounded(prob: float) -> float:
    return round(float(prob), 6)
