"""5x5 convolutions of stride 1 and few channels with fewer multiplications. See kernels/convolution/five_taps.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.layers.base import Window
from cnncli.layers.recording import Scope, Step, Table
from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value

#: the most channels and filters whose sums are one chain of additions each
_MOST = 32
#: channels from which on the forward pass rounds no worse than PyTorch's: measured
_LEAST_CHANNELS = 6


@dataclass(frozen=True)
class FiveTaps:
    """A convolution with 5x5 kernels, stride 1 and no dilation, from maps `x` to maps `y`.

    Parameters
    ----------
    padding : Pads
        Zeros around x; at most four on each side.
    x, y : (C, H, W)
    """

    padding: Pads
    x: Shape
    y: Shape

    @classmethod
    def of(cls, window: Window, groups: int, x: Shape, y: Shape) -> FiveTaps | None:
        """Return the passes of a convolution, or None where the direct ones serve it better."""
        from cnncli.compute.host import LANES

        # seven sums of several rows take the 32 registers of vectors that wide
        is_plain = window.kernel == (5, 5) and window.stride == window.dilation == (1, 1) and groups == 1
        if not is_plain or LANES != 16 or max(window.padding) > 4 or max(x[0], y[0]) > _MOST:
            return None
        return cls(window.padding, x, y)

    @property
    def serves_forward(self) -> bool:
        """Return whether a result is a sum of enough products to be rounded no worse than a direct one."""
        return self.x[0] >= _LEAST_CHANNELS

    def forward(self, g: Graph, x: Value, y: Value, *, has_bias: bool) -> None:
        """Record the steps that fill y; they can rectify as they write."""
        channels, filters = self.x[0], self.y[0]
        together = _together(filters)
        steps = {"row_step": channels * 25, "depth_step": 25}
        weights = self._weights(g, "weights", filters, channels, together, steps)
        scratch = g.value((7 * self.x[1] * -(-self.y[2] // 2) * channels + 2 * together,))

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[0], "y": b.writes[0], "u": b.tables[weights], "scratch": b.writes[1]}
            places = {"bias": b.weights["bias"] if has_bias else b.zero, "bias_row": int(has_bias)}
            places |= {"top": self.padding[0], "left": self.padding[2], "relu": int("relu" in b.absorbed)}
            name, parts = "convolution.five_taps.correlate", max(1, self.y[1] // 4)
            return [Op(name, maps | places, variant=(together,), most_parts=parts)]

        g.step(
            "forward", [x], [y, scratch], emit, tables_read=[weights], halos=[self.padding], epilogues=["relu"],
            is_parallel=True,
        )  # fmt: skip

    def input_gradient(self, g: Graph, dy: Value, dx: Value) -> None:
        """Record the steps that fill dx."""
        channels, filters = self.x[0], self.y[0]
        together = _together(channels)
        steps = {"row_step": 25, "depth_step": channels * 25}
        weights = self._weights(g, "weights turned", channels, filters, together, steps)
        pairs = self.y[1] * -(-self.y[2] // 2)
        scratch = g.value((4 * pairs * filters + 6 * together,))

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"dy": b.reads[0], "dx": b.writes[0], "u": b.tables[weights], "scratch": b.writes[1]}
            places = {"top": self.padding[0], "left": self.padding[2]}
            name, parts = "convolution.five_taps.input_gradient", max(1, self.x[1] // 4)
            return [Op(name, maps | places, variant=(together,), most_parts=parts)]

        g.step("dx", [dy], [dx, scratch], emit, tables_read=[weights], is_parallel=True)

    @staticmethod
    def _weights(g: Graph, name: str, rows: int, depth: int, together: int, steps: dict[str, int]) -> Table:
        """Record the step that transforms the weights, once for the whole batch."""
        panels = -(-rows // together)
        table = Table(panels * together * depth * 35, f"{g.label} {name}")

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"weight": b.weights["weight"], "out": b.tables[table]}
            sizes = {"rows": rows, "depth": depth, "together": together}
            return [Op("convolution.five_taps.transform_weights", operands | sizes | steps)]

        step = Step(table.name, (), (), emit, (), (table,), Scope.BATCH, tasks=panels, node=g.node)
        g.steps.append(step)
        return table


def _together(maps: int) -> int:
    """Return how many maps are made together: up to seven sums each and the vectors they meet fill the registers."""
    return 4 if maps % 4 == 0 else min(maps, 3)
