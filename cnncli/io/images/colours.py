"""Colour formulas of stored samples, 8 and 16 bits and floats: inks to light, premultiplied to straight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STRIP = 64  # [rows] converted at once: the intermediate numbers stay in cache


def rgb_of_inks(inks: NDArray) -> NDArray:
    """Return RGB (H, W, 3) of CMYK (H, W, 4): (top - ink)(top - K) / top, rounded, in the unsigned type of `inks`."""
    top = np.iinfo(inks.dtype).max
    out = np.empty((*inks.shape[:2], 3), inks.dtype)
    for start in range(0, len(inks), _STRIP):
        light: NDArray = top - inks[start : start + _STRIP].astype(np.uint64 if top > 255 else np.uint32)
        out[start : start + _STRIP] = (light[..., :3] * light[..., 3:] + top // 2) // top
    return out


def straight(samples: NDArray, alpha: NDArray) -> NDArray:
    """Return colours divided by the opacity they were multiplied with, rounded (TIFF 6.0, ExtraSamples 1).

    Where the opacity is 0 the colour is 0.
    """
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    out = np.zeros_like(samples)
    for start in range(0, len(samples), _STRIP):
        rows = slice(start, start + _STRIP)
        share = alpha[rows, :, None].astype(np.float64) / top
        colours = np.divide(samples[rows], share, out=np.zeros(samples[rows].shape), where=share > 0)
        out[rows] = np.rint(np.clip(colours, 0, top)) if alpha.dtype.kind == "u" else colours
    return out
