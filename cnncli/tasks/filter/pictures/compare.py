"""The picture of a lecture's slide: input, response and equalised response, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import apply_filter
from cnncli.filtering.plan import FilterPlan
from cnncli.io.comparison import side_by_side
from cnncli.io.images.image import Image
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.pictures.shown import shown

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
    return caption, shown(pixels, alpha)
