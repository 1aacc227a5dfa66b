"""Filtering a picture with transparency: hidden colours must not bleed into visible ones.

Colours are multiplied by their opacity before the chain and divided by the filtered opacity after it (normalised
convolution, Knutsson and Westin 1993, doi:10.1109/CVPR.1993.341081), so that a pixel counts as much as it is seen.
A kernel with negative numbers (sharpen) would divide by differences of opacities: there the pixel in the centre stands
in for what its neighbours hide, ``F(c a) + c0 (F(1) - F(a))``. Where a kernel sums to 0, its response to the
premultiplied picture is the answer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cnncli.filters.conventions import convention
from cnncli.filters.kernel import Kernel
from cnncli.filters.steps import GrayStep, KernelStep, PoolStep, Step
from cnncli.tasks.filter_image import FilterPlan, FilterResult, apply_filter
from cnncli.tasks.filter_plan import resolve_plan

_LEAST_OPACITY = 1 / 512  # filtered opacity below half a level of 8 bits: nothing there to divide by


def filter_with_alpha(
    pixels: NDArray, alpha: NDArray, plan: FilterPlan, *, filter_alpha: bool, threads: int | None = None
) -> tuple[FilterResult, NDArray]:
    """Return the filtered colours and the opacity that belongs to them.

    Parameters
    ----------
    pixels : array (H, W, C)
    alpha : array (H, W) of the dtype of `pixels`
    plan : FilterPlan
    filter_alpha : bool
        Put the opacity through the chain as well; else it only follows strides, padding and pooling.
    """
    opaque = bool((alpha == _white(alpha.dtype)).all())
    shown = apply_filter(alpha[..., None], plan if filter_alpha else _sampling(plan), threads=threads).pixels[..., 0]
    if opaque:
        return apply_filter(pixels, plan, threads=threads), shown.astype(alpha.dtype, copy=False)
    level = 255 / _white(pixels.dtype)  # float64 pixels run to 255 (`full_scale`)
    opacity = np.repeat(alpha[..., None] / _white(alpha.dtype), pixels.shape[2], axis=2)
    raw = replace(plan, range="raw", dtype="same")
    colours = apply_filter(pixels * (level * opacity), raw, threads=threads)
    values = colours.pixels
    if not _any(plan.steps, "signed"):
        plain = replace(raw, bias=0.0)
        weights = apply_filter(opacity, plain, threads=threads).pixels
        if _any(plan.steps, "negative"):
            whole = apply_filter(np.ones_like(opacity), plain, threads=threads).pixels
            centre = apply_filter(pixels * level, replace(_sampling(plan), gray=plan.gray, channels=plan.channels))
            values = values + centre.pixels * (whole - weights)
        else:
            values = np.divide(values, weights, out=np.zeros_like(values), where=weights > _LEAST_OPACITY)
    resolved = resolve_plan(plan, pixels.dtype)
    stays_float = resolved.dtype.kind == "f"
    final = FilterPlan((), range=resolved.range, dtype="same" if stays_float else resolved.dtype.name)
    result = apply_filter(values, final, threads=threads)
    result = replace(
        result,
        pixels=(result.pixels / level).astype(resolved.dtype) if stays_float else result.pixels,
        minimum=result.minimum / level,
        maximum=result.maximum / level,
        operation=colours.operation,
        padding=colours.padding,
        border=colours.border,
        notes=colours.notes,
    )
    return result, shown.astype(alpha.dtype, copy=False)


def _sampling(plan: FilterPlan) -> FilterPlan:
    """Return the plan that takes from each window the pixel at its centre: the geometry without the arithmetic."""
    late = plan.convention is not None and convention(plan.convention).anchor == "late"
    steps: list[Step] = []
    for step in plan.steps:
        if isinstance(step, KernelStep):
            height, width = step.kernel.size
            centre = np.zeros((1, 1, height, width))
            centre[0, 0, (height - 1 + late) // 2, (width - 1 + late) // 2] = 1
            steps.append(KernelStep(Kernel("centre", centre)))
        elif isinstance(step, PoolStep | GrayStep):
            steps.append(step)
    return replace(plan, steps=tuple(steps), range="clip", dtype="same", gray=None, channels=None, scale=None, bias=0.0)


def _any(steps: tuple[Step, ...], kind: str) -> bool:
    """Whether a kernel of the chain is ``signed`` (sums to 0) or has a ``negative`` number."""
    kernels = [step.kernel for step in steps if isinstance(step, KernelStep)]
    return any(kernel.is_zero_sum if kind == "signed" else bool((kernel.numerators < 0).any()) for kernel in kernels)


def _white(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
