"""Average pooling: the mean of the pixels under the window; padding does not count.

The window is given by its size, or follows from the size of the output (adaptive pooling).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.layers.base import Example, Layer, Option, require_image
from cnncli.layers.pooling import Pool2D
from cnncli.layers.recording import lanewise
from cnncli.shapes import Pair, Shape, pair_text

if TYPE_CHECKING:
    from cnncli.compute.arguments import Window
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class AvgPool2D(Pool2D, kind="avgpool", can_run=True):
    """The mean of the input pixels under the window, per channel; padded zeros are not counted."""

    summary: ClassVar[str] = "average pooling; the stride is the size unless said otherwise"
    options: ClassVar[tuple[Option, ...]] = (
        replace(Pool2D.options[0], default=None),
        *Pool2D.options[1:],
        Option("out", "pair", None, 1, 65_535, help="rows x columns of the output, in place of a size (adaptive)"),
    )
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("size", "stride", "padding", "round"), ("out",))
    examples: ClassVar[tuple[Example, ...]] = (*Pool2D.examples, Example({"out": (3, 4)}), Example({"out": (9, 2)}))

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the pool of a size, or for ``out`` the one whose windows follow from input and output."""
        out = options.get("out")
        return super().build(options, x) if out is None else AdaptiveAvgPool2D(out)

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: average(b, self.kernel_window()), few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that shares each window's gradient among its pixels."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)
        g.step("dx", [dy], [dx], lambda b: average_gradient(b, self.kernel_window()))
        return (dx,)


def average(b: Bound, window: Window) -> list[Op]:
    """Return the op that writes the mean of each window."""
    from cnncli.compute.program import Op

    return [Op("pool2d.avgpool_forward", {"x": b.reads[0], "y": b.writes[0], "window": window})]


def average_gradient(b: Bound, window: Window) -> list[Op]:
    """Return the op that shares each output's gradient among the pixels of its window."""
    from cnncli.compute.program import Op

    return [Op("pool2d.avgpool_backward", {"dy": b.reads[0], "dx": b.writes[0], "window": window})]


@dataclass(frozen=True)
class AdaptiveAvgPool2D(Layer, can_run=True):
    """The means of bins that cover the image: output i of m sees rows ``floor(i*n/m)`` to ``ceil((i+1)*n/m) - 1`` of n.

    Bins overlap by a pixel where m does not divide n. PyTorch's AdaptiveAvgPool2d; after He et al. 2014,
    arXiv:1406.4729, section 2.2.
    """

    kind: ClassVar[str] = "avgpool"

    out: Pair  # OH, OW [px]

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, OH, OW)."""
        require_image("a pool", xs[0])
        return xs[0][0], *self.out

    def label(self) -> str:
        """Return ``out=7``."""
        return f"out={pair_text(self.out)}"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("pool2d.adaptive_average_forward", {"x": b.reads[0], "y": b.writes[0]})]

        g.step("forward", xs, [y], emit, few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that shares each bin's gradient among its pixels."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("pool2d.adaptive_average_backward", {"dy": b.reads[0], "dx": b.writes[0]})]

        g.step("dx", [dy], [dx], emit)
        return (dx,)
