"""Dropout: in training a part of the values is set to zero. Srivastava et al. 2014, JMLR 15."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer, Option
from cnncli.layers.buffers import Backward, Buffers, View

if TYPE_CHECKING:
    from cnncli.kernels.program import Op


@dataclass(frozen=True)
class Dropout(Layer, kind="dropout"):
    """Set a share `rate` of the values to zero and scale the others by 1 / (1 - rate), when training."""

    main: ClassVar[str] = "rate"
    summary: ClassVar[str] = "sets a share of the values to zero while training"
    options: ClassVar[tuple[Option, ...]] = (
        Option("rate", "number", low=0, high=1, open_high=True, help="share of the values, below 1"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"rate": 0.5}), Example({"rate": 0.1}, ((9,),)))

    rate: float

    def label(self) -> str:
        """Return ``rate 0.1``."""
        return f"rate {self.rate:g}"

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the op that drops values of x (training only)."""
        return (self._drop(b.x, b.y, b),)

    def backward(self, b: Buffers) -> Backward:
        """Return the op that drops the same places of dy."""
        if b.dx is None or b.dy is None:
            return Backward()
        return Backward((self._drop(b.dy, b.dx, b),))

    def _drop(self, source: View, target: View, b: Buffers) -> Op:
        from cnncli.kernels.program import Op, number

        steps = *source.steps, *target.steps
        odds = number(1 / (1 - self.rate)), round(self.rate * 2**32)
        return Op("elementwise.dropout", (source.place, target.place, *target.shape, *steps, b.key, *odds))
