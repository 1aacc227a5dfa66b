"""How much memory a filter will need, asked before anything is allocated."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from cnncli.errors import CnnError
from cnncli.filtering.chain import build_stages
from cnncli.filtering.plan import FilterPlan, resolve_plan
from cnncli.filtering.stages import Stage
from cnncli.shapes import Shape
from cnncli.tasks.free_memory import free_memory
from cnncli.threads import available

_SHARE = 0.8  # of what is free: the rest is for encoders and everybody else
_SMALL = 64 << 20  # [B] never worth a question
_ARRAYS = 8  # of a strip in work numbers, in use at a time


@lru_cache(maxsize=64)  # pictures of a batch come in few sizes
def result_shape(shape: Shape, plan: FilterPlan, dtype: np.dtype) -> Shape:
    """Return (H, W, C) of the result for pixels (H, W, C).

    Raises
    ------
    ShapeError
        The plan does not fit the image.
    """
    nothing = np.broadcast_to(np.zeros((), dtype), shape)
    return build_stages(nothing, resolve_plan(plan, dtype), compiled=False).shape


@lru_cache(maxsize=64)
def memory_needed(shape: Shape, plan: FilterPlan, dtype: np.dtype, *, alpha: bool, threads: int | None = None) -> int:
    """Return the bytes that filtering pixels (H, W, C) allocates at most: the result, its opacity and strips.

    Errors as `result_shape`.
    """
    size = result_shape(shape, plan, dtype)
    result = prod(size) * resolve_plan(plan, dtype).dtype.itemsize
    opacity = (prod(size[:2]) + prod(shape[:2])) * dtype.itemsize if alpha else 0
    row = max(shape[1] * shape[2], size[1] * size[2])
    strip = max(Stage.strip_values, row) * 4 * (2 if dtype == np.float64 else 1)
    strips = _ARRAYS * min(strip * (threads or available()), 8 * max(prod(shape), prod(size)))
    return result + opacity + strips


def check_memory(
    shape: Shape,
    plan: FilterPlan,
    dtype: np.dtype,
    *,
    alpha: bool = False,
    threads: int | None = None,
    decoded: bool = True,
) -> None:
    """Refuse a filter that will not fit into memory.

    Parameters
    ----------
    shape : (int, int, int)
        Of the pixels without alpha.
    decoded : bool
        Whether the picture is in memory already; else what it takes, and what decoding it takes, counts as well.

    Raises
    ------
    CnnError
        With what it needs and what is free; ShapeError and UsageError as `result_shape`.
    """
    needed = memory_needed(shape, plan, dtype, alpha=alpha, threads=threads)
    size, what = result_shape(shape, plan, dtype), "a result"
    if not decoded:
        held = prod(shape[:2]) * (shape[2] + alpha) * dtype.itemsize
        # decoders hold 4 bytes per pixel, their samples and a copy of them
        needed, what = max(held + needed, 2 * held + 4 * prod(shape[:2])), "filtering a picture"
        size = (*shape[:2], shape[2] + alpha)
    if needed < _SMALL:
        return
    free = free_memory()
    if needed > _SHARE * free:
        text = "x".join(map(str, size))
        message = f"{what} of {text} needs {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free"
        raise CnnError(message, hint="use less --padding, --stride 2, or a smaller image")
