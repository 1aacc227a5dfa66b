"""Average pooling: the mean of the pixels under the window; padding does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.buffers import Backward, Buffers
from cnncli.layers.pooling import Pool2D

if TYPE_CHECKING:
    from cnncli.kernels.program import Op


@dataclass(frozen=True)
class AvgPool2D(Pool2D, kind="avgpool"):
    """The mean of the input pixels under the window, per channel; padded zeros are not counted."""

    summary: ClassVar[str] = "average pooling; the stride is the size unless said otherwise"

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the op that fills y."""
        from cnncli.kernels.program import Op

        sizes = *b.x.shape, *b.y.shape[1:], *b.x.steps, *b.y.steps, *self.size, *self.stride
        return (Op("pool2d.avgpool_forward", (b.x.place, b.y.place, *sizes, self.padding[0], self.padding[2])),)

    def backward(self, b: Buffers) -> Backward:
        """Return the op that shares each window's gradient among its pixels."""
        from cnncli.kernels.program import Op

        if b.dx is None or b.dy is None:
            return Backward()
        sizes = *b.dx.shape, *b.dy.shape[1:], *b.dx.steps, *b.dy.steps, *self.size, *self.stride
        places = b.dy.place, b.dx.place
        return Backward((Op("pool2d.avgpool_backward", (*places, *sizes, self.padding[0], self.padding[2])),))
