"""How values become pixels: the range policies, rounding, and the count of what was cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.filtering.plan import ResolvedPlan, full_scale, middle

Rows = NDArray[Any]
LEVELS = 65536  # bins of the histogram that `equalize` ranks values with


@dataclass
class Tally:
    """What was seen before clipping: smallest and largest value, and how many lay outside. Filled strip by strip."""

    minimum: float = float("inf")
    maximum: float = float("-inf")
    below: int = 0
    above: int = 0

    def add(self, other: Tally) -> None:
        """Add what another strip saw; NaN is kept."""
        self.minimum = float(np.minimum(self.minimum, other.minimum))
        self.maximum = float(np.maximum(self.maximum, other.maximum))
        self.below += other.below
        self.above += other.above


@dataclass
class Mapper:
    """Turns rows of values into rows of pixels.

    Parameters
    ----------
    resolved : ResolvedPlan
    source : numpy dtype
        Of the input: decides what white is.
    lowest, highest : float
        Of all values; for ``minmax`` and ``equalize``.
    curves : list of ndarray
        For each channel the share of values in or below each of LEVELS bins; for ``equalize``.
    """

    resolved: ResolvedPlan
    source: np.dtype
    lowest: float = 0.0
    highest: float = 0.0
    curves: list[NDArray[np.float64] | None] = field(default_factory=list)
    rounding_start: float = 0.0  # what the values hold already for rounding

    def store(self, values: Rows, out: Rows) -> Tally:
        """Write the pixels of `values` to `out` (same shape) and return what was clipped."""
        kind = self.resolved.range
        if self.resolved.factor != 1:
            if kind == "clip" and out.dtype == np.uint8:
                return _store_quantum(values, out)
            values = values / self.resolved.factor
        if kind == "abs":
            values = np.abs(values)
        elif kind == "shift":
            values = values + self.middle()
        elif kind == "minmax":
            values = self._stretched(values)
        elif kind == "equalize":
            values = self._equalized(values)
        tally = Tally(float(values.min()) - self.rounding_start, float(values.max()) - self.rounding_start)
        if out.dtype.kind == "f":
            if kind in ("clip", "abs", "shift"):
                values, tally.below, tally.above = _clipped(values, full_scale(self.source))
            with np.errstate(over="ignore"):
                out[:] = values
            if kind == "raw" and max(-tally.minimum, tally.maximum) > float(np.finfo(out.dtype).max):
                tally.maximum = math.inf  # the caller reports it
            return tally
        ratio = full_scale(out.dtype) / full_scale(self.source)
        if ratio != 1 and kind not in ("minmax", "equalize"):
            # a quotient is rounded once, a product with a fraction twice
            values = values / (1 / ratio) if (1 / ratio).is_integer() else values * ratio
        white = full_scale(out.dtype)
        if self.resolved.rounding == "wrap":
            out[:] = np.trunc(values).astype(np.int64).astype(out.dtype)
            return tally
        if not (np.isfinite(tally.minimum) and np.isfinite(tally.maximum)):
            return tally  # the caller reports it
        rounding = "floor" if self.rounding_start else self.resolved.rounding
        rounded, tally.below, tally.above = _clipped(_rounded(values, rounding), white)
        out[:] = rounded
        return tally

    def middle(self) -> float:
        """Return mid gray, the place of 0 for ``shift``."""
        return middle(full_scale(self.source))

    def _white(self) -> float:
        """White in the type of the result; a float result keeps the scale of the input."""
        return full_scale(self.resolved.dtype if self.resolved.dtype.kind == "u" else self.source)

    def stretch(self) -> tuple[float, float]:
        """Return the factor and the summand that bring all values to 0 up to white; equal values stay."""
        span = self.highest - self.lowest
        if not span > 0:
            return 1.0, 0.0
        return self._white() / span, -self.lowest * self._white() / span

    def _stretched(self, values: Rows) -> Rows:
        factor, summand = self.stretch()
        if factor == 1 and not summand:
            return np.clip(values, 0, self._white())
        if values.dtype == np.float32:  # as compiled code does: rounded once
            product = values * np.float64(np.float32(factor)) + np.float64(np.float32(summand))
            return np.clip(product, 0, self._white()).astype(np.float32)
        return np.asarray(np.clip((values - self.lowest) * factor, 0, self._white()))

    def _equalized(self, values: Rows) -> Rows:
        result = np.empty_like(values)
        for channel, curve in enumerate(self.curves):
            plane = values[..., channel]
            if curve is None:
                result[..., channel] = plane
            else:
                result[..., channel] = curve[bins(plane, self.lowest, self.highest)] * self._white()
        return result


def bins(values: Rows, lowest: float, highest: float) -> NDArray[np.int64]:
    """Return the bin of each value on a grid of LEVELS between the two."""
    scaled = (values.astype(np.float64) - lowest) * ((LEVELS - 1) / (highest - lowest))
    return np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.int64)


def equalizing_curve(counts: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return ``(cdf - cdf_min) / (n - cdf_min)`` for a histogram; None where all values are equal (left unchanged).

    Gonzalez and Woods 2018, Digital Image Processing, section 3.3, with the shift that maps the darkest value to 0.
    """
    cumulative = np.cumsum(counts)
    first = counts[np.flatnonzero(counts)[0]]
    if cumulative[-1] == first:
        return None
    return np.asarray((cumulative - first) / (cumulative[-1] - first), dtype=np.float64)


def _store_quantum(values: Rows, out: Rows) -> Tally:
    """Round to 16 bits, then to 8 as ImageMagick's ScaleQuantumToChar does."""
    tally = Tally(float(values.min()) / 257, float(values.max()) / 257)
    quantum, tally.below, tally.above = _clipped(np.floor(values + 0.5), 65535.0)
    shifted = quantum.astype(np.int64) + 128
    out[:] = (shifted - (shifted >> 8)) >> 8
    return tally


def _rounded(values: Rows, rounding: str) -> Rows:
    if rounding == "rint":
        return np.rint(values)
    if rounding == "truncate":
        return np.trunc(values.astype(np.float32))  # vips stores its responses as float32 first
    if rounding == "floor":
        return np.floor(values)
    return np.asarray(np.floor(values + values.dtype.type(0.5)))


def _clipped(values: Rows, white: float) -> tuple[Rows, int, int]:
    below, above = int(np.count_nonzero(values < 0)), int(np.count_nonzero(values > white))
    return (np.clip(values, 0, white) if below or above else values), below, above
