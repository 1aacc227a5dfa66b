"""Minimum, maximum and median of a window as a stage: values are picked, never computed, so all of it is exact."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.arguments import Operand, pack
from cnncli.compute.host import LANES
from cnncli.compute.store import routine
from cnncli.filtering.plan import ResolvedPlan
from cnncli.filtering.stages import Stage, WindowStage
from cnncli.filters.geometry import resolve
from cnncli.filters.steps import RankStep
from cnncli.kernels.image_filter import with_numpy as arithmetic
from cnncli.shapes import Pair

Rows = NDArray[Any]
_EXCHANGED = 25  # values of a window; more are counted
_SMALL = 20_000_000  # values to look at that NumPy is done with in about the time that loading compiled code takes
_WHOLE = 65536  # whole numbers below it are their own ranks


class RankStage(WindowStage):
    """The least, the largest or the middle value of each window, channel by channel.

    The middle one of n values is that of rank n//2, counted from 0: of an even number the upper one of the two.
    """

    strip_values = 1 << 18

    def __init__(self, source: Stage, step: RankStep, resolved: ResolvedPlan, compiled: bool) -> None:
        geometry = resolve(
            source.shape[:2],
            step.size,
            resolved.padding,
            stride=resolved.plan.stride,
            dilation=resolved.plan.dilation,
            late_anchor=(resolved.late_anchor, resolved.late_anchor),
            what="window",
        )
        super().__init__(source, geometry, resolved.border, source.shape[2])
        self.kind = step.kind
        self.compiled = compiled or math.prod((*source.shape, *step.size)) > _SMALL

    def respond(self, block: Rows, places: NDArray[np.int64], height: int) -> Rows:
        """Return the value of each window."""
        return self.picked(arithmetic.pad(block, places, self.column_index, self.border.value), height)

    def picked(self, padded: Rows, height: int, weights: NDArray[np.int64] | None = None) -> Rows:
        """Return the value of each window of `padded`, which holds the border already.

        Parameters
        ----------
        padded : ndarray, shape (PH, PW, C)
        height : int
            Rows of the result.
        weights : ndarray of int64, shape (PH, PW), optional
            For the median: the value up to which more than half of the weight lies; NaN where there is none.
        """
        size, stride = self.geometry.kernel, self.geometry.stride
        if self.kind != "median":
            ufunc = np.minimum if self.kind == "minimum" else np.maximum
            dense = _extremes(_extremes(padded, size[0], self.geometry.dilation[0], 0, ufunc), size[1],
                              self.geometry.dilation[1], 1, ufunc)  # fmt: skip
        elif weights is None and size[0] * size[1] <= _EXCHANGED and size[0] * size[1] % 2:
            dense = _by_exchange(padded, size, self.geometry.dilation, self.compiled)
        else:
            dense = _by_counting(padded, size, self.geometry.dilation, weights)
        return dense[:: stride[0], :: stride[1]][:height, : self.shape[1]]


def _extremes(values: Rows, length: int, step: int, axis: int, ufunc: np.ufunc) -> Rows:
    """Return the extreme of every `length` values that lie `step` apart, in about log2(length) passes."""
    done, whole = 1, values.shape[axis] - (length - 1) * step

    def part(first: int, count: int) -> tuple[slice, ...]:
        return (slice(None),) * axis + (slice(first, first + count),)

    while 2 * done <= length:
        count = values.shape[axis] - done * step
        values = ufunc(values[part(0, count)], values[part(done * step, count)])
        done *= 2
    return np.asarray(ufunc(values[part(0, whole)], values[part((length - done) * step, whole)]))


def _by_exchange(padded: Rows, size: Pair, dilation: Pair, compiled: bool) -> Rows:
    """Return the medians of small windows."""
    height, width = (n - d * (k - 1) for n, d, k in zip(padded.shape, dilation, size, strict=False))
    channels = padded.shape[2]
    taps = [(i * dilation[0], j * dilation[1]) for i in range(size[0]) for j in range(size[1])]
    if not compiled:
        return _exchanged([padded[i : i + height, j : j + width] for i, j in taps])
    row, length = padded.shape[1] * channels, width * channels
    room = -(-length // LANES) * LANES
    flat = np.empty(padded.size + 2 * LANES, padded.dtype)
    flat[: padded.size] = padded.ravel()
    places = [i * row + j * channels for i, j in taps]
    y = np.empty((height, room), padded.dtype)
    _call(
        "rank.middle_by_exchange",
        padded.dtype.name,
        x=flat,
        y=y,
        kept=np.empty((len(places) // 2 + 2) * LANES, padded.dtype),
        places=np.array(places, np.int64),
        count=len(places),
        rows=height,
        length=length,
        x_step=row,
        y_step=room,
    )
    return y[:, :length].reshape(height, width, channels)


def _exchanged(taps: list[Rows]) -> Rows:
    """Return the element-wise median of arrays as `middle_by_exchange` does."""
    kept = [tap.copy() for tap in taps[: len(taps) // 2 + 2]]
    spare = np.empty_like(kept[0])

    def exchange(i: int, j: int) -> None:
        nonlocal spare
        np.minimum(kept[i], kept[j], out=spare)
        np.maximum(kept[i], kept[j], out=kept[j])
        kept[i], spare = spare, kept[i]

    for tap in taps[len(kept) :]:
        last = len(kept) - 1
        for i in range(len(kept) // 2):
            exchange(i, last - i)
        for i in range(1, last // 2 + 1):
            exchange(0, i)
        for i in range(len(kept) // 2, last):
            exchange(i, last)
        kept.pop()
        kept[0][:] = tap
    for i, j in ((0, 1), (1, 2), (0, 1)) if len(kept) == 3 else ((0, 1),) if len(kept) == 2 else ():
        exchange(i, j)
    return kept[len(kept) // 2]


def _by_counting(padded: Rows, size: Pair, dilation: Pair, weights: NDArray[np.int64] | None) -> Rows:
    """Return the medians of windows of any size, weighted or not."""
    ranks, values = _ranked(padded)
    height, width = (n - d * (k - 1) for n, d, k in zip(padded.shape, dilation, size, strict=False))
    middle = np.empty((height, width, padded.shape[2]), np.int64)
    top = len(values) if values is not None else int(ranks.max(initial=0)) + 1
    for a in range(dilation[0]):
        for b in range(dilation[1]):
            which = np.s_[a :: dilation[0], b :: dilation[1]]
            if middle[which].size:
                share = None if weights is None else np.ascontiguousarray(weights[which])
                middle[which] = _counted(np.ascontiguousarray(ranks[which]), size, top, share)
    result = middle.astype(padded.dtype) if values is None else values[middle]
    if weights is not None:
        result[middle < 0] = np.nan
    return result


def _ranked(values: Rows) -> tuple[NDArray[np.int64], Rows | None]:
    """Return the rank of every value, and the values by rank, None where whole numbers are their own ranks."""
    if values.min(initial=0) >= 0 and values.max(initial=0) < _WHOLE:
        whole = values.astype(np.int64)
        if np.array_equal(whole, values):
            return whole, None
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.reshape(values.shape).astype(np.int64, copy=False), distinct


def _counted(ranks: NDArray[np.int64], size: Pair, top: int, weights: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the rank in the middle of each window; `ranks` are below `top`."""
    height, width, channels = ranks.shape[0] - size[0] + 1, ranks.shape[1] - size[1] + 1, ranks.shape[2]
    levels = max(1, math.ceil(math.log(top, 16) - 1e-9))
    y = np.empty((height, width, channels), np.int64)
    _call(
        "rank.middle_by_counting",
        "float32",  # it has no numbers of the program's type
        ranks=ranks,
        y=y,
        weights=np.ones(1, np.int64) if weights is None else weights,
        counts=np.zeros(sum(16**level for level in range(1, levels + 1)), np.int64),
        levels=levels,
        rows=height,
        columns=width,
        channels=channels,
        window_rows=size[0],
        window_columns=size[1],
        weight_step=int(weights is not None),
    )
    return y


def _call(name: str, dtype: str, **given: NDArray[Any] | int) -> None:
    """Run a kernel once, on the thread of the caller."""
    code = routine(name).code(dtype)
    operands = {key: Operand(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    words, arrays = pack(code.takes, operands, name)
    packed = np.array([1, *words], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code.address)(packed.ctypes.data, 0, 0)
    del arrays  # until here
