"""Minimum, maximum and median of a window as a stage: values are picked, never computed, so all of it is exact."""

from __future__ import annotations

import ctypes
import math
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.arguments import Operand, pack
from cnncli.compute.host import LANES
from cnncli.compute.store import Routine, routine
from cnncli.filtering.plan import ResolvedPlan
from cnncli.filtering.stages import SourceStage, Stage, WindowStage
from cnncli.filters.geometry import resolve
from cnncli.filters.steps import RankStep
from cnncli.kernels.image_filter import with_numpy as arithmetic
from cnncli.shapes import Pair

Rows = NDArray[Any]
_NETWORKS = {"uint8": (3, 5, 7, 9), "uint16": (3, 5, 7), "float32": (3, 5, 7), "float64": (3, 5)}  # sides of squares
_LONGEST_EXTREME = 31  # rows or columns of a window; more are done in a logarithmic number of passes
_NUMPY_EXCHANGED = 25
_SMALL = 20_000_000  # values to look at that NumPy is done with in about the time that loading compiled code takes
_WHOLE = 65536  # whole numbers below it are their own ranks
_NUMBERS = ("uint8", "uint16", "float32", "float64")
_OWN_STRIP_BYTES = 1 << 21  # of a strip of pixels as they are


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

    def rows(self, first: int, last: int) -> Rows:
        """Return the values of these rows."""
        return self.filled(first, last, None)

    def filled(self, first: int, last: int, out: Rows | None) -> Rows:
        """Do as `rows`, in `out` (contiguous) where it is given."""
        block, places = self.source_rows(first, last)
        if self._is_for_exchanges(block.dtype):
            dense = self._by_exchange(block, places, self.column_index, out)
        else:
            padded = arithmetic.pad(block, places, self.column_index, self.border.value)
            dense = self.picked(padded, last - first)
        dense = dense[:: self.geometry.stride[0]] if len(dense) != last - first else dense
        dense = dense[:, :: self.geometry.stride[1]] if dense.shape[1] != self.shape[1] else dense
        if out is not None and dense is not out:
            out[:] = dense[: last - first, : self.shape[1]]
        return dense[: last - first, : self.shape[1]]

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
        size, stride, dilation = self.geometry.kernel, self.geometry.stride, self.geometry.dilation
        if weights is None and self._is_for_exchanges(padded.dtype):
            rows, columns = (np.arange(n) for n in padded.shape[:2])
            dense = self._by_exchange(padded, rows, columns, None)
        elif self.kind != "median":
            ufunc = np.minimum if self.kind == "minimum" else np.maximum
            dense = _extremes(_extremes(padded, size[0], dilation[0], 0, ufunc), size[1], dilation[1], 1, ufunc)
        elif weights is None and size[0] * size[1] <= _NUMPY_EXCHANGED and size[0] * size[1] % 2:
            dense = _exchanged(padded, size, dilation)
        else:
            dense = _by_counting(padded, size, dilation, weights)
        return dense[:: stride[0], :: stride[1]][:height, : self.shape[1]]

    def _is_for_exchanges(self, dtype: np.dtype) -> bool:
        """Return whether there is compiled code for the window; for the median each size needs code of its own."""
        size = self.geometry.kernel
        if not self.compiled or dtype.name not in _NUMBERS:
            return False
        if self.kind != "median":
            return max(size) <= _LONGEST_EXTREME
        return size[0] == size[1] and size[0] in _NETWORKS[dtype.name]

    def _by_exchange(self, block: Rows, rows: NDArray[np.int64], columns: NDArray[np.int64], out: Rows | None) -> Rows:
        """Return the value of every window, without strides, by compiled exchanges.

        Parameters
        ----------
        block : ndarray, shape (H, W, C)
        rows, columns : ndarray of int64
            For each padded row and column that of `block`, -1 for the constant of the border.
        out : ndarray, optional
            Where the result may go.
        """
        size, dilation, channels = self.geometry.kernel, self.geometry.dilation, block.shape[2]
        number, lanes = _NUMBERS.index(block.dtype.name), 4 * LANES // block.itemsize
        height, width = (len(n) - d * (k - 1) for n, d, k in zip((rows, columns), dilation, size, strict=True))
        left = self.geometry.pads[2] if columns is self.column_index else 0
        is_whole = np.array_equal(columns[left : left + block.shape[1]], np.arange(block.shape[1]))
        if not is_whole or min(block.shape[1], width) * channels < lanes:  # whole vectors are read and written
            padded = arithmetic.pad(block, rows, columns, self.border.value)
            spare = np.zeros((len(rows), -(-lanes // channels), channels), block.dtype)
            padded = np.concatenate([padded, spare], axis=1)
            rows, columns = (np.arange(n) for n in padded.shape[:2])
            return self._by_exchange(padded, rows, columns, None)[:, :width]
        x = np.ascontiguousarray(block)
        row = x[:1].ravel()
        constant = np.full_like(row, self.border.value if (rows < 0).any() or (columns < 0).any() else 0)
        table = np.where(rows >= 0, x.ctypes.data + rows * row.nbytes, constant.ctypes.data)
        shape = (height, width, channels)
        y = out if out is not None and out.shape == shape and out.flags.c_contiguous else np.empty(shape, x.dtype)
        planes = size[0] if self.kind == "median" else 1
        scratch = np.empty(planes * len(columns) * channels, x.dtype)
        middle, extreme = ("rank.middle", *size, number), ("rank.extreme", int(self.kind == "maximum"), number)
        _call(
            routine(*(middle if self.kind == "median" else extreme)),
            table=table,
            places=columns,
            padded=len(columns),
            left=left,
            constant=float(constant[0]),
            y=y.ctypes.data,
            scratch=scratch.ctypes.data,
            planes=planes,
            rows=height,
            length=row.size,
            out_length=width * channels,
            channels=channels,
            window_rows=size[0],
            window_columns=size[1],
            row_step=dilation[0],
            column_step=dilation[1] * channels,
        )
        del scratch, x, constant  # until here
        return y


def in_own_type(stage: Stage, resolved: ResolvedPlan) -> RankStage | None:
    """Return a chain of minima, maxima and medians on the pixels as they are, None where anything else is asked for.

    Values that are only picked need no conversion to floats and none back.
    """
    if not isinstance(stage, RankStage):
        return None
    if stage.border.kind == "constant" and not _holds(resolved.dtype, stage.border.value):
        return None
    source: Stage | None = stage.source
    if isinstance(source, SourceStage):
        dtype = source.pixels.dtype
        ranges = ("clip", "abs") if dtype.kind == "u" else ("raw",)
        plain = resolved.dtype == dtype and resolved.range in ranges and resolved.factor == 1
        if not plain or resolved.copy_border or source.channels is not None or dtype.name not in _NUMBERS:
            return None
        source = SourceStage(source.pixels, None, dtype)
    else:
        source = in_own_type(stage.source, resolved)
    if source is None:
        return None
    own = copy(stage)
    own.source = source
    if own._is_for_exchanges(resolved.dtype):  # counting takes 8 bytes and more for each value
        own.strip_values = _OWN_STRIP_BYTES // resolved.dtype.itemsize
    return own


def _holds(dtype: np.dtype, value: float) -> bool:
    """Return whether a type of pixels holds a number as it is."""
    if dtype.kind == "u":
        return float(value).is_integer() and 0 <= value <= np.iinfo(dtype).max
    return float(dtype.type(value)) == value


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


def _exchanged(padded: Rows, size: Pair, dilation: Pair) -> Rows:
    """Return the medians of small windows, by exchanges of whole arrays.

    Of n/2 + 2 values the least and the largest cannot be the middle of all n: they are dropped, the next value joins,
    and so on until three are left (Devillard 1998, "Fast median search").
    """
    height, width = (n - d * (k - 1) for n, d, k in zip(padded.shape, dilation, size, strict=False))
    corners = [(i * dilation[0], j * dilation[1]) for i in range(size[0]) for j in range(size[1])]
    taps = [padded[i : i + height, j : j + width] for i, j in corners]
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
        routine("rank.middle_by_counting"),
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


def _call(kernel: Routine, **given: NDArray[Any] | int | float) -> None:
    """Run a kernel without numbers of the program's type once, on the thread of the caller."""
    code = kernel.code()
    operands = {key: Operand(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    words, arrays = pack(code.takes, operands, kernel.name)
    packed = np.array([1, *words], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code.address)(packed.ctypes.data, 0, 0)
    del arrays  # until here
