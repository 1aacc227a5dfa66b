"""Upsampling by repetition of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer, Option, require_image
from cnncli.layers.recording import lanewise
from cnncli.shapes import Pair, Shape, pair_text

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Upsample2D(Layer, kind="upsample", can_run=True):
    """Every pixel becomes `factor` rows and columns (nearest neighbour)."""

    main: ClassVar[str] = "factor"
    summary: ClassVar[str] = "repeats every row and column"
    options: ClassVar[tuple[Option, ...]] = (
        Option("factor", "pair", (2, 2), 1, 64, help="repetitions, one number or [rows, columns]"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"factor": (2, 3)}),)

    factor: Pair = (2, 2)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, H * rows, W * columns)."""
        require_image("upsample", xs[0])
        return xs[0][0], xs[0][1] * self.factor[0], xs[0][2] * self.factor[1]

    def label(self) -> str:
        """Return ``x2``."""
        return f"x{pair_text(self.factor)}"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            rows, columns = self.factor
            return [Op("spatial.repeat", {"x": b.reads[0], "y": b.writes[0], "rows": rows, "columns": columns})]

        g.step("forward", xs, [y], emit, few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that adds up the gradients of the pixels that each pixel has become."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            rows, columns = self.factor
            maps = {"dy": b.reads[0], "dx": b.writes[0]}
            return [Op("spatial.repeat_gradient", maps | {"rows": rows, "columns": columns})]

        g.step("dx", [dy], [dx], emit)
        return (dx,)
