"""Numbers as text: rows of a matrix, channels one after the other with a blank line between them."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray


def matrix_lines(values: NDArray, *, precision: int = 4, separator: str = " ", align: bool = False) -> list[str]:
    """Return the lines of an (H, W, C) matrix.

    Whole numbers are written without a decimal point; other matrices get `precision` decimals everywhere.

    Parameters
    ----------
    values : array (H, W, C)
    precision : int
        Decimals of numbers that are not whole.
    separator : str
        Between numbers.
    align : bool
        Columns of equal width, for a person.

    Examples
    --------
    >>> matrix_lines(np.array([[[320.0], [206.0]], [[-1.0], [0.0]]]))
    ['320 206', '-1 0']
    """
    whole = bool(np.isfinite(values).all() and (values == np.rint(values)).all())
    # adding 0.0 turns -0.0 into 0; rounding first keeps "-0.0000" away as well
    rounded = np.round(np.asarray(values, np.float64), 0 if whole else precision) + 0.0
    width = max((len(_number(v, whole, precision)) for v in (rounded.min(), rounded.max())), default=0) if align else 0
    lines: list[str] = []
    for channel in range(values.shape[2]):
        if channel:
            lines.append("")
        for row in rounded[..., channel].tolist():
            lines.append(separator.join(_number(value, whole, precision).rjust(width) for value in row))
    return lines


def _number(value: float, whole: bool, precision: int) -> str:
    return f"{value:.0f}" if whole else f"{value:.{precision}f}"


def matrix_bytes(values: NDArray, path: str, *, precision: int = 4) -> bytes:
    """Return the content of a text file: commas for ``.csv``, tabs for ``.tsv``, else blanks."""
    separator = {".csv": ",", ".tsv": "\t"}.get(PurePath(path).suffix.lower(), " ")
    return ("\n".join(matrix_lines(values, precision=precision, separator=separator)) + "\n").encode()
