"""Numbers as people type them: rows, columns, fractions, brackets. A strict grammar; nothing is ever evaluated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import PurePath
from typing import Generic, NoReturn, TypeAlias, TypeVar

from cnncli.errors import InvalidInputError

Number = TypeVar("Number", float, Fraction)
Rows: TypeAlias = list[list[Number]]

_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?", re.ASCII)
_LARGEST = 10**150  # leaves room for sums and factors within float64
_EXPONENT = 330  # of ten: the smallest float64 is 5e-324
_NOT_FINITE = ("nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
_TOKEN = re.compile(r"[^\s,;\[\]]+|[,;\[\]]", re.ASCII)


def to_fraction(text: str) -> Fraction:
    """Return the exact value of a decimal number or a fraction of two.

    Raises
    ------
    ValueError
        With what is wrong with the text, in words.

    Examples
    --------
    >>> to_fraction("-1/9")
    Fraction(-1, 9)
    """
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueError(f"{_shown(text)} is not a number")
    top, bottom = match.groups()
    if len(text) > 300:
        raise ValueError(f"{_shown(text)} has {len(text)} characters")
    if abs(_exponent(top)) > _EXPONENT or (bottom and abs(_exponent(bottom)) > _EXPONENT):
        raise ValueError(f"{_shown(text)} is too large or too small")
    value = Fraction(top)
    if bottom:
        if not Fraction(bottom):
            raise ValueError(f"{_shown(text)} divides by zero")
        value /= Fraction(bottom)
    if abs(value) > _LARGEST:
        raise ValueError(f"{_shown(text)} is too large")
    return value


def to_float(text: str) -> float:
    """Return the value of a decimal number or a fraction as a float; errors as `to_fraction`."""
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueError(f"{_shown(text)} is not a number")
    value = float(match[1]) if match[2] is None else float(to_fraction(text))
    if not math.isfinite(value):
        raise ValueError(f"{_shown(text)} is too large")
    return value


def to_sample(text: str) -> float:
    """Return a sample of an image: as `to_float`, or one of the words nan, inf and -inf in any case."""
    return float(text) if text.lower() in _NOT_FINITE else to_float(text)


def parse_blocks(
    text: str, where: str, convert: Callable[[str], Number], *, inline: bool = False
) -> list[Rows[Number]]:
    r"""Read blocks of rows of numbers.

    Numbers are separated by white space or commas, rows by ``;`` or a new line, blocks (channels) by a blank line;
    ``#`` starts a comment. NumPy's brackets are understood: then ``]`` ends a row and line breaks mean nothing.
    In a ``.csv`` file the columns are separated by commas or by ``;``, in a ``.tsv`` file by tabs, and each row has a
    line of its own.

    Parameters
    ----------
    where : str
        File name for messages; with `inline` messages count rows and columns of the matrix instead of the file's.
    convert : callable
        `to_fraction`, `to_float` or `to_sample`.

    Raises
    ------
    InvalidInputError
        Not a number, a blank cell, ragged rows, blocks of different sizes; located. An empty text gives an empty list.

    Examples
    --------
    >>> parse_blocks("1 2; 3 4", "kernel", to_float, inline=True)
    [[[1.0, 2.0], [3.0, 4.0]]]
    """
    lines = [line.partition("#")[0] for line in text.split("\n")]
    bracketed = any("[" in line for line in lines)
    delimiter = "" if inline or bracketed else _delimiter(lines, where)
    reader = _BlockReader(where, convert, inline=inline)
    for number, line in enumerate(lines, start=1):
        reader.line = number
        if bracketed:
            reader.read_bracketed(line)
        elif not line.strip():
            reader.end_block()
        elif delimiter:
            reader.read_cells(line, delimiter)
        else:
            reader.read_row(line)
    return reader.finish()


def _delimiter(lines: list[str], where: str) -> str:
    """Return what separates the columns of a table file, or nothing where blanks or commas may."""
    suffix = PurePath(where).suffix.lower()
    if suffix == ".tsv" and any("\t" in line.strip() for line in lines):
        return "\t"
    if suffix != ".csv":
        return ""
    present = [sign for sign in ",;" if any(sign in line for line in lines)]
    if len(present) == 2:
        line = next(number for number, line in enumerate(lines, start=1) if ";" in line)
        message = "holds both ',' and ';': decimal commas are not read"
        hint = "write decimal points, a comma between columns and each row on its own line"
        raise InvalidInputError(message, where=f"{where}:{line}", hint=hint)
    return present[0] if present else ""


class _BlockReader(Generic[Number]):
    """What has been read of a text: whole blocks, the rows of the block at work, the numbers of the row at work."""

    def __init__(self, where: str, convert: Callable[[str], Number], *, inline: bool) -> None:
        self.where, self.inline = where, inline
        self.convert: Callable[[str], Number] = convert
        self.blocks: list[Rows[Number]] = []
        self.rows: Rows[Number] = []
        self.row: list[Number] = []
        self.line = 0
        self._depth = 0  # of brackets
        self._closed = 0  # brackets since the last number
        self._previous = ""  # "[", "]", ",", ";" or "number"

    def read_row(self, line: str) -> None:
        """Read a line of numbers between blanks and commas; ``;`` ends a row, and so does the line."""
        for token in _TOKEN.finditer(line):
            word, column = token.group(), token.start() + 1
            if word == "]":
                self.fail("']' without '['", column)
            elif word == ";":
                self._refuse_blank(column)
                self.end_row()
            elif word == ",":
                self._comma(column)
            else:
                self._number(word, column)
        self._refuse_blank(len(line) + 1)
        self.end_row()

    def read_bracketed(self, line: str) -> None:
        """Read a line of a text with brackets: ``]`` ends a row, two of them a block."""
        for token in _TOKEN.finditer(line):
            word, column = token.group(), token.start() + 1
            if word == "[":
                self._depth += 1
                self._closed = 0
                self._previous = word
            elif word == "]":
                self._depth -= 1
                self._closed += 1
                self._previous = word
                if self._depth < 0:
                    self.fail("']' without '['", column)
                self.end_row()
                if self._closed == 2:
                    self.end_block()
            elif word == ";":
                self._refuse_blank(column)
                self.end_row()
            elif word == ",":
                self._comma(column)
            else:
                self._closed = 0
                self._number(word, column)

    def read_cells(self, line: str, delimiter: str) -> None:
        """Read a line with one number between two delimiters."""
        column = 1
        for cell in line.split(delimiter):
            if not cell.strip():
                self._fail_blank(column)
            self._number(cell.strip(), column + len(cell) - len(cell.lstrip()))
            column += len(cell) + 1
        self.end_row()

    def finish(self) -> list[Rows[Number]]:
        """Return the blocks."""
        if self._depth > 0:
            self.fail("'[' is never closed", 1)
        self.end_block()
        return self.blocks

    def end_row(self) -> None:
        """Add the row at work to its block."""
        self._previous = "" if self._previous != "]" else "]"
        if not self.row:
            return
        if self.rows and len(self.row) != len(self.rows[0]):
            message = f"row {len(self.rows) + 1} has {_count(len(self.row))}, row 1 has {len(self.rows[0])}"
            raise InvalidInputError(message, where=self._place(), hint="give every row the same count")
        self.rows.append(self.row)
        self.row = []

    def end_block(self) -> None:
        """Add the rows at work to the blocks."""
        self.end_row()
        if not self.rows:
            return
        first = self.blocks[0] if self.blocks else self.rows
        if (len(self.rows), len(self.rows[0])) != (len(first), len(first[0])):
            message = (
                f"block {len(self.blocks) + 1} has {len(self.rows)}x{len(self.rows[0])} numbers, "
                f"block 1 has {len(first)}x{len(first[0])}"
            )
            raise InvalidInputError(message, where=self._place(), hint="give every block the same size")
        self.blocks.append(self.rows)
        self.rows = []

    def fail(self, message: str, column: int, hint: str = "") -> NoReturn:
        """Refuse the text at a column of the line at work."""
        if self.inline:
            message = f"row {len(self.rows) + 1}, column {len(self.row) + 1}: {message}"
            raise InvalidInputError(message, where=self.where, hint=hint)
        raise InvalidInputError(message, where=f"{self.where}:{self.line}:{column}", hint=hint)

    def _number(self, word: str, column: int) -> None:
        self._previous = "number"
        try:
            self.row.append(self.convert(word))
        except ValueError as error:
            self.fail(str(error), column, "use numbers like 1, -0.5, 2e-3 or 1/9")

    def _comma(self, column: int) -> None:
        if self._previous not in ("number", "]"):
            self._fail_blank(column)
        self._previous = ","

    def _refuse_blank(self, column: int) -> None:
        if self._previous == ",":
            self._fail_blank(column)

    def _fail_blank(self, column: int) -> NoReturn:
        message = f"number {len(self.row) + 1} of row {len(self.rows) + 1} is missing"
        self.fail(message, column, "write 0 where 0 is meant")

    def _place(self) -> str:
        return self.where if self.inline else f"{self.where}:{self.line}"


def _exponent(number: str) -> int:
    return int(number.lower().partition("e")[2] or 0)


def _shown(word: str) -> str:
    return f"'{word}'" if len(word) <= 40 else f"'{word[:40]}...'"


def _count(n: int) -> str:
    return f"{n} number" if n == 1 else f"{n} numbers"
