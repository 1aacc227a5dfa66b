"""Numbers as people type them: rows, columns, fractions, brackets. A strict grammar; nothing is ever evaluated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn, TypeAlias, TypeVar

from cnncli.errors import InvalidInputError

Number = TypeVar("Number", float, Fraction)
Rows: TypeAlias = list[list[Number]]

_DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
_NUMBER = re.compile(rf"([+-]?{_DECIMAL})(?:/({_DECIMAL}))?", re.ASCII)
_LARGEST = 10**150  # leaves room for sums and factors within float64
_TOKEN = re.compile(r"[^\s,;\[\]]+|[;\[\]]|\n", re.ASCII)


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
    if abs(_exponent(top)) > 300 or (bottom and abs(_exponent(bottom)) > 300):
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


def parse_blocks(
    text: str, where: str, convert: Callable[[str], Number], *, inline: bool = False
) -> list[Rows[Number]]:
    r"""Read blocks of rows of numbers.

    Numbers are separated by white space or commas, rows by ``;`` or a new line, blocks (channels) by a blank line;
    ``#`` starts a comment. NumPy's brackets are understood: then ``]`` ends a row and line breaks mean nothing.

    Parameters
    ----------
    where : str
        File name for messages; with `inline` messages count rows and columns of the matrix instead of the file's.
    convert : callable
        `to_fraction` or `to_float`.

    Raises
    ------
    InvalidInputError
        Not a number, ragged rows, blocks of different sizes; located. An empty text gives an empty list.

    Examples
    --------
    >>> parse_blocks("1 2; 3 4", "kernel", to_float, inline=True)
    [[[1.0, 2.0], [3.0, 4.0]]]
    """
    bracketed = "[" in text
    blocks: list[Rows[Number]] = []
    rows: Rows[Number] = []
    row: list[Number] = []
    depth, previous_close = 0, 0

    def fail(message: str, line: int, column: int, hint: str = "") -> NoReturn:
        if inline:
            raise InvalidInputError(f"row {len(rows) + 1}, column {len(row) + 1}: {message}", where=where, hint=hint)
        raise InvalidInputError(message, where=f"{where}:{line}:{column}", hint=hint)

    def end_row(line: int) -> None:
        nonlocal row
        if not row:
            return
        if rows and len(row) != len(rows[0]):
            message = f"row {len(rows) + 1} has {_count(len(row))}, row 1 has {len(rows[0])}"
            raise InvalidInputError(
                message, where=where if inline else f"{where}:{line}", hint="give every row the same count"
            )
        rows.append(row)
        row = []

    def end_block(line: int) -> None:
        nonlocal rows
        end_row(line)
        if not rows:
            return
        if blocks and (len(rows), len(rows[0])) != (len(blocks[0]), len(blocks[0][0])):
            message = (
                f"block {len(blocks) + 1} has {len(rows)}x{len(rows[0])} numbers, "
                f"block 1 has {len(blocks[0])}x{len(blocks[0][0])}"
            )
            raise InvalidInputError(message, where=where if inline else f"{where}:{line}")
        blocks.append(rows)
        rows = []

    line_number = 0
    for line_number, full_line in enumerate(text.split("\n"), start=1):
        line = full_line.split("#", 1)[0]
        if not bracketed and not line.strip():
            end_block(line_number)
            continue
        for token in _TOKEN.finditer(line):
            word, column = token.group(), token.start() + 1
            if word == "[":
                depth += 1
                previous_close = 0
            elif word == "]":
                depth -= 1
                previous_close += 1
                if depth < 0:
                    fail("']' without '['", line_number, column)
                end_row(line_number)
                if previous_close == 2:
                    end_block(line_number)
            elif word == ";":
                end_row(line_number)
            else:
                previous_close = 0
                try:
                    row.append(convert(word))
                except ValueError as error:
                    fail(str(error), line_number, column, "use numbers like 1, -0.5, 2e-3 or 1/9")
        if not bracketed:
            end_row(line_number)
    if depth > 0:
        fail("'[' is never closed", line_number, 1)
    end_block(line_number)
    return blocks


def _exponent(number: str) -> int:
    return int(number.lower().partition("e")[2] or 0)


def _shown(word: str) -> str:
    return f"'{word}'" if len(word) <= 40 else f"'{word[:40]}...'"


def _count(n: int) -> str:
    return f"{n} number" if n == 1 else f"{n} numbers"
