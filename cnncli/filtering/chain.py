"""From a plan to the chain of stages that computes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import ShapeError
from cnncli.filtering.bank import BankStage
from cnncli.filtering.kernel_stage import KernelStage, WideStage, kernel_geometry
from cnncli.filtering.plan import ResolvedPlan, full_scale
from cnncli.filtering.rank import RankStage
from cnncli.filtering.stages import GrayStage, PointStage, PoolStage, SourceStage, Stage
from cnncli.filters.steps import BankStep, GrayStep, KernelStep, PoolStep, RankStep, Step, WideStep

Rows = NDArray[Any]


def build_stages(pixels: Rows, resolved: ResolvedPlan, compiled: bool) -> Stage:
    """Return the last stage of the chain of `resolved` on `pixels`.

    Parameters
    ----------
    compiled : bool
        Kernels in compiled code and float32; else in NumPy and float64.

    Raises
    ------
    ShapeError
        A kernel or pool larger than what it reads; channel counts that do not fit.
    UsageError
        A kernel that cannot be scaled.
    """
    plan = resolved.plan
    if plan.channels is not None and max(plan.channels, default=0) >= pixels.shape[2]:
        raise ShapeError(f"channel {max(plan.channels)} of an image with {pixels.shape[2]} channels (counted from 0)")
    stage: Stage = SourceStage(pixels, plan.channels, _work_type(pixels, resolved, compiled), resolved.factor)
    if plan.gray:
        stage = GrayStage(stage, plan.gray)
    for step in plan.steps:
        stage = _stage(stage, step, resolved, full_scale(pixels.dtype), compiled)
    kernels = stage.members if isinstance(stage, BankStage) else (stage,)
    if _like_pillow(pixels.dtype, resolved) and resolved.range == "clip":
        ends = [kernel for kernel in kernels if isinstance(kernel, KernelStage)]
        for end in ends if len(ends) == len(kernels) else []:
            end.rounding_start = 0.5
    return stage


def rounding_start(last: Stage) -> float:
    """Return what the values of the last stage hold already for rounding."""
    ends = last.members if isinstance(last, BankStage) else (last,)
    return min((end.rounding_start for end in ends if isinstance(end, KernelStage)), default=0.0)


def _work_type(pixels: Rows, resolved: ResolvedPlan, compiled: bool) -> np.dtype:
    """Return the type of the numbers between steps: float32 in compiled code and where the convention asks for it."""
    return np.dtype(np.float32 if compiled or _like_pillow(pixels.dtype, resolved) else np.float64)


def _like_pillow(dtype: np.dtype, resolved: ResolvedPlan) -> bool:
    return resolved.copy_border and dtype != np.float64


def _stage(
    source: Stage, step: Step, resolved: ResolvedPlan, white: float, compiled: bool, bias: float | None = None
) -> Stage:
    if isinstance(step, BankStep):
        kernels = [i for i, member in enumerate(step.members) if isinstance(member, KernelStep | WideStep)]
        biases: dict[int, float] = {}
        if isinstance(resolved.plan.bias, tuple) and len(resolved.plan.bias) == len(kernels) > 1:
            biases = dict(zip(kernels, resolved.plan.bias, strict=True))
        members = [
            _stage(source, member, resolved, white, compiled, biases.get(i)) for i, member in enumerate(step.members)
        ]
        return BankStage(members, step.texts)
    if isinstance(step, KernelStep):
        geometry = kernel_geometry(source.shape, step.kernel, resolved)
        kernel = resolved.kernel(step.kernel, bias)
        return KernelStage(source, kernel, geometry, resolved.border, resolved.copy_border, compiled)
    if isinstance(step, WideStep):
        return _wide(source, step, resolved, compiled, bias)
    if isinstance(step, PoolStep):
        return PoolStage(source, step)
    if isinstance(step, RankStep):
        return RankStage(source, step, resolved, compiled)
    if isinstance(step, GrayStep):
        return GrayStage(source, step.method)
    return PointStage(source, step, white)


def _wide(source: Stage, step: WideStep, resolved: ResolvedPlan, compiled: bool, bias: float | None) -> WideStage:
    """Return the two stages of a wide blur: what concerns rows in the first, what concerns columns in the second."""
    plan, padding = resolved.plan, resolved.padding
    parts = []
    for axis in (0, 1):
        stride, dilation = ((pair[0], 1) if axis == 0 else (1, pair[1]) for pair in (plan.stride, plan.dilation))
        pads = padding
        if not isinstance(padding, str):
            pads = (*padding[:2], 0, 0) if axis == 0 else (0, 0, *padding[2:])
        parts.append(replace(resolved, plan=replace(plan, stride=stride, dilation=dilation), padding=pads))
    geometry = kernel_geometry(source.shape, step.column, parts[0])
    column = KernelStage(source, step.column, geometry, resolved.border, False, compiled)
    geometry = kernel_geometry(column.shape, step.row, parts[1])
    return WideStage(column, resolved.kernel(step.row, bias), geometry, resolved.border, False, compiled)
