"""Filter one image held in memory: strips of rows through the chain of steps, on several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError, NumericError, UsageError
from cnncli.filtering.bank import channel_names
from cnncli.filtering.chain import build_stages, rounding_start
from cnncli.filtering.direct import direct_stage, run_direct, worth_compiling
from cnncli.filtering.pixels import LEVELS, Mapper, Tally, bins, equalizing_curve
from cnncli.filtering.plan import FilterPlan, ResolvedPlan, full_scale, resolve_plan
from cnncli.filtering.rank import RankStage, in_own_type
from cnncli.filtering.stages import Stage, WindowStage
from cnncli.filters.steps import KernelStep, RankStep, WideStep, flattened
from cnncli.threads import available

__all__ = ["FilterPlan", "FilterResult", "apply_filter"]

T = TypeVar("T")
_TYPES = ("uint8", "uint16", "float32", "float64")
_STRIP_VALUES = 1 << 20  # per strip at most: a few MiB of work numbers on each thread


@dataclass(frozen=True, eq=False)
class FilterResult:
    """A filtered image and what happened to its values.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C)
        uint8, uint16, float32 or float64.
    minimum, maximum : float
        Of the values before clipping (after ``abs`` or ``shift``).
    below, above : int
        How many values were clipped at black and at white.
    clipped : float
        Their share of all values, 0 to 1.
    range, operation, padding, border : str
        What was done, in words; `operation` is empty where no step is a kernel, `padding` where none has windows.
    notes : tuple of str
        What a user should know: the convention, the centre of even kernels.
    white : float
        Values above it were clipped, in the scale of the input as `minimum` and `maximum`.
    channels : tuple of str
        A name for each channel: the member of a bank and the colour; empty for the only one of a gray picture.
    """

    pixels: NDArray
    minimum: float
    maximum: float
    below: int
    above: int
    range: str
    operation: str
    padding: str
    border: str
    notes: tuple[str, ...] = ()
    white: float = 255.0
    channels: tuple[str, ...] = ()

    @property
    def clipped(self) -> float:
        """The share of values that were clipped, 0 to 1."""
        return (self.below + self.above) / max(self.pixels.size, 1)

    @property
    def summary(self) -> str:
        """What was done, on one line."""
        operation = f"{self.operation} · " if self.operation else ""
        windows = f"{self.padding}, border={self.border} · " if self.padding else ""
        return f"{operation}{windows}range={self.range}"

    @property
    def clip_report(self) -> str:
        """What was cut off and how to keep it; empty if nothing was."""
        if not self.below + self.above:
            return ""
        parts = []
        if self.above:
            parts.append(f"{_percent(self.above / self.pixels.size)} of values above {self.white:g} clipped "
                         f"(max {self.maximum:.6g})")  # fmt: skip
        if self.below:
            parts.append(f"{_percent(self.below / self.pixels.size)} below 0 clipped (min {self.minimum:.6g})")
        return f"{', '.join(parts)}; use --range minmax to keep them"


def apply_filter(
    pixels: NDArray,
    plan: FilterPlan,
    *,
    threads: int | None = None,
    compiled: bool | None = None,
    out: NDArray | None = None,
) -> FilterResult:
    """Return `pixels` after all steps of `plan`.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, C), uint8, uint16, float32 or float64
        Finite. float64 arrays are matrices: computed in float64, results stay as they are unless asked otherwise.
    plan : FilterPlan
    threads : int, optional
        All cores by default. The result has the same bits for any number.
    compiled : bool, optional
        True where many images follow: 8-bit and 16-bit images always go through compiled code, so that it is loaded
        once. By default small images are left to NumPy where that gives the same bits.
    out : ndarray, optional
        Where the result goes, contiguous and of its shape and type: saves the price of fresh memory for many images.

    Returns
    -------
    FilterResult

    Raises
    ------
    ShapeError
        A kernel that does not fit the image.
    UsageError
        Options that contradict each other.
    NumericError
        Values that left the finite numbers.

    Notes
    -----
    Strips of rows are converted, filtered and stored, so that an 8-bit image never becomes a whole float image. With
    whole numbers (and fractions of them) as kernel, 8-bit results are the exact sum, rounded half to even. Others are
    summed in float32: with n taps of absolute sum s the error is at most about ``n * 2^-24 * s * white`` (a 9x9
    Gaussian: 0.001 of an 8-bit step, 0.3 of a 16-bit one; 8 bits and 100 taps or more: below 1e-5 of a step), so a
    pixel can differ from the rounded exact value only where that lies this close to the middle between two values.
    """
    if pixels.ndim != 3 or pixels.dtype.name not in _TYPES:
        raise UsageError(f"cannot filter an array of {pixels.dtype} with {pixels.ndim} axes")
    pixels = np.ascontiguousarray(pixels)
    resolved = resolve_plan(plan, pixels.dtype)
    fast = worth_compiling(pixels, plan, resolved, wanted=bool(compiled))
    direct = direct_stage(plan, pixels.shape, pixels.dtype) if fast else None
    stage = direct or build_stages(pixels, resolved, fast)
    out = _room(out, stage, resolved)
    workers = threads or available()
    if direct is not None:
        tally = run_direct(direct, Mapper(resolved, pixels.dtype), pixels, out, workers)
        _check_range(tally, pixels)
        return _result(out, tally, resolved, pixels, stage)
    if picked := in_own_type(stage, resolved):
        return _result(out, _run_picked(picked, pixels, out, workers), resolved, pixels, stage)
    return run_stages(stage, stage, pixels, resolved, workers, out)


def _room(out: NDArray | None, stage: Stage, resolved: ResolvedPlan) -> NDArray:
    """Return the array for a result: `out`, if it fits, or a new one."""
    if out is None:
        return np.empty(stage.shape, resolved.dtype)
    if (out.shape, out.dtype) != (stage.shape, resolved.dtype) or not out.flags.c_contiguous:
        raise UsageError(f"the result is {stage.shape} {resolved.dtype}, the array for it {out.shape} {out.dtype}")
    return out


def _run_picked(stage: RankStage, pixels: NDArray, out: NDArray, workers: int) -> Tally:
    """Fill `out` with the values of `stage`, which are of the type of `pixels`, and return their extremes."""
    _check_finite(pixels)

    def stored(first: int, last: int) -> Tally:
        stage.filled(first, last, out[first:last])
        return Tally(float(out[first:last].min()), float(out[first:last].max()))

    tally = Tally()
    for part in _in_strips(stage, workers, stored):
        tally.add(part)
    return tally


def run_stages(
    stage: Stage,
    last: Stage,
    pixels: NDArray,
    resolved: ResolvedPlan,
    workers: int,
    out: NDArray | None = None,
) -> FilterResult:
    """Store what `stage` gives, strip by strip.

    Parameters
    ----------
    stage : Stage
    last : Stage
        The last stage that computes.
    pixels : ndarray
        The input.
    workers : int
        Threads.
    out : ndarray, optional
        As `apply_filter`.

    Raises
    ------
    InvalidInputError, NumericError
        As `apply_filter`.
    """
    out = np.empty(stage.shape, resolved.dtype) if out is None else out
    mapper = Mapper(resolved, pixels.dtype)
    mapper.rounding_start = rounding_start(last)
    _check_finite(pixels)
    if resolved.range in ("minmax", "equalize"):
        _survey(stage, mapper, workers)
    tally = Tally()

    def stored(first: int, last: int) -> Tally:
        return mapper.store(stage.rows(first, last), out[first:last])

    for part in _in_strips(stage, workers, stored):
        tally.add(part)
    _check_range(tally, pixels)
    return _result(out, tally, resolved, pixels, last)


def _check_finite(pixels: NDArray) -> None:
    """Raise for the first pixel that is not finite."""
    if pixels.dtype.kind == "f" and pixels.size and not np.isfinite([pixels.min(), pixels.max()]).all():
        row, column, channel = np.argwhere(~np.isfinite(pixels))[0]
        place = f"row {row + 1}, column {column + 1}, channel {channel + 1}"
        raise InvalidInputError(f"{place} is not a finite number", hint="replace such values with --nan-to 0")


def _check_range(tally: Tally, pixels: NDArray) -> None:
    if not (np.isfinite(tally.minimum) and np.isfinite(tally.maximum)):
        _check_finite(pixels)
        raise NumericError("values left the range of finite numbers", hint="use smaller kernel numbers or --scale")


def _survey(stage: Stage, mapper: Mapper, workers: int) -> None:
    """Find the extremes of all values, and for ``equalize`` the curve of each channel."""

    def extremes(first: int, last: int) -> Tally:
        values = stage.counted(first, last)
        return Tally(float(values.min()), float(values.max())) if values.size else Tally()

    tally = Tally()
    for part in _in_strips(stage, workers, extremes):
        tally.add(part)
    mapper.lowest, mapper.highest = tally.minimum, tally.maximum
    if mapper.resolved.range != "equalize":
        return
    depth = stage.shape[2]
    if not mapper.highest > mapper.lowest:
        mapper.curves = [None] * depth
        return

    def histogram(first: int, last: int) -> NDArray[np.int64]:
        places = bins(stage.counted(first, last), mapper.lowest, mapper.highest)
        return np.stack([np.bincount(places[:, c], minlength=LEVELS) for c in range(depth)])

    counts = np.zeros((depth, LEVELS), np.int64)
    for part_counts in _in_strips(stage, workers, histogram):
        counts += part_counts
    mapper.curves = [equalizing_curve(channel) for channel in counts]


def _in_strips(stage: Stage, workers: int, work: Callable[[int, int], T]) -> Iterable[T]:
    """Call ``work(first, last)`` for strips of rows on `workers` threads; results in the order of the strips."""
    height = stage.shape[0]
    busiest, reach = _busiest_row(stage)
    # strips overlap by the rows that windows on both sides of their limit read: those are computed twice
    rows = max(stage.strip_values // busiest, min(reach, _STRIP_VALUES // busiest))
    rows = max(1, min(height, rows))
    strips = [(first, min(first + rows, height)) for first in range(0, height, rows)]
    if workers == 1 or len(strips) == 1:
        return (work(first, last) for first, last in strips)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda strip: work(*strip), strips))


def _busiest_row(stage: Stage) -> tuple[int, int]:
    """Return how many values the busiest stage computes for one row of the last one, and the rows a window reads."""
    most, rows, reach = 1, 1, 1
    link: Stage | None = stage
    while link is not None:
        most = max(most, rows * link.shape[1] * link.shape[2])
        if isinstance(link, WindowStage):
            reach += rows * link.geometry.dilation[0] * (link.geometry.kernel[0] - 1)
            rows *= link.geometry.stride[0]
        link = getattr(link, "source", None)
    return most, reach


def _result(out: NDArray, tally: Tally, resolved: ResolvedPlan, pixels: NDArray, last: Stage) -> FilterResult:
    steps = tuple(flattened(resolved.plan.steps))
    kernels, ranks = (any(isinstance(step, kind) for step in steps) for kind in (KernelStep | WideStep, RankStep))
    return FilterResult(
        out,
        tally.minimum,
        tally.maximum,
        tally.below,
        tally.above,
        resolved.range,
        resolved.operation_text if kernels else "",
        resolved.padding_text if kernels or ranks else "",
        str(resolved.border),
        resolved.notes,
        full_scale(pixels.dtype),
        channel_names(last),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
