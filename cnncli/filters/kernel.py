"""A filter kernel: its exact numbers and the properties that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import UsageError

Numbers: TypeAlias = NDArray[np.float64]

# what becomes of the responses of several kernels to one channel
COMBINATIONS = {"stack": "", "magnitude": "square root of the sum of squares", "maximum": "the largest response"}

# numerators up to here are added without rounding in float64, so that a quotient is rounded once
_EXACT_LIMIT = 2**40


@dataclass(frozen=True, eq=False)
class Kernel:
    """One filter, or a bank of filters, for an image of one or several channels.

    The response is ``(sum(numerators * window) + bias * divisor) / divisor``: kernels of fractions keep an exact
    integer sum and are rounded once, at the division.

    Parameters
    ----------
    name : str
        As the user may repeat it.
    numerators : ndarray, shape (F, C, KH, KW)
        C = 1 with `per_channel`: every channel of the image is filtered by itself. Otherwise C is the channel count of
        the image, products are added over all channels, and each of the F filters gives one output channel.
    divisor : float
        Common denominator, 1 where the numbers are not fractions.
    bias : ndarray, shape (F,)
        Added once to every response.
    combine : str
        What becomes of F responses of one channel: ``"stack"`` (F output channels), ``"magnitude"`` (square root of the
        sum of squares: a gradient) or ``"maximum"`` (the largest: compass kernels).
    per_channel : bool
        Two-dimensional kernels.
    note : str
        What a user should know about how it was read.
    """

    name: str
    numerators: Numbers
    divisor: float = 1.0
    bias: Numbers | None = None
    combine: str = "stack"
    per_channel: bool = True
    note: str = ""

    @property
    def weights(self) -> Numbers:
        """The numbers themselves, shape (F, C, KH, KW)."""
        return self.numerators / self.divisor

    @property
    def biases(self) -> Numbers:
        """One bias for each filter, shape (F,)."""
        return np.zeros(self.filters) if self.bias is None else self.bias

    @property
    def filters(self) -> int:
        """Number of filters F, the first axis of `weights`."""
        return int(self.numerators.shape[0])

    @property
    def channels(self) -> int:
        """The channels each filter reads: 1 for two-dimensional kernels."""
        return int(self.numerators.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns (KH, KW)."""
        return int(self.numerators.shape[2]), int(self.numerators.shape[3])

    @property
    def integral(self) -> bool:
        """Whether every numerator is a whole number, so that sums over an integer image are exact."""
        return bool(np.all(self.numerators == np.rint(self.numerators)) and np.abs(self.numerators).max() < 2**24)

    @property
    def total(self) -> float:
        """The sum of the numbers of the first filter."""
        return float(math.fsum(self.numerators[0].ravel()) / self.divisor)

    @property
    def is_zero_sum(self) -> bool:
        """Whether the numbers of each filter add up to about 0, so that flat areas give 0 and edges both signs."""
        scale = np.abs(self.numerators).sum(axis=(1, 2, 3))
        return bool(np.all(np.abs(self.numerators.sum(axis=(1, 2, 3))) <= 1e-6 * scale)) and bool(scale.any())

    def factors(self, tolerance: float = 1e-7) -> tuple[Numbers, Numbers] | None:
        """Return (column, row) with ``numerators == outer(column, row)`` within `tolerance`, or None.

        Only for a single two-dimensional filter. The split divides row by row through the largest element, which keeps
        whole numbers whole wherever that is possible.
        """
        if self.filters * self.channels != 1:
            return None
        return separate(self.numerators[0, 0], tolerance)

    def flipped(self) -> Kernel:
        """The same kernel turned by 180 degrees: correlating with it is true convolution with `self`."""
        return replace(self, numerators=np.ascontiguousarray(self.numerators[:, :, ::-1, ::-1]))

    def flipud(self) -> Kernel:
        """The same kernel with its rows in reverse order only."""
        return replace(self, numerators=np.ascontiguousarray(self.numerators[:, :, ::-1, :]))

    def scaled(self, factor: Fraction) -> Kernel:
        """The kernel times a fraction; its bias stays."""
        return _reduced(self, Fraction(factor) / Fraction(self.divisor))

    def normalised(self) -> Kernel:
        """The kernel divided by the sum of its numbers, filter by filter; a filter that sums to 0 stays as it is."""
        sums = self.numerators.sum(axis=(1, 2, 3))
        if self.integral and len(set(sums.tolist())) == 1 and sums[0]:
            return _reduced(self, 1 / Fraction(int(sums[0])))
        sums = np.where(np.abs(sums) <= 1e-12 * np.abs(self.numerators).sum(axis=(1, 2, 3)), self.divisor, sums)
        return replace(self, numerators=self.numerators / sums[:, None, None, None], divisor=1.0)

    def divided_in_float32(self) -> Kernel:
        """The kernel divided by its sum in float32, as Pillow does."""
        weights = self.weights
        quotient = weights.astype(np.float32) / np.float32(weights.sum())
        return replace(self, numerators=quotient.astype(np.float64), divisor=1.0)

    def multiplied_out(self) -> Kernel:
        """The kernel as plain numbers times the rounded reciprocal of its divisor: the arithmetic of other tools."""
        return replace(self, numerators=self.numerators * (1.0 / self.divisor), divisor=1.0)

    def with_bias(self, bias: float | tuple[float, ...]) -> Kernel:
        """The kernel with numbers added to the biases of its filters: one for all, or one each.

        Raises
        ------
        UsageError
            If there are neither.
        """
        added = np.atleast_1d(np.asarray(bias, np.float64))
        if added.size not in (1, self.filters):
            message = f"{added.size} biases for the {self.filters} filters of {self.name}"
            raise UsageError(message, where="--bias", hint="give one, or one per filter")
        return replace(self, bias=self.biases + added) if added.any() else self


def _reduced(kernel: Kernel, factor: Fraction) -> Kernel:
    """Return numerators * factor with the fraction put into the divisor where everything stays exact."""
    largest = float(np.abs(kernel.numerators).max(initial=0)) * abs(factor.numerator)
    if kernel.integral and largest < 2**24 and factor.denominator < 2**24:
        return replace(kernel, numerators=kernel.numerators * factor.numerator, divisor=float(factor.denominator))
    return replace(kernel, numerators=kernel.numerators * float(factor), divisor=1.0)


def separate(matrix: Numbers, tolerance: float = 1e-7) -> tuple[Numbers, Numbers] | None:
    """Return (column, row) whose outer product is `matrix` within `tolerance` of its largest number, or None.

    Examples
    --------
    >>> column, row = separate(np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    >>> column.tolist(), row.tolist()
    ([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])
    """
    magnitude = np.abs(matrix)
    if not magnitude.any():
        return None
    row = matrix[np.argmax(magnitude.max(axis=1))].astype(np.float64)
    if np.all(matrix == np.rint(matrix)):
        row = row / np.gcd.reduce(np.abs(row).astype(np.int64))
    pivot = int(np.argmax(np.abs(row)))
    column = matrix[:, pivot] / row[pivot]
    if np.abs(np.outer(column, row) - matrix).max() > tolerance * magnitude.max():
        return None
    return column, row


def exact_kernel(name: str, rows: Any, divisor: int = 1, *, combine: str = "stack") -> Kernel:
    """Return a two-dimensional kernel of whole numbers over `divisor`, one filter or a list of filters."""
    numbers = np.array(rows, dtype=np.float64)
    return Kernel(name, numbers.reshape(-1, 1, *numbers.shape[-2:]), float(divisor), combine=combine, per_channel=True)


def from_fractions(values: list[Fraction]) -> tuple[list[float], float]:
    """Return numerators over one common denominator, exact where both stay small; else plain numbers over 1.

    Examples
    --------
    >>> from_fractions([Fraction(-1, 9), Fraction(8, 9)])
    ([-1.0, 8.0], 9.0)
    """
    divisor = 1
    for value in values:
        divisor = math.lcm(divisor, value.denominator)
        if divisor >= 2**24:
            return [float(v) for v in values], 1.0
    numerators = [int(v * divisor) for v in values]
    if max(map(abs, numerators), default=0) * divisor >= _EXACT_LIMIT:
        return [float(v) for v in values], 1.0
    return [float(n) for n in numerators], float(divisor)
