"""Lay out one filter job for compiled code: taps, passes, blocks that fit the cache, scratch."""

from __future__ import annotations

import ctypes
import itertools
import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.arguments import Operand, pack
from cnncli.compute.host import LANES
from cnncli.compute.store import routine
from cnncli.kernels.image_filter import arguments as code
from cnncli.kernels.image_filter.fused_job import FusedLayout
from cnncli.kernels.image_filter.fused_weights import fused_weights
from cnncli.shapes import Pair

_STRIP = 32
_FILTER_STRIP = routine("image_filter.strip.filter_strip")
_STREAMED = 32 << 20  # results of this size do not stay in a cache anyway
Matrix: TypeAlias = NDArray[np.float64]

_CACHE_BYTES = 400 << 10  # of one block of rows: about half of a core's second-level cache
_COUNTABLE = 2**53  # whole numbers below are those that float64 holds
_COMBINE = {"stack": code.STACK, "magnitude": code.MAGNITUDE, "maximum": code.MAXIMUM}


@dataclass(frozen=True, eq=False)
class FilterJob:
    """One or several two-dimensional filters on every channel of an image.

    The value of a pixel is ``post_scale * g((sum(numerators * window) + start) / divisor) + post_shift`` with g the
    absolute value where `absolute`.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns, channels of the images.
    dtype : numpy dtype
        Of the images: uint8, uint16 or float32.
    size : (int, int)
        Rows and columns of the results.
    rows, columns : ndarray of int64
        For each padded row and column the source row and column, -1 for `constant`.
    left : int
        Padded columns before the first column of the image.
    numerators : ndarray, shape (F, KH, KW)
    starts : ndarray, shape (F,)
        Bias times divisor.
    combine : str
        ``stack`` (F = 1), ``magnitude`` or ``maximum``.
    white : float
        Values above it are counted as clipped.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    size: Pair
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    left: int
    constant: float
    numerators: Matrix
    divisor: float
    starts: NDArray[np.float64]
    combine: str
    stride: Pair
    dilation: Pair
    absolute: bool = False
    post_scale: float = 1.0
    post_shift: float = 0.0
    white: float = float("inf")
    _spare: dict[tuple[np.dtype, int], FusedLayout] = field(default_factory=dict, init=False, repr=False)

    def run(self, source: NDArray[Any], out: NDArray[Any] | None, threads: int) -> NDArray[np.float64]:
        """Fill `out` (uint8, uint16 or float32, shape (OH, OW, C), contiguous; None only counts) and return the tally.

        What is laid out for an image serves the next one, too.

        Returns
        -------
        ndarray, shape (4,)
            Smallest value, largest value, how many below -0.5, how many from `white` + 0.5 on.
        """
        source = np.ascontiguousarray(source)
        if out is not None:
            key = out.dtype, threads
            layout = self._spare.pop(key, None)  # nobody else has it meanwhile
            if layout is None:
                layout = self._fused(out.dtype, threads)
            if layout is not None:
                layout.point_at(source, out)
                tally = _run(layout)
                self._spare[key] = layout
                if layout.form != code.PAIRED or np.isfinite(tally[:2]).all():
                    return tally
                # a difference of finite values may be none: once more without differences
                layout = self._fused(out.dtype, threads, paired=False)
                if layout is not None:
                    layout.point_at(source, out)
                    return _run(layout)
        with np.errstate(over="ignore"):  # an infinite weight shows in the result, which the caller checks
            return _run(_Layout(self, source, out, threads))

    def _fused(self, out: np.dtype, threads: int, *, paired: bool = True) -> FusedLayout | None:
        """Return the layout for the fused code, None where it cannot do the job."""
        with np.errstate(over="ignore"):
            steps, _, _ = _choose_passes(self.numerators, self.stride[0], self.dilation[0])
            weights = fused_weights(self, out, len(steps[0]), paired=paired)
            return None if weights is None else FusedLayout(self, out, weights, threads)


class _Layout:
    """Everything the compiled code points at, kept alive for the call."""

    def __init__(self, job: FilterJob, source: NDArray[Any], out: NDArray[Any] | None, threads: int) -> None:
        (_, width, channels), size = job.shape, job.size
        filters, kernel_rows, kernel_columns = job.numerators.shape
        reach = [d * (k - 1) + 1 for d, k in zip(job.dilation, (kernel_rows, kernel_columns), strict=True)]
        halo = reach[1] - 1
        self.steps, group, cycles = _choose_passes(job.numerators, job.stride[0], job.dilation[0])
        slack = 8 * LANES
        strip = _STRIP
        rows_held = (strip - 1) * job.stride[0] + reach[0]
        while strip > group and rows_held * (halo * channels + 256) * 4 > _CACHE_BYTES:
            strip //= 2
            rows_held = (strip - 1) * job.stride[0] + reach[0]
        pixels = max(_CACHE_BYTES // (4 * rows_held * channels) - halo, 64)
        block = max(pixels // job.stride[1], 1)
        if block >= 128:
            block -= block % 128
        block = min(block, size[1])
        pitch = (((block - 1) * job.stride[1] + 1 + halo) * channels + slack + 15) // 16 * 16
        # a thread that has less than about two million cycles to do costs more than it saves
        work = size[0] * size[1] * channels * (cycles + 12) / LANES
        self.threads = max(1, min(threads, -(-size[0] // strip), int(work / 2e6)))
        self.tasks = -(-size[0] // strip)
        scratch_rows = rows_held + group + filters * group
        scratch_step = 4 * pitch * (scratch_rows + 1) + 256
        scratch_step += -scratch_step % 64
        scratch = np.zeros(self.threads * scratch_step + 64, np.uint8)
        scratch = scratch[-scratch.ctypes.data % 64 :][: self.threads * scratch_step].view(np.float32)
        self.tally = np.zeros((self.tasks, 4))
        self.tally[:, 0], self.tally[:, 1] = np.inf, -np.inf
        self._passes(job, pitch, channels, group)
        rows, columns = map(np.ascontiguousarray, (job.rows, job.columns))
        record = code.Job(
            source=_address(source), source_row=width * channels, source_kind=code.KINDS[source.dtype.name],
            row_index=Operand(rows), column_index=Operand(columns),
            width=width, channels=channels, left=job.left,
            out=0 if out is None else _address(out), out_row=size[1] * channels,
            out_kind=code.NOTHING if out is None else code.KINDS[out.dtype.name],
            out_height=size[0], out_width=size[1],
            stride_y=job.stride[0], stride_x=job.stride[1], reach_y=reach[0], reach_x=reach[1],
            strip=strip, block=block, group=group,
            passes=Operand(self.passes), filters=filters, combine=_COMBINE[job.combine],
            absolute=job.absolute, quotient=job.divisor != 1,
            streamed=out is not None and out.nbytes > _STREAMED,
            scratch=Operand(scratch, worker_step=scratch_step // 4), block_rows=rows_held, pitch=pitch,
            tally=Operand(self.tally, task_step=4), starts=Operand(job.starts.astype(np.float32)),
            constant=job.constant, divisor=job.divisor, post_scale=job.post_scale, post_shift=job.post_shift,
            white=job.white,
        )  # fmt: skip
        self.code = _FILTER_STRIP.code()
        words, self.arrays = pack(self.code.takes, {"job": record}, _FILTER_STRIP.name)
        self.words = np.array([1, *words], np.int64)
        self.keep = (source, out)

    def _passes(self, job: FilterJob, pitch: int, channels: int, group: int) -> None:
        """Write the table of passes: for each filter how many and where, then the words of each."""
        filters = len(self.steps)
        self.tables: list[NDArray[Any]] = []
        header: list[int] = []
        words: list[int] = []
        step_y, step_x = job.dilation[0] * pitch, job.dilation[1] * channels
        for steps in self.steps:
            header += [len(steps), 2 * filters]
            for step in steps:
                places, weights, ends, shape = step.taps(step_y, step_x, job.stride[0] * pitch, group)
                self.tables += [places, weights, ends]
                addresses = [_address(ends), _address(places), _address(weights)]
                words += [shape, *addresses, step.source, step.target, step.more]
        self.passes = np.array(header + words, np.int64)


def _run(layout: _Layout | FusedLayout) -> NDArray[np.float64]:
    """Call the compiled code for every strip; ctypes lets go of Python's lock meanwhile."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(layout.code.address)
    words, turn = _address(layout.words), itertools.count()

    def work(worker: int) -> None:
        while (task := next(turn)) < layout.tasks:
            call(words, task, worker)

    # the caller works as well: it would only wait for the others to be woken
    others = [_helpers(os.getpid(), layout.threads).submit(work, worker) for worker in range(1, layout.threads)]
    try:
        work(0)
    except BaseException:
        turn = itertools.count(layout.tasks)  # nobody begins another strip
        raise
    finally:
        wait(others)
    for other in others:
        other.result()
    tally = layout.tally
    return np.array([tally[:, 0].min(), tally[:, 1].max(), tally[:, 2].sum(), tally[:, 3].sum()])


@cache
def _helpers(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads beside the caller, one set for each process: those of its parent do not run in it."""
    del process
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="cnn-filter")


@dataclass(frozen=True, eq=False)
class _Step:
    """One pass: a matrix of weights, from the block (0) or the rows between (1), to those (0) or the response (1)."""

    matrix: Matrix
    source: int
    target: int
    more: int

    def taps(
        self, step_y: int, step_x: int, row_step: int, group: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], int]:
        """Return offsets and weights of the taps, the end of each segment, and which shape of tile sums them."""
        rows = group if self.source == 0 else 1
        places: dict[int, NDArray[np.float32]] = {}
        for i, j in np.argwhere(self.matrix):
            for row in range(rows):
                place = int(i) * step_y + int(j) * step_x + row * row_step
                places.setdefault(place, np.zeros(rows, np.float32))[row] += self.matrix[i, j]
        if not places:
            places[0] = np.zeros(rows, np.float32)
        parts: list[list[int]] = [[] for _ in code.segments(rows)]
        for place in sorted(places):
            parts[code.segment(np.flatnonzero(places[place]).tolist(), rows)].append(place)
        order = [place for part in parts for place in part]
        shape = {code.TALL[0]: 0, code.LOW[0]: 1, 1: 2}[rows]
        ends = np.cumsum([len(part) for part in parts])
        return np.array(order, np.int64), np.concatenate([places[place] for place in order]), ends, shape

    def cost(self, group: int, stride: int, dilation: int) -> float:
        """Return about how many cycles a vector of responses takes, from the loads and products of each tap."""
        if self.source == 1:
            return float(np.count_nonzero(self.matrix)) + 2
        columns = {code.TALL[0]: code.TALL[1], code.LOW[0]: code.LOW[1], 1: code.SINGLE[1]}[group]
        height, width = self.matrix.shape
        used = np.zeros((group, height * dilation + group * stride, width), bool)
        for row in range(group):
            used[row, row * stride : row * stride + height * dilation : dilation] = self.matrix != 0
        taps = used.reshape(group, -1)[:, used.any(axis=0).ravel()]
        first, last = taps.argmax(axis=0), group - 1 - taps[::-1].argmax(axis=0)
        active = np.where(first == 0, last + 1, np.where(last == group - 1, group - first, group))
        return float(np.maximum(active / 2, 1 + active / columns).sum()) / group


def _choose_passes(numerators: Matrix, stride: int, dilation: int) -> tuple[list[list[_Step]], int, float]:
    """Return what `_cheapest_passes` says, remembered for the many images of a batch."""
    return _cheapest_passes(numerators.tobytes(), numerators.shape, stride, dilation)


@lru_cache(maxsize=64)
def _cheapest_passes(
    data: bytes, shape: tuple[int, int, int], stride: int, dilation: int
) -> tuple[list[list[_Step]], int, float]:
    """Return for each filter its passes, how many output rows are summed together, and the cycles for a vector."""
    numerators = np.frombuffer(data).reshape(shape)
    best: tuple[float, list[list[_Step]], int] = (float("inf"), [], 1)
    split = [_factors(matrix) for matrix in numerators]
    for group in sorted({code.TALL[0], code.LOW[0], 1}):
        total, chosen = 0.0, []
        for matrix, factors in zip(numerators, split, strict=True):
            ways = [[_Step(matrix, 0, 1, 0)]]
            if factors:
                ways.append(
                    [
                        step
                        for i, (column, row) in enumerate(factors)
                        for step in (_Step(column[:, None], 0, 0, 0), _Step(row[None, :], 1, 1, int(i > 0)))
                    ]
                )
            costs = [sum(step.cost(group, stride, dilation) for step in way) for way in ways]
            cheapest = int(np.argmin(costs))
            total += costs[cheapest]
            chosen.append(ways[cheapest])
        if total < best[0]:
            best = (total, chosen, group)
    return best[1], best[2], best[0]


def _factors(matrix: Matrix) -> list[tuple[Matrix, Matrix]]:
    """Return (column, row) pairs whose outer products add up to `matrix`; empty where more than three are needed.

    Whole numbers are only split into whole numbers, so that their sums stay exact.
    """
    if min(matrix.shape) < 2 or not matrix.any():
        return []
    if np.all(matrix == np.rint(matrix)) and np.abs(matrix).max() < _COUNTABLE:
        row = matrix[np.argmax(np.abs(matrix).max(axis=1))]
        row = row / np.gcd.reduce(np.abs(row).astype(np.int64))
        pivot = int(np.argmax(np.abs(row)))
        column = matrix[:, pivot] / row[pivot]
        exact = np.array_equal(np.outer(column, row), matrix) and np.array_equal(column, np.rint(column))
        return [(column, row)] if exact else []
    left, values, right = np.linalg.svd(matrix)
    rank = int(np.count_nonzero(values > 1e-8 * values[0]))
    if rank > 3:
        return []
    return [(left[:, i] * np.sqrt(values[i]), right[i] * np.sqrt(values[i])) for i in range(rank)]


def _address(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)
