"""Flatten: (C, H, W) becomes one vector in C order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Layer
from cnncli.layers.buffers import Backward, Buffers
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.kernels.program import Op


@dataclass(frozen=True)
class Flatten(Layer, kind="flatten"):
    """The values of all channels one after the other."""

    summary: ClassVar[str] = "all values as one vector"

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C*H*W,)."""
        return (prod(xs[0]),)

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return nothing: the vector is the input's memory, which has no halo."""
        del b
        return ()

    def backward(self, b: Buffers) -> Backward:
        """Return the op that lays the gradient out as feature maps, unless it already is."""
        from cnncli.kernels.program import Op

        if b.dx is None or b.dy is None or b.dx.place.words() == b.dy.place.words():
            return Backward()
        channels, height, width = b.dx.shape
        steps = height * width * b.dy.lanes, width * b.dy.lanes
        return Backward(
            (Op("elementwise.copy", (b.dy.place, b.dx.place, channels, height, width, *steps, *b.dx.steps)),)
        )
