"""Flatten: (C, H, W) becomes one vector in C order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Layer
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.layers.recording import Graph, Value


@dataclass(frozen=True)
class Flatten(Layer, kind="flatten", can_run=True):
    """The values of all channels one after the other."""

    summary: ClassVar[str] = "all values as one vector"

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C*H*W,)."""
        return (prod(xs[0]),)

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Return the input's numbers as a vector."""
        return g.reshaped(xs[0], self.out_shape(xs[0].shape))

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Return the gradient's numbers as feature maps."""
        return (g.reshaped(dy, xs[0].shape, "dx"),)
