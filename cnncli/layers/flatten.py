"""The same numbers in another shape: (C, H, W) becomes one vector in C order, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer, Option
from cnncli.shapes import Shape, format_hwc

if TYPE_CHECKING:
    from cnncli.layers.recording import Graph, Value


@dataclass(frozen=True)
class Reordered(Layer):
    """A layer that computes nothing: the numbers stay in their order, (C, H, W) row by row (PyTorch: ``view``)."""

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Return the input's numbers in the output's shape."""
        return g.reshaped(xs[0], self.out_shape(xs[0].shape))

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Return the gradient's numbers in the input's shape."""
        return (g.reshaped(dy, xs[0].shape, "dx"),)


@dataclass(frozen=True)
class Flatten(Reordered, kind="flatten", can_run=True):
    """The values of all channels one after the other."""

    summary: ClassVar[str] = "all values as one vector"

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C*H*W,)."""
        return (prod(xs[0]),)


@dataclass(frozen=True)
class Reshape(Reordered, kind="reshape", can_run=True):
    """The values of a vector, or of other feature maps, as feature maps: the inverse of flatten.

    The first H*W values are channel 0, row by row, as in PyTorch's ``x.view(C, H, W)``.
    """

    main: ClassVar[str] = "shape"
    summary: ClassVar[str] = "all values as height x width x channels; the inverse of flatten"
    options: ClassVar[tuple[Option, ...]] = (
        Option("shape", "shape", low=1, help="[height, width, channels] of as many values as the input has"),
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"shape": (2, 3, 4)}, ((24,),)),
        Example({"shape": (6, 2, 18)}),
    )

    shape: tuple[int, int, int]  # H, W, C as it is written

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, H, W)."""
        height, width, channels = self.shape
        if prod(self.shape) != prod(xs[0]):
            raise ShapeError(
                f"{height}x{width}x{channels} has {prod(self.shape):,} values, "
                f"its input {format_hwc(xs[0])} has {prod(xs[0]):,}",
                hint="give a shape of as many values",
            )
        return channels, height, width
