"""The taps of a fused filter: in which arithmetic they are summed, and why that gives the right pixels.

Large kernels are summed for pairs of output rows. With image rows a, b, c that follow each other, h the even rows of
the kernel and g the odd ones, the sums over every second row are::

    upper = sum(h*a + g*b) = sum((h + g)*b) + sum(h*(a - b))
    lower = sum(h*b + g*c) = sum((h + g)*b) + sum(g*(c - b))

Three sums of half the length instead of four (Winograd 1980, Arithmetic Complexity of Computations, chapter V, F(2,2)).
The bound of the rounding error is the same: a difference of two values from 0 to white is no larger than white.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.host import LANES
from cnncli.kernels.image_filter import arguments as code
from cnncli.shapes import Pair

if TYPE_CHECKING:
    from cnncli.kernels.image_filter.job import FilterJob

Matrix: TypeAlias = NDArray[np.float64]
Places: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
_WHITE = 255.0  # of the 8-bit images that are summed in integers
#: from here on fewer products are worth the differences of rows; float32 images are read where they are otherwise
_PAIRED_TAPS, _PAIRED_FLOAT_TAPS = 49, 100
_MANY_TAPS = 100  # from here on two products in one instruction are worth the sums that have to be settled


@dataclass(frozen=True, eq=False)
class Weights:
    """The taps of a group of output rows, in the order in which they are added.

    Parameters
    ----------
    arithmetic : int
        ``code.FLOATS``, ``code.NARROW`` or ``code.WIDE``.
    units : NDArray of int64, shape (T,)
        Which unit of the group a tap reads.
    columns : NDArray of int64, shape (T,)
        Which column of the kernel.
    runs : ndarray of int64, shape (R, 3)
        Unit (or pair of units), first column and length of each run of taps side by side.
    ends : ndarray of int64
        End of each segment, counted in runs.
    weights, rests : ndarray, shape (T, rows), float32 or int32
        Of each output row; pairs of integers lie in one int32.
    start, shift, close, lift : int
        32-bit sums begin with `start`, which holds `lift` more than the bias, and are shifted down by `shift` bits.
        Those whose lower bits, shifted up to 32, are from `close` on have to be settled.
    rest_unit, rest_start : float
        Unit of `rests`, and of what rounding took from the start.
    least, most : int
        What rounding took from any sum lies between them.
    form : int
        ``code.ANY``, ``code.PAIRED`` or one of ``code.UNROLLED``.
    """

    arithmetic: int
    units: NDArray[np.int64]
    columns: NDArray[np.int64]
    runs: NDArray[np.int64]
    ends: NDArray[np.int64]
    weights: NDArray[Any]
    rests: NDArray[Any]
    start: float = 0.0
    shift: int = 1
    close: int = 0
    lift: int = 0
    rest_unit: float = 0.0
    rest_start: float = 0.0
    least: int = 0
    most: int = 0
    form: int = code.ANY

    @property
    def rows(self) -> int:
        """Return how many rows of sums a tile adds to at a time."""
        return code.FUSED_TILES[self.arithmetic][0]

    @property
    def group(self) -> int:
        """Return the output rows of a group."""
        return code.rows_of_group(self.arithmetic, self.form)

    @property
    def rows_per_unit(self) -> int:
        """Return 2 where rows are interleaved in pairs in the scratch."""
        return 2 if self.arithmetic == code.WIDE else 1

    @property
    def units_per_tap(self) -> int:
        """Return 2 where a tap reads two units, one below the other; `units` and `runs` count in such pairs."""
        return 2 if self.arithmetic == code.NARROW else 1


@lru_cache(maxsize=64)
def weights_of(
    data: bytes,
    shape: Pair,
    divisor: float,
    start: float,
    stride: int,
    dilation: int,
    whole: bool,
    plain: bool,
    paired_from: int = _PAIRED_TAPS,
) -> Weights:
    """Return the taps of a kernel, in the fastest arithmetic that gives the right pixels.

    Parameters
    ----------
    data, shape : bytes, (int, int)
        float64 numerators.
    start : float
        Bias times divisor.
    whole : bool
        The image and its border are whole numbers from 0 to 255, and so is the result.
    plain : bool
        Nothing but the divisor comes after the sum.
    paired_from : int
        Least number of taps that are summed for pairs of output rows.
    """
    matrix = np.frombuffer(data).reshape(shape)
    if whole:
        is_integral = bool(np.all(matrix == np.rint(matrix))) and start == np.rint(start)
        largest, bound = float(np.abs(matrix).max(initial=0.0)), _WHITE * float(np.abs(matrix).sum()) + abs(start)
        if is_integral and divisor == 1 and largest < 2**7 and bound < 2**15:
            return _narrow(matrix, start, stride, dilation)
        # quotients of whole numbers often lie in the middle between two; float32 rounds them exactly
        if plain and np.count_nonzero(matrix) >= _MANY_TAPS and not (is_integral and divisor != 1):
            found = _fixed_point(matrix / divisor, start / divisor, is_integral, stride, dilation)
            if found is not None:
                return found
    if stride == dilation == 1 and _worth_pairing(matrix, paired_from):
        return _in_pairs(matrix, start)
    places, weights = _taps(matrix, code.FLOATS, stride, dilation)
    floats = weights[..., 0].astype(np.float32)
    is_dense = shape in {(size, size) for size in code.UNROLLED} and bool(np.all(matrix != 0))
    form = shape[0] if is_dense and stride == dilation == 1 else code.ANY
    return Weights(code.FLOATS, *places, floats, floats, start, form=form)


def _narrow(matrix: Matrix, start: float, stride: int, dilation: int) -> Weights:
    """Return weights in 8 bits; 3x3 kernels have code of their own."""
    form, pattern = code.ANY, None
    if matrix.shape == (3, 3) and stride == dilation == 1:
        form = 3 if matrix[::2, ::2].any() else code.CROSS
        pattern = np.array(code.PATTERNS[form], np.float64)
    return _paired(matrix, code.NARROW, stride, dilation, pattern=pattern, start=start, form=form)


def _halves(matrix: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return the kernels of the three streams: the sum of even and odd rows, the even rows, the odd ones."""
    even, odd = matrix[::2], np.zeros_like(matrix[::2])
    odd[: len(matrix) // 2] = matrix[1::2]
    return even + odd, even, odd


def _worth_pairing(matrix: Matrix, least: int) -> bool:
    """Return whether a kernel has `least` taps, and pairs of rows need clearly fewer products.

    Whole numbers are not paired: their sums are exact up to 2^24, those of pairs up to half of it.
    """
    taps = np.count_nonzero(matrix)
    if taps < least or np.all(matrix == np.rint(matrix)) or not np.isfinite(matrix).all():
        return False
    return bool(sum(np.count_nonzero(half) for half in _halves(matrix)) < 1.7 * taps)


def _in_pairs(matrix: Matrix, start: float) -> Weights:
    """Return the taps of the three streams one after the other; unit 3*m + s is row m of stream s."""
    parts = [_taps(half, code.FLOATS, 1, 1) for half in _halves(matrix)]
    runs, ends, done = [], [], 0
    for stream, ((_, _, some, their_ends), _) in enumerate(parts):
        runs.append(some * (code.STREAMS, 1, 1) + (stream, 0, 0))
        ends.append(their_ends + done)
        done += len(some)
    units, columns = (np.concatenate([places[axis] for places, _ in parts]) for axis in range(2))
    floats = np.concatenate([weights[..., 0] for _, weights in parts]).astype(np.float32)
    return Weights(
        code.FLOATS, units, columns, np.concatenate(runs), np.concatenate(ends), floats, floats, start,
        form=code.PAIRED,
    )  # fmt: skip


def _fixed_point(matrix: Matrix, start: float, integral: bool, stride: int, dilation: int) -> Weights | None:
    """Return weights in 16 bits and what rounding takes from them, or None where that is too coarse.

    Sums of 8-bit pixels with the rounded weights miss the true sum by at most the sum of what was taken, times 255.
    Where that could change the pixel, what was taken is summed as well, to about 2^-13 of it.
    """
    most = float(np.abs(matrix).max(initial=0.0))
    if not 0 < most < 2**14:
        return None
    shift = 1 if integral else min(int(np.floor(np.log2(32767 / most))), 30)
    while shift > 1 and not _fits(matrix, start, shift):
        shift -= 1
    if not _fits(matrix, start, shift):
        return None
    scaled, lowest = matrix * 2.0**shift, round(start * 2.0**shift)
    rounded = np.rint(scaled)
    taken = scaled - rounded
    if integral:
        close, lift = 2**32 - 1, 1 << (shift - 1)
    else:
        if not taken.any():
            return None  # halves and quarters: every other sum would lie in the middle
        below = int(np.floor(_WHITE * np.minimum(taken, 0).sum() - 0.5)) - 1
        above = int(np.ceil(_WHITE * np.maximum(taken, 0).sum() + 0.5)) + 1
        if above - below > 2 ** (shift - 5):
            return None
        close, lift = (2**shift - (above - below)) << (32 - shift), (1 << (shift - 1)) + below
    bits = min(14, int(np.floor(np.log2((2**31 - 2) / (_WHITE * np.abs(taken).sum() + 1)))))
    kept, rest_start = np.rint(taken * 2.0**bits), (start * 2.0**shift - lowest) * 2.0**bits
    least = int(np.floor((_WHITE * np.minimum(kept, 0).sum() + rest_start) * 2.0**-bits))
    most = int(np.ceil((_WHITE * np.maximum(kept, 0).sum() + rest_start) * 2.0**-bits))
    rests = _paired(kept, code.WIDE, stride, dilation, pattern=matrix).weights
    return _paired(
        rounded, code.WIDE, stride, dilation, pattern=matrix, start=lowest + lift, shift=shift, close=close, lift=lift,
        rests=rests, rest_unit=2.0**-bits, rest_start=rest_start, least=least, most=most,
    )  # fmt: skip


def _fits(matrix: Matrix, start: float, shift: int) -> bool:
    """Return whether every sum of products with 8-bit pixels, in any order, fits 32 bits."""
    rounded, begin = np.rint(matrix * 2.0**shift), start * 2.0**shift
    slack = 2.0 ** (shift - 1) + _WHITE * matrix.size  # half a unit, and what rounding may take
    low = begin + _WHITE * float(np.minimum(rounded, 0).sum()) - slack
    return low > -(2.0**31) and begin + _WHITE * float(np.maximum(rounded, 0).sum()) + slack < 2.0**31


def _paired(
    matrix: Matrix, arithmetic: int, stride: int, dilation: int, *, pattern: Matrix | None = None, **more: Any
) -> Weights:
    """Return integer weights, two of them in one int32 (and the same two again where they have 8 bits)."""
    places, weights = _taps(matrix, arithmetic, stride, dilation, pattern)
    whole = weights.astype(np.int64)
    if arithmetic == code.NARROW:
        pair = (whole[..., 0] & 0xFF) | (whole[..., 1] & 0xFF) << 8
        words = pair | pair << 16
    else:
        words = (whole[..., 0] & 0xFFFF) | (whole[..., 1] & 0xFFFF) << 16
    packed = words.astype(np.uint32).view(np.int32)
    return Weights(arithmetic, *places, packed, more.pop("rests", packed), **more)


def _taps(
    matrix: Matrix, arithmetic: int, stride: int, dilation: int, pattern: Matrix | None = None
) -> tuple[Places, Matrix]:
    """Return unit and column of each tap, runs and ends of the segments; weights (taps, rows, rows per unit)."""
    rows = code.FUSED_TILES[arithmetic][0]
    per_unit = 1 if arithmetic == code.FLOATS else 2
    found: dict[tuple[int, int], Matrix] = {}
    used: dict[tuple[int, int], set[int]] = {}
    for i, j in np.argwhere(matrix if pattern is None else pattern):
        for row in range(rows):
            unit, part = divmod(row * stride + int(i) * dilation, per_unit)
            found.setdefault((unit, int(j)), np.zeros((rows, per_unit)))[row, part] += matrix[i, j]
            used.setdefault((unit, int(j)), set()).add(row)
    if not found:
        found[0, 0], used[0, 0] = np.zeros((rows, per_unit)), {0}
    parts: list[list[tuple[int, int]]] = [[] for _ in code.segments(rows)]
    for place in sorted(found):
        parts[code.segment(sorted(used[place]), rows)].append(place)
    order = [place for part in parts for place in part]
    runs, ends = _runs(parts)
    units, columns = (np.array([place[axis] for place in order], np.int64) for axis in range(2))
    return (units, columns, runs, ends), np.stack([found[place] for place in order])


def _runs(parts: list[list[tuple[int, int]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the runs of taps side by side in the segments, and the end of each segment counted in runs."""
    runs: list[list[int]] = []
    ends = []
    for part in parts:
        for i, (unit, column) in enumerate(part):
            if i and part[i - 1] == (unit, column - 1):
                runs[-1][2] += 1
            else:
                runs.append([unit, column, 1])
        ends.append(len(runs))
    return np.array(runs, np.int64), np.array(ends, np.int64)


def fused_weights(job: FilterJob, out: np.dtype | None, steps: int, *, paired: bool = True) -> Weights | None:
    """Return the weights of a job that the fused code can do, else None.

    Parameters
    ----------
    job : FilterJob
    out : numpy dtype, optional
        Of the result.
    steps : int
        Passes that the job would take otherwise: two are cheaper than one with all products.
    paired : bool
        Large kernels may be summed for pairs of output rows.
    """
    if out is None or steps != 1 or len(job.numerators) != 1 or job.combine != "stack" or job.stride[1] != 1:
        return None
    if job.dtype == np.float32 != out:
        return None  # the fused code looks for numbers that are not finite in float results only
    matrix = job.numerators[0]
    has_constant = bool((job.rows < 0).any() or (job.columns < 0).any())
    constant = job.constant if has_constant else 0.0
    is_8_bit = job.dtype == np.uint8 and out == np.uint8 and job.post_scale == 1
    whole = is_8_bit and 0 <= constant <= _WHITE and constant == np.rint(constant)
    whole = whole and job.post_shift == np.rint(job.post_shift) and not (job.absolute and job.post_shift)
    plain = not job.absolute and job.post_shift == 0
    start = float(job.starts[0])
    if whole and job.divisor == 1:
        start += job.post_shift
    stride, dilation = job.stride[0], job.dilation[0]
    least = (_PAIRED_FLOAT_TAPS if job.dtype == np.float32 else _PAIRED_TAPS) if paired else matrix.size + 1
    weights = weights_of(
        matrix.tobytes(), matrix.shape, float(job.divisor), start, stride, dilation, whole, plain, least
    )
    if weights.arithmetic == code.FLOATS and start != job.starts[0]:
        weights = replace(weights, start=float(job.starts[0]))
    tile = code.FUSED_TILES[weights.arithmetic][1] * (2 * LANES if weights.arithmetic == code.NARROW else LANES)
    return weights if job.size[1] * job.shape[2] >= tile else None
