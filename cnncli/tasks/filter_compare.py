"""The picture of a lecture's slide: input, response and equalised response, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.io.comparison import side_by_side
from cnncli.io.image_data import Image
from cnncli.tasks.filter_image import apply_filter
from cnncli.tasks.filter_options import FileOptions
from cnncli.tasks.filter_plan import FilterPlan

if TYPE_CHECKING:
    from cnncli.tasks.filter_image import FilterResult


def comparison(source: Image, result: FilterResult, plan: FilterPlan, options: FileOptions) -> NDArray:
    """Return one RGB picture (H, W, 3) uint8 of three panels with captions.

    Parameters
    ----------
    source : Image
    result : FilterResult
        Of `plan` on `source`.
    """
    equal = apply_filter(source.pixels, replace(plan, range="equalize", dtype="same"), threads=options.threads)
    names = " + ".join(step.name for step in plan.steps) or "input"
    response = f"{names}, range {result.range}"
    return side_by_side(
        [
            (f"input {source.size}", _shown(source.pixels)),
            (response, _shown(result.pixels)),
            (f"{names}, histogram equalised", _shown(equal.pixels)),
        ]
    )


def _shown(pixels: NDArray) -> NDArray:
    """Return (H, W, 1 or 3) uint8: 16 bits by their high part, floats and matrices stretched to 0..255."""
    if pixels.shape[2] not in (1, 3):
        pixels = pixels[..., :1]
    if pixels.dtype == np.dtype(np.uint8):
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray(np.rint(pixels / 257), np.uint8)
    if pixels.dtype == np.float64 and pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 255:
        return np.asarray(np.rint(pixels), np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    stretched = np.rint((pixels - low) * (255 / (high - low if high > low else 1)))
    return np.asarray(stretched, np.uint8)
