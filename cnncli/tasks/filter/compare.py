"""The picture of a lecture's slide: input, response and equalised response, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import apply_filter
from cnncli.filtering.plan import FilterPlan
from cnncli.io.comparison import side_by_side
from cnncli.io.images.image import Image
from cnncli.tasks.filter.options import FileOptions

if TYPE_CHECKING:
    from cnncli.filtering.apply import FilterResult


def comparison(
    source: Image, result: FilterResult, alpha: NDArray | None, plan: FilterPlan, options: FileOptions
) -> NDArray:
    """Return one RGB picture (H, W, 3) uint8 of three panels with captions.

    Transparent pixels are laid on white. Of pictures with other than 1 or 3 channels the first one is shown, and the
    caption says so.

    Parameters
    ----------
    source : Image
    result : FilterResult
        Of `plan` on `source`.
    alpha : ndarray, shape (H, W), optional
        The opacity of the result.
    """
    ranked = replace(plan, range="equalize", dtype="same")
    if source.alpha is None:
        equal = apply_filter(source.pixels, ranked, threads=options.threads)
    else:
        whole = options.alpha == "filter"
        equal, _ = filter_with_alpha(source.pixels, source.alpha, ranked, filter_alpha=whole, threads=options.threads)
    names = " + ".join(step.name for step in plan.steps) or "input"
    return side_by_side(
        [
            _panel(f"input {source.size}", source.pixels, source.alpha),
            _panel(f"{names}, range {result.range}", result.pixels, alpha),
            _panel(f"{names}, histogram equalised", equal.pixels, alpha),
        ]
    )


def _panel(caption: str, pixels: NDArray, alpha: NDArray | None) -> tuple[str, NDArray]:
    channels = pixels.shape[2]
    if channels not in (1, 3):
        caption, pixels = f"{caption}, channel 1 of {channels}", pixels[..., :1]
    shown = _shown(pixels)
    if alpha is not None:
        share = alpha[..., None] / (np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1)
        shown = np.asarray(np.rint(shown * share + 255 * (1 - share)), np.uint8)
    return caption, shown


def _shown(pixels: NDArray) -> NDArray:
    """Return the pixels as uint8: 16 bits by their high part, floats and matrices stretched to 0..255."""
    if pixels.dtype == np.dtype(np.uint8):
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray(np.rint(pixels / 257), np.uint8)
    if pixels.dtype == np.float64 and pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 255:
        return np.asarray(np.rint(pixels), np.uint8)
    low, high = float(pixels.min()), float(pixels.max())
    stretched = np.rint((pixels - low) * (255 / (high - low if high > low else 1)))
    return np.asarray(stretched, np.uint8)
