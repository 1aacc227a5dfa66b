"""Maximum pooling: the largest value under the window; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.buffers import Backward, Buffers
from cnncli.layers.pooling import Pool2D

if TYPE_CHECKING:
    from cnncli.kernels.program import Op


@dataclass(frozen=True)
class MaxPool2D(Pool2D, kind="maxpool"):
    """The largest value under the window, per channel."""

    summary: ClassVar[str] = "maximum pooling; the stride is the size unless said otherwise"

    @property
    def is_disjoint(self) -> bool:
        """Return whether every pixel lies in one window at most, and every window in the image."""
        return self.stride == self.size and not any(self.padding) and not self.ceil

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the op that fills y."""
        from cnncli.kernels.program import Op

        sizes = *b.x.shape, *b.y.shape[1:], *b.x.steps, *b.y.steps, *self.size, *self.stride
        return (Op("pool2d.maxpool_forward", (b.x.place, b.y.place, *sizes, self.padding[0], self.padding[2])),)

    def backward(self, b: Buffers) -> Backward:
        """Return the op that gives each window's gradient to its first largest pixel."""
        from cnncli.kernels.program import Op

        if b.dx is None or b.dy is None:
            return Backward()
        places = b.x.place, b.y.place, b.dy.place, b.dx.place
        steps = *b.x.steps, *b.y.steps, *b.dy.steps, *b.dx.steps
        window = *self.size, *self.stride, self.padding[0], self.padding[2]
        flags = int(b.rectify), int(self.is_disjoint)
        return Backward(
            (Op("pool2d.maxpool_backward", (*places, *b.x.shape, *b.y.shape[1:], *steps, *window, *flags)),)
        )
