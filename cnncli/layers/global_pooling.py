"""Global pooling: one value per channel, whatever the image size. Lin et al. 2013, arXiv:1312.4400."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.avgpool import average, average_gradient
from cnncli.layers.base import Example, Layer, Option, require_image
from cnncli.layers.maxpool import largest, largest_gradient
from cnncli.layers.recording import lanewise
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Window
    from cnncli.layers.recording import Graph, Value


@dataclass(frozen=True)
class GlobalPool2D(Layer):
    """All pixels of a channel become one value."""

    options: ClassVar[tuple[Option, ...]] = (
        Option("keep", "bool", False, help="keep rows and columns: the output is 1x1xC, not a vector"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({"keep": True}))

    keep: bool = False

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C,), or (C, 1, 1) with `keep`."""
        require_image("global pooling", xs[0])
        return (xs[0][0], 1, 1) if self.keep else xs[0][:1]

    def label(self) -> str:
        """Return ``keep`` where rows and columns are kept."""
        return "keep" if self.keep else ""


def whole(shape: Shape) -> Window:
    """Return the window that covers an image."""
    from cnncli.compute.arguments import Window

    return Window(shape[1], shape[2], 1, 1, 0, 0)


@dataclass(frozen=True)
class GlobalAvgPool2D(GlobalPool2D, kind="globalavgpool", can_run=True):
    """The mean of each channel."""

    summary: ClassVar[str] = "mean of each channel; the output is a vector"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: average(b, whole(xs[0].shape)), few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that shares each channel's gradient among its pixels."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)
        g.step("dx", [dy], [dx], lambda b: average_gradient(b, whole(xs[0].shape)))
        return (dx,)


@dataclass(frozen=True)
class GlobalMaxPool2D(GlobalPool2D, kind="globalmaxpool", can_run=True):
    """The largest value of each channel."""

    summary: ClassVar[str] = "largest value of each channel; the output is a vector"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: largest(b, whole(xs[0].shape)), few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that gives each channel's gradient to its first largest pixel."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)
        g.step("dx", [xs[0], y, dy], [dx], lambda b: largest_gradient(b, whole(xs[0].shape), is_disjoint=True))
        return (dx,)
