"""Change the size of a picture without aliasing, in NumPy: two small matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resample(picture: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return `picture` at another size, with a triangle filter as wide as the reduction asks for.

    Parameters
    ----------
    picture : ndarray of float64, (H, W) or (H, W, C)
        Read only.
    height, width : int
        At least 1 [px].

    Returns
    -------
    ndarray of float64, (height, width[, C])
        A new array; constants stay what they are.

    References
    ----------
    Turkowski 1990, "Filters for common resampling tasks", Graphics Gems, section "tent filter".

    Examples
    --------
    >>> resample(np.array([[0.0, 0.0, 8.0, 8.0]]), 1, 2)
    array([[1.14285714, 6.85714286]])
    """
    rows = _weights(picture.shape[0], height)
    columns = _weights(picture.shape[1], width)
    across = np.einsum("bw,hw...->hb...", columns, picture, optimize=True)
    result: NDArray[np.float64] = np.einsum("ah,hw...->aw...", rows, across, optimize=True)
    return result


def fit_inside(height: int, width: int, box: int) -> tuple[int, int]:
    """Return the size with the same aspect whose longer side is `box`; no side is below 1.

    Examples
    --------
    >>> fit_inside(200, 300, 28)
    (19, 28)
    """
    longer = max(height, width)
    return max(1, round(height * box / longer)), max(1, round(width * box / longer))


def _weights(before: int, after: int) -> NDArray[np.float64]:
    """Return the matrix (after, before) whose rows sum to 1."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(1 - distance, 0)
    total: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return total
