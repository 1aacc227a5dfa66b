"""How much memory a filter will need, asked before anything is allocated."""

from __future__ import annotations

from math import prod

import numpy as np

from cnncli.errors import CnnError
from cnncli.filters.geometry import resolve
from cnncli.filters.steps import GrayStep, KernelStep, PoolStep
from cnncli.shapes import Shape
from cnncli.tasks.filter_plan import FilterPlan, resolve_plan
from cnncli.tasks.free_memory import free_memory

_SHARE = 0.8  # of what is free: the rest is for encoders and everybody else
_SMALL = 64 << 20  # [B] never worth a question


def result_shape(shape: Shape, plan: FilterPlan, dtype: np.dtype) -> Shape:
    """Return (H, W, C) of the result for pixels (H, W, C), in Python's integers.

    Raises
    ------
    ShapeError
        A kernel that is larger than its padded input.
    """
    resolved = resolve_plan(plan, dtype)
    height, width, channels = shape
    if plan.channels is not None:
        channels = len(plan.channels)
    channels = 1 if plan.gray else channels
    for step in plan.steps:
        if isinstance(step, KernelStep):
            kernel = step.kernel
            geometry = resolve(
                (height, width),
                kernel.size,
                resolved.padding,
                stride=plan.stride,
                dilation=plan.dilation,
                keras_same=resolved.keras_same,
            )
            stacked = kernel.filters if kernel.combine == "stack" else 1
            channels = stacked * channels if kernel.per_channel else stacked
            height, width = geometry.size
        elif isinstance(step, PoolStep):
            height, width = resolve((height, width), step.size, step.padding, stride=step.stride).size
        elif isinstance(step, GrayStep):
            channels = 1
    return height, width, channels


def check_memory(shape: Shape, plan: FilterPlan, dtype: np.dtype) -> None:
    """Refuse a filter whose result will not fit into memory.

    Raises
    ------
    CnnError
        With what it needs and what is free.
    """
    size = result_shape(shape, plan, dtype)
    needed = prod(size) * resolve_plan(plan, dtype).dtype.itemsize
    if needed < _SMALL:
        return
    free = free_memory()
    if needed > _SHARE * free:
        text = "x".join(map(str, size))
        message = f"a result of {text} needs {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free"
        raise CnnError(message, hint="use less --padding, --stride 2, or a smaller image")
