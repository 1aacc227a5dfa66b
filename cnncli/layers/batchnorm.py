"""Batch normalisation. Ioffe and Szegedy 2015, arXiv:1502.03167."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.layers.recording import LIMITS, Scope, Table
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class BatchNorm(Layer, kind="batchnorm", can_run=True):
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` per channel.

    While training, mean and variance are the batch's; the running values follow with
    ``running = momentum * running + (1 - momentum) * batch``.
    """

    summary: ClassVar[str] = "per channel: mean 0, variance 1, then a learned scale and shift"
    options: ClassVar[tuple[Option, ...]] = (
        Option("eps", "number", 1e-5, 0, 1, open_low=True, help="added to the variance"),
        Option(
            "momentum",
            "number",
            0.9,
            0,
            1,
            open_high=True,
            help="share of the old running value (torch: 1 - this)",
        ),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({"eps": 1e-3}, ((9,),)))

    eps: float = 1e-5
    momentum: float = 0.9

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight and bias, and the running mean and variance that no gradient reaches."""
        shape = xs[0][:1]
        return {
            "weight": Param(shape, "ones"),
            "bias": Param(shape, "zeros"),
            "mean": Param(shape, "zeros", trainable=False),
            "variance": Param(shape, "ones", trainable=False),
        }

    def params_formula(self, *xs: Shape) -> str:
        """Return ``4*C``."""
        return f"4*{xs[0][0]}"

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the statistics of the batch and the normalisation; without training, the running statistics."""
        return self._normalised(g, xs[0]) if g.is_training else self._scaled(g, xs[0])

    def _normalised(self, g: Graph, x: Value) -> Value:
        channels, pixels = x.shape[0], prod(x.shape[1:])
        parts = Table(2 * channels, f"{g.label} moments of blocks", "block", "float64")
        statistics = Table(2 * channels, f"{g.label} statistics")
        batch = Table(2 * channels, f"{g.label} moments", dtype="float64")
        y = g.value(x.shape)

        def block_moments(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [
                Op("norms.batchnorm.block_moments", {"x": b.reads[0], "moments": b.tables[parts], "count": b.count})
            ]

        def batch_moments(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            tables = {
                "parts": b.tables[parts].per_task(0),
                "step": b.tables[parts].task_step,
                "statistics": b.tables[statistics],
                "batch": b.tables[batch],
            }
            sizes = {"channels": channels, "blocks": b.blocks, "pixels": pixels}
            return [Op("norms.batchnorm.batch_moments", tables | sizes | {"eps": self.eps, "count": b.count})]

        def normalise(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            mean = b.tables[statistics]
            operands = {"x": b.reads[0], "y": b.writes[0], "mean": mean, "scale": mean.shifted(channels)}
            operands |= {"weight": b.weights["weight"], "bias": b.weights["bias"], **b.limits}
            if "add" in b.absorbed:
                return [Op("norms.batchnorm.normalise_and_add", operands | {"other": b.reads[1]})]
            return [Op("norms.batchnorm.normalise", operands)]

        def follow(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            running = {"mean": b.weights["mean"], "variance": b.weights["variance"], "batch": b.tables[batch]}
            return [Op("norms.batchnorm.follow_moments", running | {"channels": channels, "momentum": self.momentum})]

        g.step("moments of blocks", [x], [], block_moments, tables_written=[parts])
        g.step("moments", [], [], batch_moments, tables_read=[parts], tables_written=[statistics, batch],
               scope=Scope.BATCH)  # fmt: skip
        g.step("forward", [x], [y], normalise, tables_read=[statistics], in_place=[0],
               epilogues=["add", *LIMITS], is_cheap=True)  # fmt: skip
        g.step("running statistics", [], [], follow, tables_read=[batch], scope=Scope.BATCH, is_update=True)
        g.notes[self, g.node] = statistics
        return y

    def _scaled(self, g: Graph, x: Value) -> Value:
        channels = x.shape[0]
        scale, shift = Table(channels, f"{g.label} scale"), Table(channels, f"{g.label} shift")
        y = g.value(x.shape)

        def prepare(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            tables = {"scale": b.tables[scale], "shift": b.tables[shift]}
            return [
                Op("norms.batchnorm.scale_and_shift", {**b.weights, **tables, "channels": channels, "eps": self.eps})
            ]

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "y": b.writes[0], "scale": b.tables[scale], "shift": b.tables[shift]}
            return [Op("norms.batchnorm.affine", operands | b.limits)]

        def emit_few(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "y": b.writes[0], "scale": b.tables[scale], "shift": b.tables[shift]}
            shape = b.writes[0].shape
            return [Op("few.maps.affine", operands | b.limits, most_parts=shape[0] * shape[1])]

        g.step("scale and shift", [], [], prepare, tables_written=[scale, shift], scope=Scope.BATCH)
        g.step("forward", [x], [y], emit, tables_read=[scale, shift], in_place=[0], epilogues=[*LIMITS],
               epilogue="scale_shift", few=lambda step: (replace(step, emit=emit_few),))  # fmt: skip
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the sums over the batch, the gradients of weight and bias, and the gradient of x."""
        (x,) = xs
        channels, pixels = x.shape[0], prod(x.shape[1:])
        statistics = g.notes[self, g.node]
        parts = Table(2 * channels, f"{g.label} sums of blocks", "block", "float64")
        totals = Table(2 * channels, f"{g.label} sums")

        def block_sums(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[-1], "statistics": b.tables[statistics], "sums": b.tables[parts]}
            if b.writes:
                maps = {"dy": b.writes[0], "y": b.reads[-2], **dict(zip("ab", b.reads[:-2], strict=False))}
                kernel = "masked_gradient_sums_of_two" if "b" in maps else "masked_gradient_sums"
                return [Op(f"norms.batchnorm_gradient.{kernel}", operands | maps)]
            operands["dy"] = b.reads[0]
            if "relu_gradient" in b.absorbed:
                affine = {"weight": b.weights["weight"], "bias": b.weights["bias"]}
                return [Op("norms.batchnorm_gradient.relu_gradient_sums", operands | affine)]
            return [Op("norms.batchnorm_gradient.gradient_sums", operands)]

        def batch_sums(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            tables = {
                "parts": b.tables[parts].per_task(0),
                "step": b.tables[parts].task_step,
                "totals": b.tables[totals],
            }
            gradients = {"dweight": b.gradients["weight"], "dbias": b.gradients["bias"]}
            sizes = {"channels": channels, "blocks": b.blocks, "pixels": pixels, "count": b.count}
            return [Op("norms.batchnorm_gradient.batch_gradient_sums", tables | gradients | sizes)]

        g.step("sums of blocks", [dy, x], [], block_sums, tables_read=[statistics], tables_written=[parts],
               prologues=["relu_gradient", "make"])  # fmt: skip
        g.step("sums", [], [], batch_sums, tables_read=[parts], tables_written=[totals], scope=Scope.BATCH)
        if not g.wants_gradient(x):
            return (None,)
        dx = g.value(x.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[1], "dy": b.reads[0], "dx": b.writes[0]}
            tables = {"statistics": b.tables[statistics], "totals": b.tables[totals], "weight": b.weights["weight"]}
            operands = maps | tables | {"count": b.count}
            if "relu_gradient" in b.absorbed:
                return [Op("norms.batchnorm_gradient.relu_normalise_gradient", operands | {"bias": b.weights["bias"]})]
            return [Op("norms.batchnorm_gradient.normalise_gradient", operands)]

        g.step("dx", [dy, x], [dx], emit, tables_read=[statistics, totals], in_place=[0],
               prologues=["relu_gradient"])  # fmt: skip
        return (dx,)
