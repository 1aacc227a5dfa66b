"""Rectified linear unit: max(0, x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Layer
from cnncli.layers.buffers import Backward, Buffers

if TYPE_CHECKING:
    from cnncli.kernels.program import Op


@dataclass(frozen=True)
class ReLU(Layer, kind="relu"):
    """``max(0, x)``."""

    summary: ClassVar[str] = "max(0, x)"
    is_activation: ClassVar[bool] = True

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the op that fills y."""
        from cnncli.kernels.program import Op

        return (Op("elementwise.relu_forward", (b.x.place, b.y.place, *b.y.shape, *b.x.steps, *b.y.steps)),)

    def backward(self, b: Buffers) -> Backward:
        """Return the op that passes dy on where y is above 0."""
        from cnncli.kernels.program import Op

        if b.dx is None or b.dy is None:
            return Backward()
        places = b.y.place, b.dy.place, b.dx.place
        return Backward((Op("elementwise.relu_backward", (*places, *b.y.shape, *b.y.steps, *b.dy.steps, *b.dx.steps)),))
