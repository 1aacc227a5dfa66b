"""Dropout: in training a part of the values is set to zero. Srivastava et al. 2014, JMLR 15."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer, Option

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Dropout(Layer, kind="dropout", can_run=True):
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

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that drops values of x; without training, x is the output."""
        if not g.is_training:
            return xs[0]
        # counted among the dropouts of the network: a layer put before them leaves their masks as they are
        stream = g.notes[Dropout] = g.notes.get(Dropout, -1) + 1
        g.notes[self, g.node] = stream
        return self._dropped(g, "forward", xs[0])

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that drops the same places of dy."""
        return (self._dropped(g, "dx", dy) if g.wants_gradient(xs[0]) else None,)

    def _dropped(self, g: Graph, name: str, x: Value) -> Value:
        y, stream = g.value(x.shape), g.notes[self, g.node]

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            odds = {"keep": 1 / (1 - self.rate), "threshold": round(self.rate * 2**32)}
            return [
                Op("elementwise.dropout", {"x": b.reads[0], "y": b.writes[0], "key": b.key, "stream": stream, **odds})
            ]

        g.step(name, [x], [y], emit, in_place=[0])
        return y
