"""Maximum pooling: the largest value under the window; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.pooling import Pool2D
from cnncli.layers.recording import lanewise

if TYPE_CHECKING:
    from cnncli.compute.arguments import Window
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class MaxPool2D(Pool2D, kind="maxpool", can_run=True):
    """The largest value under the window, per channel."""

    summary: ClassVar[str] = "maximum pooling; the stride is the size unless said otherwise"

    @property
    def is_disjoint(self) -> bool:
        """Return whether every pixel lies in one window at most, and every window in the image."""
        return self.stride == self.size and not any(self.padding) and not self.ceil

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: largest(b, self.kernel_window()), few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that gives each window's gradient to its first largest pixel.

        Where no windows overlap, it can write over x, and do the gradient of the ReLU that made x.
        """
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            return largest_gradient(b, self.kernel_window(), is_disjoint=self.is_disjoint)

        offered = ["relu_gradient"] if self.is_disjoint else []
        g.step("dx", [xs[0], y, dy], [dx], emit, in_place=[0] if self.is_disjoint else [], epilogues=offered)
        return (dx,)


def largest(b: Bound, window: Window) -> list[Op]:
    """Return the op that writes the largest value of each window."""
    from cnncli.compute.program import Op

    return [Op("pool2d.maxpool_forward", {"x": b.reads[0], "y": b.writes[0], "window": window})]


def largest_gradient(b: Bound, window: Window, *, is_disjoint: bool) -> list[Op]:
    """Return the op that gives each output's gradient to the first largest pixel of its window."""
    from cnncli.compute.program import Op

    maps = {"x": b.reads[0], "y": b.reads[1], "dy": b.reads[2], "dx": b.writes[0]}
    flags = {"relu_gradient": int("relu_gradient" in b.absorbed), "disjoint": int(is_disjoint)}
    return [Op("pool2d.maxpool_backward", maps | flags | {"window": window})]
