"""Predictions as a table for people, or as lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cnncli import SCHEMA
from cnncli.errors import printable
from cnncli.reporting.encodable import encodable, write_line
from cnncli.reporting.table import Column, Table, render_plain
from cnncli.tasks.predict.predict import FailedPicture, Prediction

FORMATS = ("table", "plain", "jsonl", "csv")


def write_predictions(
    results: Iterable[Prediction | FailedPicture], style: str, out: TextIO, *, top: int, with_probs: bool
) -> None:
    """Write results: JSON lines as they come, the other forms when all have come.

    Parameters
    ----------
    results : iterable of Prediction or FailedPicture
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
        _write_csv(list(results), out, top, with_probs)
    elif style == "plain":
        _write_plain(list(results), out, top, with_probs)
    else:
        _write_table(list(results), out, top, with_probs)


def json_row(result: Prediction | FailedPicture, top: int, *, with_probs: bool) -> dict[str, Any]:
    """Return one result as the JSON object that scripts may rely on."""
    if isinstance(result, FailedPicture):
        error = result.error
        body = {"code": int(error.exit_code), "message": error.message, "hint": error.hint}
        return {"schema": SCHEMA, "path": result.path, "error": body}
    if result.targets != "classes":
        kind = "values" if result.targets == "numbers" else "probs"
        named = {name: _rounded(value) for name, value in zip(result.classes, result.probs, strict=True)}
        several: dict[str, Any] = {"schema": SCHEMA, "path": result.path, kind: named}
        if kind == "probs":
            several["labels"] = result.applying()
        return several | ({"notes": list(result.notes)} if result.notes else {})
    row: dict[str, Any] = {
        "schema": SCHEMA,
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


def _write_csv(results: list[Prediction | FailedPicture], out: TextIO, top: int, with_probs: bool) -> None:
    classes = next((result.classes for result in results if isinstance(result, Prediction)), ())
    top = min(top, len(classes))
    if any(isinstance(result, Prediction) and result.targets != "classes" for result in results):
        write_line(_csv_line(["path", *classes, "error"]), out)
        for result in results:
            if isinstance(result, FailedPicture):
                write_line(_csv_line([result.path, *[""] * len(classes), result.error.message]), out)
            else:
                write_line(_csv_line([result.path, *map(_rounded, result.probs), ""]), out)
        return
    head = ["path", "label", "index", "prob"]
    head += [f"{word}{n}" for n in range(2, top + 1) for word in ("label", "prob")]
    head += [f"p({name})" for name in classes] if with_probs else []
    write_line(_csv_line([*head, "error"]), out)
    for result in results:
        if isinstance(result, FailedPicture):
            cells: list[Any] = [result.path, *[""] * (len(head) - 1), result.error.message]
        else:
            first, *others = result.top(top)
            cells = [result.path, first[0], result.index, _rounded(first[1])]
            cells += [cell for name, prob in others for cell in (name, _rounded(prob))]
            cells += [_rounded(prob) for prob in result.probs] if with_probs else []
            cells.append("")
        write_line(_csv_line(cells), out)


def _csv_line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([printable(str(cell)) for cell in cells])
    return text.getvalue()


def _write_table(results: list[Prediction | FailedPicture], out: TextIO, top: int, with_probs: bool) -> None:
    console = Console(file=out, highlight=False)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    titles, rows = _cells(results, top, with_probs)
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", justify="right" if title == "prob" else "left")
        table.columns[number].style = ("", "bold", "", "dim")[number]
    for result, row in zip(results, rows, strict=True):
        style = "red" if isinstance(result, FailedPicture) else ""
        table.add_row(*(Text(encodable(cell, out)) for cell in row), style=style)
    console.print(table)


def _write_plain(results: list[Prediction | FailedPicture], out: TextIO, top: int, with_probs: bool) -> None:
    titles, rows = _cells(results, top, with_probs)
    columns = [Column(title, "right" if title == "prob" else "left") for title in titles]
    out.write(encodable(render_plain(Table(columns, rows)), out))


def _cells(results: list[Prediction | FailedPicture], top: int, with_probs: bool) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of texts."""
    if any(isinstance(result, Prediction) and result.targets != "classes" for result in results):
        return ["image", "answer"], [[printable(result.path), _answer(result)] for result in results]
    titles = ["image", "label", "prob", "every class" if with_probs else "next"]
    rows = []
    for result in results:
        path = printable(result.path)
        if isinstance(result, FailedPicture):
            rows.append([path, "error", "", printable(result.error.message)])
            continue
        listed = [(name, float(prob)) for name, prob in zip(result.classes, result.probs, strict=True)]
        others = listed if with_probs else result.top(top)[1:]
        rest = "  ".join(f"{printable(name)} {prob:.2%}" for name, prob in others)
        rows.append([path, printable(result.label), f"{result.probs[result.index]:.2%}", rest])
    count = 4 if any(row[3] for row in rows) else 3
    return titles[:count], [row[:count] for row in rows]


def _answer(result: Prediction | FailedPicture) -> str:
    """Return the numbers of a network that does not choose among classes, each with its name."""
    if isinstance(result, FailedPicture):
        return f"error: {printable(result.error.message)}"
    form = "{} {:.6g}" if result.targets == "numbers" else "{} {:.2%}"
    pairs = zip(result.classes, result.probs.tolist(), strict=True)
    return "  ".join(form.format(printable(name), value) for name, value in pairs)


def _rounded(prob: float) -> float:
    return round(float(prob), 6)
