"""Lay out a filter job for the fused code: ring of rows, blocks of columns, scratch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.arguments import Operand, pack
from cnncli.compute.host import LANES
from cnncli.compute.store import routine
from cnncli.kernels.image_filter import arguments as code
from cnncli.kernels.image_filter.fused_weights import Weights

if TYPE_CHECKING:
    from cnncli.kernels.image_filter.job import FilterJob

_WHITE = 65535.0  # of whole numbers
_RING_BYTES = 100 << 10  # of the rows a group reads, converted: they share the second-level cache with the image
_PICTURES = slice(1, 1 + len(("source", "out")))  # words that change from picture to picture: the first of a FusedJob
_ELEMENT = {code.FLOATS: 4, code.NARROW: 1, code.WIDE: 4}  # bytes of one number of a unit
_DIRECT_BYTES = 384 << 10  # of the rows a group reads where they are


class FusedLayout:
    """Everything the fused code points at but the pixels: for many images of one shape, one after the other.

    Parameters
    ----------
    job : FilterJob
    out : numpy dtype
        Of the results.
    weights : Weights
    threads : int
        At most.
    """

    def __init__(self, job: FilterJob, out: np.dtype, weights: Weights, threads: int) -> None:
        (height, width), channels, source = job.size, job.shape[2], job.dtype
        reach_y, reach_x = (d * (k - 1) + 1 for d, k in zip(job.dilation, job.numerators.shape[1:], strict=True))
        self.form = weights.form
        rows, per_unit = weights.group, weights.rows_per_unit
        element = _ELEMENT[weights.arithmetic]
        units = ((rows - 1) * job.stride[0] + reach_y - 1) // per_unit + 1
        units += -units % weights.units_per_tap
        if weights.form == code.PAIRED:
            units = code.STREAMS * (weights.rows + (reach_y + 1) // 2 - 1)
        is_direct = source == np.float32 or weights.arithmetic == code.NARROW
        is_large = source == np.float32 or weights.form == code.PAIRED
        self.edges = _edges(width, channels, weights.arithmetic, units * element, reach_x - 1, is_direct, is_large)
        widest = int(np.diff(self.edges).max()) + reach_x - 1
        slot_bytes = (widest * channels * element + 4 * LANES + 127) // 64 * 64  # `_settle` reads on
        strip = _strip(height, rows, reach_y, threads)
        self.tasks = -(-height // strip)
        work = height * width * channels * (weights.units.size / rows + 12) / LANES
        # a thread that has less than about two million cycles to do costs more than it saves
        self.threads = max(1, min(threads, self.tasks, int(work / 2e6)))
        columns = code.FUSED_TILES[weights.arithmetic][1]
        words = 5 * LANES // 2 + 4 + rows * columns * (1 + LANES // 2) + units + rows
        worker = 8 * words + 64 + units * slot_bytes + 2 * widest * channels + 64
        worker += -worker % 64
        scratch = np.zeros(self.threads * worker + 64, np.uint8)
        scratch = scratch[-scratch.ctypes.data % 64 :][: self.threads * worker].view(np.float32)
        self.tally = np.zeros((self.tasks, 4))
        row_index, column_index = map(np.ascontiguousarray, (job.rows, job.columns))
        kind = code.KINDS[out.name]
        column_step = job.dilation[1] * channels * element
        taps = [weights.weights, weights.rests] if weights.arithmetic == code.WIDE else [weights.weights]
        rests = _spread_rests(weights, units, job.dilation[1] * channels)
        record = code.FusedJob(
            source=0, out=0, source_row=job.shape[1] * channels, source_kind=code.KINDS[source.name],
            row_index=Operand(row_index), column_index=Operand(column_index), width=job.shape[1],
            channels=channels, left=job.left, halo=reach_x - 1, last_row=len(row_index) - 1, stride_y=job.stride[0],
            out_row=width * channels, out_height=height, strip=strip,
            edges=Operand(self.edges), blocks=len(self.edges) - 1,
            units=units, rows_per_unit=per_unit, reach=(rows - 1) * job.stride[0] + reach_y,
            slots=units, slot_bytes=slot_bytes,
            ends=Operand(weights.ends), runs=Operand(self._runs(weights, column_step)),
            weights=Operand(np.concatenate(taps).reshape(-1).view(np.float32)), column_step=column_step,
            numbers=Operand(self._numbers(job, weights)),
            flags=Operand(self._flags(job, weights)),
            rests=Operand(rests.reshape(-1).view(np.float32)), rest_span=rests.shape[-1],
            rest_unit=weights.rest_unit, rest_start=weights.rest_start, lift=weights.lift,
            scratch=Operand(scratch, worker_step=worker // 4), tally=Operand(self.tally, task_step=4),
            constant=job.constant,
        )  # fmt: skip
        kernel = routine("image_filter.fused_strip.fused_strip", weights.arithmetic, kind, weights.form)
        self.code = kernel.code()
        packed, self.arrays = pack(self.code.takes, {"job": record}, kernel.name)
        self.words = np.array([1, *packed], np.int64)

    def point_at(self, source: NDArray[Any], out: NDArray[Any]) -> None:
        """Get ready for one image, contiguous, and the array for its result; the caller keeps both alive."""
        self.words[_PICTURES] = source.ctypes.data, out.ctypes.data
        self.tally[:] = np.inf, -np.inf, 0, 0

    @staticmethod
    def _runs(weights: Weights, column_step: int) -> NDArray[np.int64]:
        return (weights.runs * (8 * weights.units_per_tap, column_step, 1)).reshape(-1)

    @staticmethod
    def _numbers(job: FilterJob, weights: Weights) -> NDArray[np.float32]:
        numbers = np.zeros(8, np.float32)
        with np.errstate(over="ignore", divide="ignore"):
            numbers[1:7] = 1 / job.divisor, -job.divisor, job.post_scale, job.post_shift, job.white, job.white
        numbers[6] += np.float32(0.5)
        if weights.arithmetic == code.FLOATS:
            numbers[0] = weights.start
        else:
            numbers.view(np.int32)[0] = int(weights.start)
        return numbers

    @staticmethod
    def _flags(job: FilterJob, weights: Weights) -> NDArray[np.int64]:
        affine = job.post_scale != 1 or job.post_shift != 0
        bound = _WHITE * float(np.abs(job.numerators).sum()) + abs(float(job.starts[0]))
        bound = bound / abs(job.divisor) * abs(job.post_scale) + abs(job.post_shift)
        is_huge = weights.arithmetic == code.FLOATS and not bound < 2**30
        flags = [job.divisor != 1, job.absolute, affine, weights.shift, weights.close, is_huge]
        flags += [weights.lift, weights.weights.nbytes, weights.least, weights.most]
        rests = np.array([weights.rest_start, weights.rest_unit]).view(np.int64)
        return np.concatenate([np.array(flags, np.int64), rests])


@lru_cache(maxsize=64)
def _edges(
    width: int, channels: int, arithmetic: int, unit_bytes: int, halo: int, is_direct: bool, is_large: bool
) -> NDArray[np.int64]:
    """Return where blocks of output columns begin, and where the last one ends; each is at least a tile wide."""
    lanes = 2 * LANES if arithmetic == code.NARROW else LANES
    tile = code.FUSED_TILES[arithmetic][1] * lanes
    least = -(-tile // channels)
    size = _DIRECT_BYTES if is_large else _RING_BYTES
    block = max(size // (unit_bytes * channels) - halo, 2 * least)
    block = block * channels // tile * tile // channels
    sides = max(least, halo) if is_direct and width > 4 * max(least, halo) else 0
    inner = width - 2 * sides
    middle = sides + block * np.arange(max(inner // block, 1))
    ends = [0, width - sides, width] if sides else [width]
    return np.unique([*middle, *ends]).astype(np.int64)


def _spread_rests(weights: Weights, units: int, step: int) -> NDArray[np.int32]:
    """Return the rests of the weights as (rows, units, elements of a row), `step` elements between two columns."""
    if weights.arithmetic != code.WIDE:
        return np.zeros((1, 1, 1), np.int32)
    span = int(weights.columns.max()) * step + 1
    spread = np.zeros((weights.rows, units, span + -span % LANES), np.int32)
    spread[:, weights.units, weights.columns * step] = weights.rests.T
    return spread


def _strip(height: int, rows: int, reach: int, threads: int) -> int:
    """Return the output rows of a task: many, since the rows above and below are converted once more."""
    strip = max(32, 4 * reach)
    while strip > 32 and strip * 4 * threads > height:
        strip //= 2
    least = -(-height // strip)
    for strips in range(least + -least % threads, 2 * least, threads):  # as many for each thread
        strip = -(-height // strips)
        strip += -strip % rows
        if -(-height // strip) % threads == 0:
            return strip
    return strip + -strip % rows
