"""Samples of any type as bytes to look at, with transparent parts laid on white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shown(pixels: NDArray, alpha: NDArray | None = None) -> NDArray[np.uint8]:
    """Return pixels (H, W, C) as uint8: 16 bits by their high part, floats and matrices stretched to 0..255.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
    alpha : ndarray, shape (H, W), optional
        Opacity of any type; what is transparent becomes white.
    """
    values = _bytes(pixels)
    if alpha is None:
        return values
    share = alpha[..., None] / (np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1)
    return np.asarray(np.rint(values * share + 255 * (1 - share)), np.uint8)


def _bytes(pixels: NDArray) -> NDArray[np.uint8]:
    if pixels.dtype == np.dtype(np.uint8):
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray(np.rint(pixels / 257), np.uint8)
    if pixels.dtype == np.float64 and pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 255:
        return np.asarray(np.rint(pixels), np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    stretched = np.rint((pixels - low) * (255 / (high - low if high > low else 1)))
    return np.asarray(stretched, np.uint8)
