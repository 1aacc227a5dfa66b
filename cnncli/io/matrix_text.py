"""Numbers as text: rows of a matrix, channels one after the other with a blank line between them."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

MATRIX_EXTENSIONS = (".txt", ".csv", ".tsv")


def matrix_lines(
    values: NDArray, *, precision: int | None = None, separator: str = " ", align: bool = False
) -> list[str]:
    """Return the lines of an (H, W, C) matrix.

    Whole numbers are written without a decimal point; other matrices get `precision` decimals everywhere.

    Parameters
    ----------
    values : array (H, W, C)
    precision : int, optional
        Decimals of numbers that are not whole; by default the fewest digits that read back as the same number.
    separator : str
        Between numbers.
    align : bool
        Columns of equal width, for a person.

    Examples
    --------
    >>> matrix_lines(np.array([[[320.0], [206.0]], [[-1.0], [0.0]]]))
    ['320 206', '-1 0']
    >>> matrix_lines(np.array([[[0.1], [1 / 3]]], np.float32))
    ['0.1 0.33333334']
    """
    whole = bool(np.isfinite(values).all() and (values == np.rint(values)).all())
    channels = [[_texts(row, whole, precision) for row in values[..., c]] for c in range(values.shape[2])]
    width = max((len(cell) for rows in channels for row in rows for cell in row), default=0) if align else 0
    lines: list[str] = []
    for number, rows in enumerate(channels):
        lines += [""] if number else []
        lines += [separator.join(cell.rjust(width) for cell in row) for row in rows]
    return lines


def _texts(row: NDArray, whole: bool, precision: int | None) -> list[str]:
    if precision is None and not whole:
        return [str(text) for text in (row + row.dtype.type(0)).astype(str)]
    # adding 0.0 turns -0.0 into 0; rounding first keeps "-0.0000" away as well
    decimals = 0 if whole else precision or 0
    rounded = np.round(np.asarray(row, np.float64), decimals) + 0.0
    return [f"{value:.{decimals}f}" for value in rounded.tolist()]


def matrix_bytes(values: NDArray, path: str, *, precision: int | None = None) -> bytes:
    """Return the content of a text file: commas for ``.csv``, tabs for ``.tsv``, else blanks."""
    separator = {".csv": ",", ".tsv": "\t"}.get(PurePath(path).suffix.lower(), " ")
    return ("\n".join(matrix_lines(values, precision=precision, separator=separator)) + "\n").encode()
