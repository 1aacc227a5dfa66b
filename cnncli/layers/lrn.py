"""Local response normalisation across channels. Krizhevsky et al. 2012, section 3.3.

As in PyTorch and Caffe, alpha is divided by the number of channels in the sum; in the paper it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer, Option

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class LRN(Layer, kind="lrn", can_run=True):
    """``x / (k + alpha / size * sum of squares over size channels) ** beta``.

    The sum at channel c is over c - size//2 .. c + (size-1)//2, as far as there are such channels.
    """

    summary: ClassVar[str] = "local response normalisation across channels"
    main: ClassVar[str] = "size"
    options: ClassVar[tuple[Option, ...]] = (
        Option("size", "int", 5, 1, 1024, help="neighbouring channels"),
        Option("alpha", "number", 1e-4, 0, 100),
        Option("beta", "number", 0.75, 0, 100),
        Option("k", "number", 1.0, 0, 100),
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({}, ((7, 3, 4),)),
        Example({"size": 4, "alpha": 2.0, "beta": 0.6, "k": 2.0}),
    )

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def label(self) -> str:
        """Return ``n=5``."""
        return f"n={self.size}"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y and, for the backward pass, what it is divided by before it is raised."""
        y, scale = g.value(xs[0].shape), g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[0], "y": b.writes[0], "scale": b.writes[1]}
            return [Op("norms.lrn.forward", maps | self._numbers() | {"k": self.k})]

        g.step("forward", xs, [y, scale], emit)
        g.notes[self, g.node] = scale
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step ``dx = dy * s**-beta - 2*alpha*beta/size * x * sum of dy * y / s`` (s: see `forward`)."""
        (x,) = xs
        if not g.wants_gradient(x):
            return (None,)
        dx, ratio = g.value(x.shape), g.value(x.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            gain, source, result, scale = b.reads
            maps = {"dy": gain, "scale": scale, "t": b.writes[1]}
            whole = maps | {"x": source, "dx": b.writes[0]} | self._numbers()
            return [Op("norms.lrn.ratio", maps | {"y": result}), Op("norms.lrn.backward", whole)]

        g.step("dx", [dy, x, y, g.notes[self, g.node]], [dx, ratio], emit, in_place=[0])
        return (dx,)

    def _numbers(self) -> dict[str, float]:
        """Return the options as kernels take them; `quarters` is 4*beta where roots are enough, else 0."""
        quarters = 4 * self.beta
        is_root = quarters in range(1, 17)
        return {
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "quarters": int(quarters) if is_root else 0,
        }
