"""The window formula the other way round: which padding, stride, kernel or input gives the wanted length?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnncli.errors import ShapeError
from cnncli.layers.base import MAX_KERNEL, MAX_PADDING
from cnncli.shapes import Pair, out_length, same_padding

UNKNOWNS = ("padding", "stride", "kernel", "input")
MAX_STRIDE = 65_535
MAX_LENGTH = 65_535


@dataclass(frozen=True)
class Axis:
    """One axis of a window, in pixels.

    Parameters
    ----------
    length, kernel, dilation : int
    stride : int or None
        None is a pool's: as large as its kernel.
    padding : (int, int) or str
        Zeros before and after, or ``same`` or ``full``, which follow the other numbers.
    ceil : bool
        The output length is rounded up.
    strict : bool
        Windows have to end exactly at the padded border.
    is_pool : bool
        The padding has to stay below the kernel.
    """

    length: int
    kernel: int
    stride: int | None = 1
    padding: Pair | str = (0, 0)
    dilation: int = 1
    ceil: bool = False
    strict: bool = False
    is_pool: bool = False

    @property
    def step(self) -> int:
        """Return the stride in pixels."""
        return self.stride or self.kernel

    @property
    def reach(self) -> int:
        """Return the pixels under the dilated kernel."""
        return self.dilation * (self.kernel - 1) + 1

    def pads(self) -> Pair:
        """Return the zeros before and after."""
        if self.padding == "same":
            return same_padding(self.length, self.kernel, self.step, self.dilation)
        if isinstance(self.padding, str):
            return (self.reach - 1, self.reach - 1) if self.padding == "full" else (0, 0)
        return self.padding

    def output(self) -> int:
        """Return the output length; 0 where the layer would be refused."""
        pads = self.pads()
        if self.is_pool and max(pads) >= self.kernel:
            return 0
        if self.strict and (self.length + sum(pads) - self.reach) % self.step:
            return 0
        return max(0, out_length(self.length, self.kernel, self.step, pads, self.dilation, ceil=self.ceil))


@dataclass(frozen=True)
class Solution:
    """The answer, all answers that give the same length, and the formula (empty where none leads to it directly)."""

    value: int
    values: Sequence[int]
    formula: str


def solve(unknown: str, axis: Axis, want: int) -> Solution:
    """Return what `unknown` has to be so that the output is `want` pixels long.

    Every value of the option's range that can matter is tried with the rule of the layer; the formula is shown where
    it gives the same answer. The smallest value is the answer, for a kernel with padding in pixels the largest.

    Parameters
    ----------
    unknown : str
        One of `UNKNOWNS`; its value in `axis` is not used.
    axis : Axis
    want : int
        Output length.

    Raises
    ------
    ShapeError
        No whole number gives that length; the hint says what the nearest ones give.

    Examples
    --------
    >>> solve("padding", Axis(256, 7), 256)
    Solution(value=3, values=[3], formula='p = (f-1)/2 = 3')
    """
    lengths = {value: _length(unknown, axis, value) for value in _candidates(unknown, axis, want)}
    values = [value for value, length in lengths.items() if length == want]
    if not values:
        exact = " without pixels left over" if axis.strict else ""
        raise ShapeError(f"no {unknown} gives an output of {want}{exact}", hint=_neighbours(unknown, lengths, want))
    answer = values[-1] if unknown == "kernel" and not isinstance(axis.padding, str) else values[0]
    text, value = _formula(unknown, axis, want)
    return Solution(answer, values, f"{text} = {answer}" if text and value == answer else "")


def uneven_padding(axis: Axis, want: int) -> Pair | None:
    """Return the zeros before and after, the odd one at the end, that give `want`; None where none do."""
    needed = (want - 1) * axis.step + axis.reach - axis.length
    pads = needed // 2, needed - needed // 2
    return pads if needed >= 0 and replace(axis, padding=pads).output() == want else None


def _candidates(unknown: str, axis: Axis, want: int) -> range:
    """Return every value that can give `want`, and some beyond."""
    if unknown == "padding":
        return range(min(MAX_PADDING, want * axis.step + axis.reach) + 1)
    if unknown == "kernel":
        return range(1, MAX_KERNEL + 1)
    if unknown == "stride":
        # a longer step leaves the one window that there is
        return range(1, min(MAX_STRIDE, axis.length + sum(axis.pads()) + 1) + 1)
    return range(1, min(MAX_LENGTH, want * axis.step + axis.reach) + 1)


def _length(unknown: str, axis: Axis, value: int) -> int:
    if unknown == "padding":
        return replace(axis, padding=(value, value)).output()
    if unknown == "kernel":
        return replace(axis, kernel=value).output()
    return (replace(axis, stride=value) if unknown == "stride" else replace(axis, length=value)).output()


def _formula(unknown: str, axis: Axis, want: int) -> tuple[str, int]:
    """Return the formula for `unknown` and its value, or nothing where rounding or a word stands in the way."""
    pads = axis.padding if unknown != "padding" else (0, 0)
    if axis.ceil or isinstance(pads, str) or pads[0] != pads[1]:
        return "", 0
    if axis.stride is None and unknown in ("kernel", "padding"):
        return "", 0
    n, s, p, d, reach = axis.length, axis.step, pads[0], axis.dilation, axis.reach
    if unknown == "padding":
        needed = (want - 1) * s + reach - n
        if want == n and s == 1 and d == 1:
            return "p = (f-1)/2", needed // 2
        text = f"(({want} - 1)*{s} + {reach} - {n})/2"
        return (f"p = ceil({text})" if needed % 2 or needed < 0 else f"p = {text}"), -(-needed // 2)
    if unknown == "stride":
        return f"s = floor(({n} + 2*{p} - {reach})/{want}) + 1", (n + 2 * p - reach) // want + 1
    if unknown == "kernel":
        exact = n + 2 * p - (want - 1) * s  # pixels under the kernel when none stays unread
        if d > 1:
            return f"f = floor(({n} + 2*{p} - ({want} - 1)*{s} - 1)/{d}) + 1", (exact - 1) // d + 1
        return f"f = {n} + 2*{p} - ({want} - 1)*{s}", exact
    return f"n = ({want} - 1)*{s} + {reach} - 2*{p}", (want - 1) * s + reach - 2 * p


def _neighbours(unknown: str, lengths: dict[int, int], want: int) -> str:
    """Return which values give the nearest shorter and longer output."""
    parts = []
    for sign in (-1, 1):
        beyond = {value: length for value, length in lengths.items() if length > 0 and (length - want) * sign > 0}
        if beyond:
            value = min(beyond, key=lambda value: abs(beyond[value] - want))
            parts.append(f"{unknown} {value} gives {beyond[value]}")
    if parts:
        return ", ".join(parts)
    return "make the input larger or the kernel smaller" if unknown != "input" else "change kernel, stride or padding"
