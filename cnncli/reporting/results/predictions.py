"""Predictions as a table for people, or as lines for programs."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cnncli import SCHEMA
from cnncli.errors import printable
from cnncli.reporting.encodable import encodable, write_line
from cnncli.reporting.results.evaluation import percent
from cnncli.reporting.table import Column, Table, render_plain
from cnncli.tasks.evaluate.scores import interval
from cnncli.tasks.predict.predict import FailedPicture, Prediction

_MOST_COLUMNS = 12  # classes up to which a confusion matrix is printed
FORMATS = ("table", "plain", "jsonl", "csv")


@dataclass(frozen=True)
class RowOptions:
    """What a row holds.

    Attributes
    ----------
    top : int
        How many classes of each picture.
    with_probs, with_logits : bool
        Add the probability, or the value before the softmax or sigmoid, of every class.
    threshold : float
        A less probable answer is none: the row has no label.
    truths : mapping of str to str
        The class of each picture by its path, where it is known.
    """

    top: int = 3
    with_probs: bool = False
    with_logits: bool = False
    threshold: float = 0.0
    truths: Mapping[str, str] = field(default_factory=dict)


def write_predictions(
    results: Iterable[Prediction | FailedPicture], style: str, out: TextIO, options: RowOptions
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
    options : RowOptions
        What rows hold.
    """
    if style == "jsonl":
        for result in results:
            write_line(json.dumps(json_row(result, options)), out)
    elif style == "csv":
        _write_csv(list(results), out, options)
    elif style == "plain":
        _write_plain(list(results), out, options)
    else:
        _write_table(list(results), out, options)


def json_row(result: Prediction | FailedPicture, options: RowOptions) -> dict[str, Any]:
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
    is_sure = result.is_sure(options.threshold)
    row: dict[str, Any] = {
        "schema": SCHEMA,
        "path": result.path,
        "label": result.label if is_sure else None,
        "index": result.index if is_sure else None,
        "prob": _rounded(result.probs[result.index]),
        "top": [[name, _rounded(prob)] for name, prob in result.top(options.top)],
    }
    if options.with_probs:
        row["probs"] = {name: _rounded(prob) for name, prob in zip(result.classes, result.probs, strict=True)}
    if options.with_logits:
        row["logits"] = dict(logits_of(result))
    if options.truths:
        truth = options.truths[result.path]
        row |= {"truth": truth, "correct": is_sure and result.label == truth}
    if result.notes:
        row["notes"] = list(result.notes)
    return row


def _write_csv(results: list[Prediction | FailedPicture], out: TextIO, options: RowOptions) -> None:
    classes = next((result.classes for result in results if isinstance(result, Prediction)), ())
    top, with_probs = min(options.top, len(classes)), options.with_probs
    bare = next((result for result in results if isinstance(result, Prediction)), None)
    logits = [name for name, _ in logits_of(bare)] if bare and options.with_logits else []
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
    head += [f"z({name})" for name in logits] + (["truth", "correct"] if options.truths else [])
    write_line(_csv_line([*head, "error"]), out)
    for result in results:
        if isinstance(result, FailedPicture):
            cells: list[Any] = [result.path, *[""] * (len(head) - 1), result.error.message]
            if options.truths:
                cells[-3] = options.truths[result.path]
        else:
            first, *others = result.top(top)
            is_sure = result.is_sure(options.threshold)
            answer = [first[0], result.index] if is_sure else ["", ""]
            cells = [result.path, *answer, _rounded(first[1])]
            cells += [cell for name, prob in others for cell in (name, _rounded(prob))]
            cells += [_rounded(prob) for prob in result.probs] if with_probs else []
            cells += [value for _, value in logits_of(result)] if logits else []
            if options.truths:
                truth = options.truths[result.path]
                cells += [truth, "yes" if is_sure and result.label == truth else "no"]
            cells.append("")
        write_line(_csv_line(cells), out)


def logits_of(result: Prediction) -> list[tuple[str, float]]:
    """Return the values before the softmax or sigmoid by class; a single unit belongs to the second of two classes."""
    values = [] if result.logits is None else result.logits.tolist()
    return list(zip(result.classes[-len(values) :], values, strict=True)) if values else []


def agreement(results: Sequence[Prediction | FailedPicture], options: RowOptions) -> str:
    """Return accuracy and confusion of pictures whose classes are known, as text."""
    answered = [result for result in results if isinstance(result, Prediction)]
    if not answered:
        return ""
    names = list(answered[0].classes)
    sure = [result for result in answered if result.is_sure(options.threshold)]
    hits = sum(result.label == options.truths[result.path] for result in sure)
    count, unsure = len(answered), len(answered) - len(sure)
    low, high = interval(hits, count)
    lines = [f"accuracy {percent(hits / count)}: {hits:,} of {count:,}; 95 % {percent(low)} to {percent(high)}"]
    if unsure:
        lines.append(f"{unsure:,} below the threshold count as wrong")
    if len(names) <= _MOST_COLUMNS and sure:
        counts = Counter((options.truths[result.path], result.label) for result in sure)
        columns = [Column("class"), *(Column(printable(name)[:8], "right") for name in names)]
        rows = [[printable(row), *(str(counts[row, column] or ".") for column in names)] for row in names]
        lines.append(render_plain(Table(columns, rows)).rstrip("\n"))
    return "\n".join(lines) + "\n"


def _csv_line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([printable(str(cell)) for cell in cells])
    return text.getvalue()


def _write_table(results: list[Prediction | FailedPicture], out: TextIO, options: RowOptions) -> None:
    console = Console(file=out, highlight=False)
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    titles, rows = _cells(results, options)
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", justify="right" if title == "prob" else "left")
        table.columns[number].style = ("", "bold", "", "dim")[number]
    for result, row in zip(results, rows, strict=True):
        style = "red" if isinstance(result, FailedPicture) else ""
        table.add_row(*(Text(encodable(cell, out)) for cell in row), style=style)
    console.print(table)


def _write_plain(results: list[Prediction | FailedPicture], out: TextIO, options: RowOptions) -> None:
    titles, rows = _cells(results, options)
    columns = [Column(title, "right" if title == "prob" else "left") for title in titles]
    out.write(encodable(render_plain(Table(columns, rows)), out))


def _cells(results: list[Prediction | FailedPicture], options: RowOptions) -> tuple[list[str], list[list[str]]]:
    """Return titles and rows of texts."""
    if any(isinstance(result, Prediction) and result.targets != "classes" for result in results):
        return ["image", "answer"], [[printable(result.path), _answer(result)] for result in results]
    rest_title = "logits" if options.with_logits else "every class" if options.with_probs else "next"
    titles = ["image", "class / answer" if options.truths else "label", "prob", rest_title]
    rows = []
    for result in results:
        path = printable(result.path)
        if isinstance(result, FailedPicture):
            rows.append([path, "error", "", printable(result.error.message)])
            continue
        listed = [(name, float(prob)) for name, prob in zip(result.classes, result.probs, strict=True)]
        others = listed if options.with_probs else result.top(options.top)[1:]
        rest = "  ".join(f"{printable(name)} {prob:.2%}" for name, prob in others)
        if options.with_logits:
            rest = "  ".join(f"{printable(name)} {value:.4g}" for name, value in logits_of(result))
        answer = printable(result.label) if result.is_sure(options.threshold) else "-"
        if options.truths:
            truth = options.truths[result.path]
            answer = f"{printable(truth)} / {answer}" if truth != answer else answer
        rows.append([path, answer, f"{result.probs[result.index]:.2%}", rest])
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
