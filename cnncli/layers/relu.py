"""Rectified linear unit: max(0, x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Layer
from cnncli.layers.recording import lanewise

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class ReLU(Layer, kind="relu", can_run=True):
    """``max(0, x)``."""

    summary: ClassVar[str] = "max(0, x)"
    is_activation: ClassVar[bool] = True

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("elementwise.relu_forward", {"x": b.reads[0], "y": b.writes[0]})]

        g.step("forward", xs, [y], emit, in_place=[0], epilogue="relu", few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that passes dy on where y is above 0."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(y.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("elementwise.relu_backward", {"dy": b.reads[0], "y": b.reads[1], "dx": b.writes[0]})]

        g.step("dx", [dy, y], [dx], emit, in_place=[0], epilogue="relu_gradient")
        return (dx,)
