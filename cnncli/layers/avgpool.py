"""Average pooling: the mean of the pixels under the window; padding does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.pooling import Pool2D

if TYPE_CHECKING:
    from cnncli.kernels.arguments import Window
    from cnncli.kernels.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class AvgPool2D(Pool2D, kind="avgpool", can_run=True):
    """The mean of the input pixels under the window, per channel; padded zeros are not counted."""

    summary: ClassVar[str] = "average pooling; the stride is the size unless said otherwise"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: average(b, self.kernel_window()))
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
    from cnncli.kernels.program import Op

    return [Op("pool2d.avgpool_forward", {"x": b.reads[0], "y": b.writes[0], "window": window})]


def average_gradient(b: Bound, window: Window) -> list[Op]:
    """Return the op that shares each output's gradient among the pixels of its window."""
    from cnncli.kernels.program import Op

    return [Op("pool2d.avgpool_backward", {"dy": b.reads[0], "dx": b.writes[0], "window": window})]
