"""The window formula the other way round: which padding, stride, kernel or input gives the wanted length?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cnncli.errors import ShapeError
from cnncli.layers.base import MAX_KERNEL, MAX_PADDING
from cnncli.shapes import out_length

UNKNOWNS = ("padding", "stride", "kernel", "input")


@dataclass(frozen=True)
class Axis:
    """One axis of a window: input length, kernel, stride, padding on each side, dilation, in pixels."""

    length: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@dataclass(frozen=True)
class Solution:
    """The answer, the range of all answers that give the same length, and the formula with the numbers in it."""

    value: int
    range: tuple[int, int]
    formula: str


def solve(unknown: str, axis: Axis, want: int) -> Solution:
    """Return what `unknown` has to be so that the output is `want` pixels long.

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
        No whole number gives that length; the message says what would.

    Examples
    --------
    >>> solve("padding", Axis(256, 7), 256)
    Solution(value=3, range=(3, 3), formula='p = (f-1)/2 = 3')
    """
    n, f, s, p, d = axis.length, axis.kernel, axis.stride, axis.padding, axis.dilation
    reach = d * (f - 1) + 1
    high: int | None
    if unknown == "padding":
        needed = (want - 1) * s + reach - n
        low, high = max(0, -(-needed // 2)), min((needed + s - 1) // 2, MAX_PADDING)
        answer = low
        if want == n and s == 1 and d == 1:
            text = "p = (f-1)/2"
        else:
            text = f"(({want} - 1)*{s} + {reach} - {n})/2"
            text = f"p = ceil({text})" if needed % 2 or needed < 0 else f"p = {text}"
    elif unknown == "stride":
        span = n + 2 * p - reach
        low, high = span // want + 1, (span // (want - 1) if want > 1 else None)
        answer = low
        text = f"s = floor(({n} + 2*{p} - {reach})/{want}) + 1"
    elif unknown == "kernel":
        exact = n + 2 * p - (want - 1) * s  # pixels under the kernel when none stays unread
        low, high = max(1, -(-(exact - s) // d) + 1), min((exact - 1) // d + 1, MAX_KERNEL)
        answer = high
        text = f"f = {n} + 2*{p} - ({want} - 1)*{s}"
        if d > 1:
            text = f"f = floor(({n} + 2*{p} - ({want} - 1)*{s} - 1)/{d}) + 1"
    else:
        low, high = (want - 1) * s + reach - 2 * p, (want - 1) * s + reach - 2 * p + s - 1
        answer = low = max(low, 1)
        text = f"n = ({want} - 1)*{s} + {reach} - 2*{p}"
    fits = answer >= (0 if unknown == "padding" else 1) and (high is None or low <= high)
    if not fits or _length(unknown, axis, answer) != want:
        raise ShapeError(f"no {unknown} gives an output of {want}", hint=_way_out(unknown, axis, want))
    return Solution(answer, (low, answer if high is None else high), f"{text} = {answer}")


def same_length(axis: Axis) -> int:
    """Return the length that `--want same` asks for: ceil(n / s)."""
    return -(-axis.length // axis.stride)


def _length(unknown: str, axis: Axis, value: int) -> int:
    field = "length" if unknown == "input" else unknown
    tried = replace(axis, **{field: value})
    return out_length(tried.length, tried.kernel, tried.stride, (tried.padding, tried.padding), tried.dilation)


def _way_out(unknown: str, axis: Axis, want: int) -> str:
    needed = (want - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + 1 - axis.length
    if unknown == "padding" and needed > 0:
        before, after = needed // 2, needed - needed // 2
        return f"{before} before and {after} after does: p={before}/{after}/{before}/{after}"
    if unknown == "padding":
        return "padding only enlarges; take a larger kernel or stride"
    now = out_length(axis.length, axis.kernel, axis.stride, (axis.padding, axis.padding), axis.dilation)
    return f"as it stands the output is {now}" if now > 0 else "make the input larger or the kernel smaller"
