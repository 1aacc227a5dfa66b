"""The receptive field: which pixels of the input one value of a layer depends on.

For windows one after the other the field grows by ``(k - 1) * d * jump`` pixels, the jump by the factor `s`, and the
first pixel moves by ``-p * jump``. Branches that join give the smallest field that holds both.

References
----------
Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill, equations 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from cnncli.layers.upsample import Upsample2D
from cnncli.model.network import NETWORK_INPUT, Model, Node


@dataclass(frozen=True)
class Reach:
    """What the values of a layer see along one axis, in pixels of the input.

    Value `i` sees the pixels `first` + i * `jump` to `last` + i * `jump` (beyond the image: padding).
    """

    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)

    @property
    def size(self) -> int:
        """Return the number of pixels that one value sees."""
        return ceil(self.last - self.first) + 1

    @property
    def centre(self) -> float:
        """Return the middle of the first value's field; pixel 0 has its middle at 0."""
        return float((self.first + self.last) / 2)


@dataclass(frozen=True)
class ReceptiveField:
    """The reach along rows and columns; None where a layer sees the whole image."""

    rows: Reach
    columns: Reach


def receptive_fields(model: Model) -> tuple[ReceptiveField | None, ...]:
    """Return the receptive field of every node; None from the first flatten or global pooling on."""
    origin = ReceptiveField(Reach(), Reach())
    fields: list[ReceptiveField | None] = []
    for node in model.nodes:
        sources = [origin if index == NETWORK_INPUT else fields[index] for index in node.inputs]
        known = [source for source in sources if source is not None]
        if len(known) < len(sources) or len(node.out_shape) != 3:
            fields.append(None)
            continue
        rows = _step(node, 0, [field.rows for field in known])
        columns = _step(node, 1, [field.columns for field in known])
        fields.append(ReceptiveField(rows, columns))
    return tuple(fields)


def last_field(fields: tuple[ReceptiveField | None, ...]) -> ReceptiveField | None:
    """Return the field of the last layer that still has rows and columns."""
    return next((field for field in reversed(fields) if field is not None), None)


def _step(node: Node, axis: int, reaches: list[Reach]) -> Reach:
    jump = max(reach.jump for reach in reaches)
    first = min(reach.first for reach in reaches)
    last = max(reach.last for reach in reaches)
    if isinstance(node.layer, Upsample2D):
        # the finer values between two pixels see one of them; half a pixel is rounded up by `size`
        return Reach(first, last, jump / node.layer.factor[axis])
    window = node.layer.window()
    first -= window.padding[2 * axis] * jump
    last += ((window.kernel[axis] - 1) * window.dilation[axis] - window.padding[2 * axis]) * jump
    return Reach(first, last, jump * window.stride[axis])
