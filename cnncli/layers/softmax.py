"""Softmax: logits become probabilities, ``exp(x_i) / sum_j exp(x_j)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Softmax(Layer, kind="softmax", can_run=True):
    """Probabilities that add to 1, over the channels; at the end of a network it is fused with the loss."""

    summary: ClassVar[str] = "probabilities that add to 1"
    is_activation: ClassVar[bool] = True
    loss: ClassVar[str] = "cross_entropy"
    examples: ClassVar[tuple[Example, ...]] = (Example({}, ((10,),)), Example())

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y, pixel by pixel."""
        y = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("softmax_maps.forward", {"x": b.reads[0], "y": b.writes[0]})]

        g.step("forward", xs, [y], emit, in_place=[0])
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that makes ``y * (dy - sum of y * dy)``."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(y.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("softmax_maps.backward", {"dy": b.reads[0], "y": b.reads[1], "dx": b.writes[0]})]

        g.step("dx", [dy, y], [dx], emit, in_place=[0])
        return (dx,)
