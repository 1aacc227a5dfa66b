"""The receptive field: which pixels of the input one value of a layer depends on.

For windows one after the other the field grows by ``(k - 1) * d * jump`` pixels, the jump by the factor `s`, and the
first pixel moves by ``-p * jump``. Behind an upsampling layer or a transposed convolution adjacent values see different
numbers of pixels, in a pattern that repeats; the pattern is kept, and the size is that of the largest field. Branches
that join give the smallest field that holds both. Where the stride of a transposed convolution leaves gaps, values see
no pixel at all: their first one is infinity and their last one minus infinity.

References
----------
Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill, equations 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, gcd, inf, isfinite, lcm
from typing import TypeAlias

from cnncli.layers.avgpool import AdaptiveAvgPool2D
from cnncli.layers.conv_transpose import ConvTranspose2D
from cnncli.layers.flatten import Reshape
from cnncli.layers.global_pooling import GlobalPool2D
from cnncli.layers.upsample import Upsample2D
from cnncli.model.network import NETWORK_INPUT, Model, Node

Pixel: TypeAlias = Fraction | int | float

MAX_PERIOD = 1024  # values whose fields are kept one by one; a longer pattern becomes its bounds


@dataclass(frozen=True)
class Reach:
    """What the values of a layer see along one axis, in pixels of the input (beyond the image: padding).

    Value ``i = q * period + r`` sees the pixels ``firsts[r] + q * shift`` to ``lasts[r] + q * shift``; the period is
    the number of `firsts`, 1 where no layer upsamples.
    """

    firsts: tuple[Pixel, ...] = (0,)
    lasts: tuple[Pixel, ...] = (0,)
    shift: Fraction | int = 1

    @property
    def period(self) -> int:
        """Return after how many values the fields repeat, `shift` pixels on."""
        return len(self.firsts)

    @property
    def is_ordered(self) -> bool:
        """Return whether each value's field begins and ends no earlier than the one's before."""
        after = range(1, self.period + 1)
        return all(self.first(i - 1) <= self.first(i) and self.last(i - 1) <= self.last(i) for i in after)

    @property
    def jump(self) -> Fraction:
        """Return the pixels from one value's field to the next one's, on average."""
        return Fraction(self.shift) / self.period

    @property
    def size(self) -> int:
        """Return the number of pixels that the value with the largest field sees."""
        spans = (last - first for first, last in zip(self.firsts, self.lasts, strict=True) if isfinite(first))
        return max((floor(span) + 1 for span in spans), default=0)

    @property
    def centre(self) -> float:
        """Return the middle of the field of the first value that sees any pixel; pixel 0 has its middle at 0."""
        middles = ((a + b) / 2 for a, b in zip(self.firsts, self.lasts, strict=True) if isfinite(a))
        return float(next(middles, 0))

    def first(self, index: int) -> Pixel:
        """Return the first pixel that a value sees; indices before 0 lie in the padding."""
        q, r = divmod(index, self.period)
        return self.firsts[r] + q * self.shift

    def last(self, index: int) -> Pixel:
        """Return the last pixel that a value sees."""
        q, r = divmod(index, self.period)
        return self.lasts[r] + q * self.shift


@dataclass(frozen=True)
class ReceptiveField:
    """The reach along rows and columns."""

    rows: Reach
    columns: Reach


def receptive_fields(model: Model) -> tuple[ReceptiveField | None, ...]:
    """Return the receptive field of every node; None from the first flatten, reshape or global pooling on."""
    origin = ReceptiveField(Reach(), Reach())
    fields: list[ReceptiveField | None] = []
    for node in model.nodes:
        sources = [origin if index == NETWORK_INPUT else fields[index] for index in node.inputs]
        known = [source for source in sources if source is not None]
        is_apart = isinstance(node.layer, GlobalPool2D | Reshape)  # rows and columns are no longer those of the input
        if len(known) < len(sources) or len(node.out_shape) != 3 or is_apart:
            fields.append(None)
            continue
        rows = _step(node, 0, [field.rows for field in known])
        columns = _step(node, 1, [field.columns for field in known])
        fields.append(ReceptiveField(rows, columns))
    return tuple(fields)


def last_field(model: Model, fields: Sequence[ReceptiveField | None]) -> ReceptiveField | None:
    """Return the field of the output, or before a flatten or pooling over the whole image the largest that reaches it.

    None where no window lies before the output.
    """
    reached: list[ReceptiveField] = []
    todo, seen = [len(model.nodes) - 1], set()
    while todo:
        index = todo.pop()
        if index in seen or index == NETWORK_INPUT:
            continue
        seen.add(index)
        field = fields[index]
        if field is None:
            todo += model.nodes[index].inputs
        else:
            reached.append(field)
    if not reached:
        return None
    rows = max((field.rows for field in reached), key=lambda reach: reach.size)
    return ReceptiveField(rows, max((field.columns for field in reached), key=lambda reach: reach.size))


def _step(node: Node, axis: int, reaches: list[Reach]) -> Reach:
    """Return what the values of a node see along one axis, from what the values of its inputs see."""
    reach = _joined(reaches, node.in_shapes[0][1 + axis]) if len(set(reaches)) > 1 else reaches[0]
    if isinstance(node.layer, Upsample2D):
        factor = node.layer.factor[axis]
        if reach.period * factor > MAX_PERIOD:
            reach = _bounds(reach, factor)
            return Reach(reach.firsts, reach.lasts, reach.jump / factor)
        firsts = tuple(first for first in reach.firsts for _ in range(factor))
        return Reach(firsts, tuple(last for last in reach.lasts for _ in range(factor)), reach.shift)
    if isinstance(node.layer, AdaptiveAvgPool2D):
        return _binned(reach, node.in_shapes[0][1 + axis], node.out_shape[1 + axis])
    window = node.layer.window()
    stride, before, dilation = window.stride[axis], window.padding[2 * axis], window.dilation[axis]
    offsets = [tap * dilation - before for tap in range(window.kernel[axis])]
    if isinstance(node.layer, ConvTranspose2D):
        if reach.period * stride > MAX_PERIOD:
            reach = _bounds(reach, 1)
        targets = range(reach.period * stride)
        sources = [[(i - o) // stride for o in offsets if (i - o) % stride == 0] for i in targets]
        return _seen(reach, sources, reach.shift)
    common = gcd(reach.period, stride)
    if reach.is_ordered:
        offsets = [offsets[0], offsets[-1]]
    sources = [[value * stride + o for o in offsets] for value in range(reach.period // common)]
    return _seen(reach, sources, reach.shift * (stride // common))


def _seen(reach: Reach, sources: list[list[int]], shift: Fraction | int) -> Reach:
    """Return what values see that each read several values of `reach`, or none."""
    firsts = tuple(min((reach.first(i) for i in values), default=inf) for values in sources)
    return Reach(firsts, tuple(max((reach.last(i) for i in values), default=-inf) for values in sources), shift)


def _binned(reach: Reach, length: int, count: int) -> Reach:
    """Return the reach of `count` bins over `length` values: bin i is floor(i*n/m) .. ceil((i+1)*n/m) - 1."""
    common = gcd(length, count)
    bins, values = count // common, length // common  # after so many bins, so many values on, the pattern repeats
    again = reach.period // gcd(reach.period, values)
    if bins * again > MAX_PERIOD:
        reach, again = _bounds(reach, 1), 1
    shift = reach.shift * (values * again // reach.period)
    if bins > MAX_PERIOD:  # no bin begins more than one value before its share of the length, or ends beyond
        jump = reach.jump * length / count
        return Reach((reach.first(0) - reach.jump,), (reach.last(0) + jump,), jump)
    ends = [(i * length // count, -(-(i + 1) * length // count) - 1) for i in range(bins * again)]
    sources = [list(end) if reach.is_ordered else list(range(end[0], end[1] + 1)) for end in ends]
    return _seen(reach, sources, shift)


def _joined(reaches: list[Reach], length: int) -> Reach:
    """Return the smallest reach that holds all `reaches` at every one of `length` values."""
    period = lcm(*(reach.period for reach in reaches))
    if len({reach.jump for reach in reaches}) == 1 and period <= MAX_PERIOD:
        values = range(period)
        firsts = tuple(min(reach.first(value) for reach in reaches) for value in values)
        lasts = tuple(max(reach.last(value) for reach in reaches) for value in values)
        return Reach(firsts, lasts, reaches[0].jump * period)
    # paths of different steps drift apart: bounds that hold from the first value to the last
    jump = max(reach.jump for reach in reaches)
    bounds = [_bounds(reach, 1) for reach in reaches]
    ends = (0, length - 1)
    first = min(reach.first(end) - end * jump for reach in bounds for end in ends)
    last = max(reach.last(end) - end * jump for reach in bounds for end in ends)
    return Reach((first,), (last,), jump)


def _bounds(reach: Reach, factor: int) -> Reach:
    """Return a reach of period 1 that holds `reach`, for values that are about to be repeated `factor` times."""
    jump = reach.jump
    # the last of the repeated values lies up to (factor - 1)/factor of a step beyond the first
    drift = jump * (factor - 1) / factor
    first = min(first - r * jump for r, first in enumerate(reach.firsts)) - drift
    return Reach((first,), (max(last - r * jump for r, last in enumerate(reach.lasts)),), jump)
