"""Filtering and pooling in NumPy: for matrices and small images, where compiling or loading compiled code costs more.

All arrays are (rows, columns, channels); `padded` holds the border already. float64 in, float64 out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.shapes import Pair


def pad(block: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64], value: float) -> NDArray[Any]:
    """Return ``block[rows][:, columns]`` with `value` where an index is -1."""
    padded = block.take(rows, axis=0).take(columns, axis=1)
    if rows.min(initial=0) < 0:
        padded[rows < 0] = value
    if columns.min(initial=0) < 0:
        padded[:, columns < 0] = value
    return padded


# infinities in a result are found by who asked for it
@np.errstate(over="ignore", invalid="ignore")
def correlate(
    padded: NDArray[Any], weights: NDArray[np.float64], stride: Pair, dilation: Pair, size: Pair, out: NDArray[Any]
) -> None:
    """Fill ``out[r, c, k] = sum(weights[i, j] * padded[r*s + i*d, c*s + j*d, k])``.

    Parameters
    ----------
    padded : ndarray, shape (PH, PW, K)
    weights : ndarray, shape (KH, KW)
        Zeros cost nothing; ones are added without a product.
    size : (int, int)
        Rows and columns of `out`.
    out : ndarray, shape (OH, OW, K)
        Written. Taps are added in row-major order.
    """
    out[:] = 0
    scratch = np.empty_like(out)
    for i, j in np.argwhere(weights):
        window = _window(padded, int(i), int(j), stride, dilation, size)
        weight = weights[i, j]
        if weight == 1:
            out += window
        elif weight == -1:
            out -= window
        else:
            np.multiply(window, weight, out=scratch)
            out += scratch


@np.errstate(over="ignore", invalid="ignore")
def correlate_by_rows(
    padded: NDArray[Any],
    weights: NDArray[np.float64],
    stride: Pair,
    dilation: Pair,
    size: Pair,
    out: NDArray[Any],
    start: float,
) -> None:
    """Do as `correlate` in Pillow's order: products of a kernel row are added first, then the rows from the last up.

    All on top of `start` and in the float type of `out`, weights included (libImaging/Filter.c).
    """
    rounded = weights.astype(out.dtype)
    out[:] = start
    for i in reversed(range(weights.shape[0])):
        total = _window(padded, i, 0, stride, dilation, size) * rounded[i, 0]
        for j in range(1, weights.shape[1]):
            total += _window(padded, i, j, stride, dilation, size) * rounded[i, j]
        out += total


def pool_max(padded: NDArray[Any], kernel: Pair, stride: Pair, size: Pair, out: NDArray[Any]) -> None:
    """Fill `out` with the largest value of each window of `padded`."""
    out[:] = -np.inf
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            np.maximum(out, _window(padded, i, j, stride, (1, 1), size), out=out)


@np.errstate(over="ignore")
def pool_mean(
    padded: NDArray[Any], inside: NDArray[Any], kernel: Pair, stride: Pair, size: Pair, out: NDArray[Any]
) -> None:
    """Fill `out` with the mean of the pixels of each window of `padded` that lie in the image.

    Parameters
    ----------
    inside : ndarray, shape (PH, PW, 1)
        1 for a pixel of the image, 0 for padding, which must be 0 in `padded`.
    """
    out[:] = 0
    count = np.zeros((*size, 1), out.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            out += _window(padded, i, j, stride, (1, 1), size)
            count += _window(inside, i, j, stride, (1, 1), size)
    out /= count


def _window(padded: NDArray[Any], i: int, j: int, stride: Pair, dilation: Pair, size: Pair) -> NDArray[Any]:
    top, left = i * dilation[0], j * dilation[1]
    return padded[
        top : top + (size[0] - 1) * stride[0] + 1 : stride[0], left : left + (size[1] - 1) * stride[1] + 1 : stride[1]
    ]
