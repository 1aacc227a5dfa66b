"""One kernel, nothing else: pixels to pixels in compiled code, no float image between; and when that is worth it."""

from __future__ import annotations

import sys
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.filtering.chain import build_stages
from cnncli.filtering.kernel_stage import KernelStage
from cnncli.filtering.pixels import Mapper, Tally
from cnncli.filtering.plan import FilterPlan, ResolvedPlan, full_scale, resolve_plan
from cnncli.filters.steps import BankStep, KernelStep, PointStep, PoolStep, RankStep, Step, flattened

if TYPE_CHECKING:
    from cnncli.kernels.image_filter.job import FilterJob

_SMALL = 30_000_000  # products that NumPy does in about the time that loading compiled code takes
_EXACT = 2**24  # whole numbers below it are exact in float32
_WHOLE_STEPS = ("relu", "abs", "threshold", "round", "clip")


def worth_compiling(pixels: NDArray[Any], plan: FilterPlan, resolved: ResolvedPlan, *, wanted: bool) -> bool:
    """Return whether compiled float32 code does this job.

    Matrices stay in float64, as do conventions with their own rounding. Small images are left to NumPy only where
    both ways provably give the same bits: then a first command neither compiles nor loads compiled code.
    """
    if not _compilable(pixels, resolved):
        return False
    if wanted or "cnncli.kernels.image_filter.strip" in sys.modules:
        return True
    return worth_compiling_alone(pixels, plan, resolved)


def worth_compiling_alone(pixels: NDArray[Any], plan: FilterPlan, resolved: ResolvedPlan) -> bool:
    """Do as `worth_compiling` from the picture and the plan alone, so that the result depends on nothing else."""
    if not _compilable(pixels, resolved):
        return False
    if not _exact(plan.steps, plan, resolved, pixels.dtype):
        return True
    steps = tuple(flattened(plan.steps))
    products = sum(step.kernel.numerators.size for step in steps if isinstance(step, KernelStep))
    products += sum(prod(step.size) for step in steps if isinstance(step, RankStep) and step.kind == "median")
    return pixels.size * products > _SMALL


def _compilable(pixels: NDArray[Any], resolved: ResolvedPlan) -> bool:
    return pixels.dtype != np.float64 and resolved.rounding == "rint" and not resolved.copy_border


def _exact(steps: tuple[Step, ...], plan: FilterPlan, resolved: ResolvedPlan, dtype: np.dtype) -> bool:
    """Return whether every value on the way is a whole number that float32 holds, but for a last quotient or root."""
    if dtype.kind != "u" or plan.gray or resolved.dtype != dtype or resolved.range not in ("clip", "abs"):
        return False
    bound = full_scale(dtype)
    for i, step in enumerate(steps):
        members = step.members if isinstance(step, BankStep) else (step,)
        bounds = [_bound_after(member, bound, resolved, i == len(steps) - 1) for member in members]
        if None in bounds:
            return False
        bound = max(value for value in bounds if value is not None)
    return bound < _EXACT


def _bound_after(step: Step, bound: float, resolved: ResolvedPlan, last: bool) -> float | None:
    """Return the largest size of a value after a step on whole numbers, None where some may not be whole."""
    if isinstance(step, KernelStep):
        kernel = resolved.kernel(step.kernel)
        plain = kernel.divisor == 1 and kernel.combine != "magnitude"
        whole = kernel.integral and np.all(kernel.biases == np.rint(kernel.biases)) and kernel.divisor < 2**12
        bound = bound * float(np.abs(kernel.numerators).sum(axis=(1, 2, 3)).max())
        bound += float(np.abs(kernel.biases).max()) * kernel.divisor
        exact = whole and (plain or last) and (kernel.combine != "magnitude" or bound <= _EXACT**0.5)
        return bound if exact else None
    if isinstance(step, PointStep):
        whole = step.kind in _WHOLE_STEPS and all(v == int(v) for v in step.values if np.isfinite(v))
        return bound if whole else None
    return bound if isinstance(step, RankStep) or (isinstance(step, PoolStep) and step.kind == "maxpool") else None


@lru_cache(maxsize=8)
def direct_stage(plan: FilterPlan, shape: tuple[int, int, int], dtype: np.dtype) -> KernelStage | None:
    """Return the only stage of a plan for images of one shape, if compiled code does it from pixels to pixels.

    It holds no image: `run_direct` is given them.

    Raises
    ------
    CnnError
        As `resolve_plan` and `build_stages`.
    """
    step = plan.steps[0] if len(plan.steps) == 1 else None
    if not isinstance(step, KernelStep) or plan.gray or plan.channels is not None or not step.kernel.per_channel:
        return None
    resolved = resolve_plan(plan, dtype)
    if step.kernel.combine == "stack" and step.kernel.filters > 1:
        return None
    if resolved.range == "equalize" or (resolved.range in ("clip", "abs", "shift") and resolved.dtype.kind == "f"):
        return None
    stage = build_stages(np.broadcast_to(np.zeros((), dtype), shape), resolved, True)
    return stage if isinstance(stage, KernelStage) else None


def run_direct(stage: KernelStage, mapper: Mapper, pixels: NDArray[Any], out: NDArray[Any], threads: int) -> Tally:
    """Fill `out` with the values of `stage` for `pixels` and return the tally."""
    kind, white = mapper.resolved.range, full_scale(out.dtype)
    ratio = 1.0 if out.dtype.kind == "f" else white / full_scale(mapper.source)
    if kind == "minmax":
        tally = _tally(_job(stage, False, 1.0, 0.0, float("inf")).run(pixels, None, threads))
        if not np.isfinite(tally.maximum - tally.minimum):
            return tally  # the caller reports it
        mapper.lowest, mapper.highest = tally.minimum, tally.maximum
        scale, shift = mapper.stretch()
        stretched = _job(stage, False, scale, shift, white if out.dtype.kind == "u" else float("inf"))
        return _tally(stretched.run(pixels, out, threads))
    shift = mapper.middle() if kind == "shift" else 0.0
    limit = white if out.dtype.kind == "u" else float("inf")
    tally = _tally(_job(stage, kind == "abs", ratio, shift * ratio, limit).run(pixels, out, threads))
    if limit == float("inf"):
        tally.below = tally.above = 0
    tally.minimum, tally.maximum = tally.minimum / ratio, tally.maximum / ratio
    return tally


def _tally(found: NDArray[np.float64]) -> Tally:
    low, high, below, above = found
    return Tally(float(low), float(high), int(below), int(above))


@lru_cache(maxsize=8)
def _job(stage: KernelStage, absolute: bool, scale: float, shift: float, white: float) -> FilterJob:
    from cnncli.kernels.image_filter.job import FilterJob

    kernel, geometry, source = stage.kernel, stage.geometry, stage.source
    divisor = kernel.divisor
    if 0 < scale < 1 and not shift and (1 / scale).is_integer():
        divisor, scale = divisor / scale, 1.0  # a quotient is rounded once, a product with a fraction twice
    return FilterJob(
        source.shape,
        source.pixels.dtype,  # type: ignore[attr-defined]
        geometry.size,
        stage.row_index,
        stage.column_index,
        geometry.pads[2],
        stage.border.value,
        kernel.numerators[:, 0],
        divisor,
        kernel.biases * kernel.divisor,
        kernel.combine,
        geometry.stride,
        geometry.dilation,
        absolute,
        scale,
        shift,
        white,
    )
