"""A table of pictures with their labels: ``path,label`` in a CSV file."""

from __future__ import annotations

# ruff: noqa: PTH118, PTH120
# names are bytes that a user typed, kept as they are
import csv
import math
import os
from collections.abc import Sequence
from functools import partial

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.datasets.own.folder import read_files
from cnncli.io.datasets.own.layout import PART_NAMES, is_picture_name
from cnncli.io.datasets.own.source import MAX_PICTURES, Labelled, PictureSource, check_class_names, in_order

_LARGEST_FILE = 256 << 20
_PATH_COLUMNS = ("path", "file", "filename", "image")
_SPLIT_COLUMNS = ("split", "part")
_FORM = "write lines of path,label below a first line such as path,label"

_Row = tuple[int, list[str]]  # line number and cells


def table_source(where: str, loss: str = "auto") -> PictureSource:
    """Return the pictures that a CSV file lists, with paths below its own folder.

    The first line may name the columns; one called ``split`` says train, val or test. One column of labels holds
    classes, or numbers where they are not all whole or `loss` is ``mse``. Several columns hold labels that may apply
    together where all are 0 or 1, otherwise numbers.

    Parameters
    ----------
    where : str
        The file: UTF-8, separated by commas, semicolons or tabs.
    loss : str
        ``mse`` makes numbers of all labels.

    Raises
    ------
    InvalidInputError
        With the line: missing cells, no numbers, a path that leads out of the folder; fewer than two classes.
    CnnError
        It cannot be read.
    """
    rows = _rows(where)
    header = [] if is_picture_name(rows[0][1][0]) else [cell.strip() for cell in rows.pop(0)[1]]
    if not rows:
        raise InvalidInputError("lists no pictures", where=where, hint=_FORM)
    width = len(header) or len(rows[0][1])
    lower = [name.lower() for name in header] or ["path"] + [""] * (width - 1)
    path_column = next((k for k, name in enumerate(lower) if name in _PATH_COLUMNS), 0)
    split_column = next((k for k, name in enumerate(lower) if name in _SPLIT_COLUMNS), None)
    columns = [k for k in range(width) if k not in (path_column, split_column)]
    if not columns:
        raise InvalidInputError("has no column of labels", where=where, hint=_FORM)
    for line, cells in rows:
        if len(cells) != width:
            raise InvalidInputError(f"{len(cells)} cells, not {width}", where=f"{where}:{line}", hint=_FORM)
    parts = [_part(cells[split_column], f"{where}:{line}") if split_column is not None else "train"
             for line, cells in rows]  # fmt: skip
    if "train" not in parts:
        raise InvalidInputError("no picture is for training", where=where, hint="write train into the column split")
    names = [header[k] if header else f"y{k}" for k in columns]
    paths = [_path(cells[path_column], where, line) for line, cells in rows]
    targets, classes, values = _targets(rows, columns, names, parts, loss, where)
    pictures = in_order([Labelled(*entry) for entry in zip(paths, parts, values, strict=True)])
    folder = os.path.dirname(where)
    files = [os.path.join(folder, picture.name) for picture in pictures]
    return PictureSource(where, pictures, classes, partial(read_files, files), targets, base=folder)


def _rows(where: str) -> list[_Row]:
    data = read_regular_file(where, _LARGEST_FILE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"not UTF-8 at byte {error.start}"
        raise InvalidInputError(message, where=where, hint="save it as UTF-8") from None
    first = text.partition("\n")[0]
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    rows = []
    try:
        reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise InvalidInputError(str(error), where=f"{where}:{reader.line_num}", hint=_FORM) from None
    if not rows:
        raise InvalidInputError("file is empty", where=where, hint=_FORM)
    if len(rows) > MAX_PICTURES:
        message = f"lists more than {MAX_PICTURES} pictures"
        raise InvalidInputError(message, where=where, hint="cut it into parts")
    return rows


def _part(cell: str, where: str) -> str:
    part = PART_NAMES.get(cell.strip().lower())
    if part is None:
        raise InvalidInputError(f"split {cell.strip()!r}", where=where, hint="write train, val or test")
    return part


def _path(cell: str, where: str, line: int) -> str:
    name, folder = cell.strip(), os.path.dirname(where) or "."
    inside = os.path.realpath(folder)
    real = os.path.realpath(os.path.join(folder, name))
    if not name or os.path.commonpath([inside, real]) != inside:
        message = f"path {name!r} does not lie below the folder of the table"
        raise InvalidInputError(message, where=f"{where}:{line}", hint="put the table above the pictures")
    return name


def _targets(
    rows: Sequence[_Row], columns: list[int], names: list[str], parts: list[str], loss: str, where: str
) -> tuple[str, tuple[str, ...], list[int | tuple[float, ...]]]:
    """Return the kind of targets, their names, and the target of every row."""
    texts = [[cells[k].strip() for k in columns] for _, cells in rows]
    numbers = [tuple(_number(text) for text in row) for row in texts]
    flat = [number for row in numbers for number in row]
    are_numbers = all(map(math.isfinite, flat))
    is_one_class = len(columns) == 1 and loss != "mse" and not (are_numbers and any(n != int(n) for n in flat))
    if not is_one_class:
        for (line, _), row, text in zip(rows, numbers, texts, strict=True):
            for word, number in zip(text, row, strict=True):
                if not math.isfinite(number):
                    message = f"{word!r} is not a number"
                    raise InvalidInputError(message, where=f"{where}:{line}", hint="write one, as in 0.5")
        kind = "labels" if loss != "mse" and set(flat) <= {0.0, 1.0} else "numbers"
        return kind, tuple(names), list(numbers)
    words = [row[0] for row in texts]
    found = {word for word, part in zip(words, parts, strict=True) if part == "train"}
    are_whole = are_numbers and all(word.lstrip("-").isdigit() for word in found)
    classes = tuple(sorted(found, key=int if are_whole else os.fsencode))
    check_class_names(classes, where)
    for (line, _), word in zip(rows, words, strict=True):
        if word not in found:
            message = f"class {word!r} is in no picture for training"
            raise InvalidInputError(message, where=f"{where}:{line}", hint="check the column split")
    if len(classes) < 2:
        raise InvalidInputError(f"found 1 class ({classes[0]!r}); need 2 or more", where=where, hint=_FORM)
    return "classes", classes, [classes.index(word) for word in words]


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan
