"""Fully connected layer: every unit sees every value of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.layers.buffers import Backward, Buffers, View, whole_batch
from cnncli.layers.conv import BIAS, INIT
from cnncli.shapes import Shape, format_hwc

if TYPE_CHECKING:
    from cnncli.kernels.program import Op
    from cnncli.kernels.sweep import Sweep

_PARTS = 16  # tasks that the weight gradient is shared out over, where there are so many units


@dataclass(frozen=True)
class Dense(Layer, kind="dense"):
    """``weight @ x + bias`` with weight (units, features)."""

    main: ClassVar[str] = "units"
    summary: ClassVar[str] = "fully connected layer of units"
    options: ClassVar[tuple[Option, ...]] = (
        Option("units", "int", low=1, help="number of outputs"),
        BIAS,
        INIT,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"units": 5}, ((7,),)),
        Example({"units": 1, "bias": False}, ((3,),)),
    )

    units: int
    bias: bool = True
    init: str = "he_normal"

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the layer; a bias is there unless it is switched off or a batch normalisation follows."""
        del x
        fields = dict(options)
        if fields.get("bias") is None:
            fields["bias"] = True
        return cls(**fields)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (units,)."""
        if len(xs[0]) != 1:
            raise ShapeError(f"dense needs a vector, its input is {format_hwc(xs[0])}", hint="put flatten before it")
        return (self.units,)

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight (units, features) and, unless there is none, bias (units,)."""
        features = xs[0][0]
        named = {"weight": Param((self.units, features), self.init, features, self.units)}
        if self.bias:
            named["bias"] = Param((self.units,), "zeros", features, self.units)
        return named

    def macs(self, *xs: Shape) -> int:
        """Return units x features."""
        return self.units * xs[0][0]

    def params_formula(self, *xs: Shape) -> str:
        """Return ``units*features + units``."""
        weights = f"{self.units}*{xs[0][0]}"
        return f"{weights} + {self.units}" if self.bias else weights

    def keeps_input(self, *xs: Shape, lanes: int) -> bool:
        """Return whether the input itself is read again, not the transposed copy that `backward` makes."""
        return xs[0][0] < lanes

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the sweep that fills y: rows are units, the reduction runs over the features."""
        from cnncli.kernels.sweep import contract

        bias = b.weights["bias"] if self.bias else b.zero
        features = b.x.shape[0]
        sweep = self._sweep(self.units, b.y, (1, 1, features), a_row=features, a_step=1)
        sweep = replace(sweep, bias_row=int(self.bias), rectify=int(b.rectify))
        return (contract(b.weights["weight"], b.x.place, b.y.place, bias, sweep),)

    def backward(self, b: Buffers) -> Backward:
        """Return the sweeps that fill dx, and after the whole batch dweight and dbias."""
        from cnncli.kernels.program import Op
        from cnncli.kernels.sweep import contract

        if b.dy is None:
            return Backward()
        now: tuple[Op, ...] = ()
        if b.dx is not None:
            sweep = self._sweep(b.dx.shape[0], b.dx, (1, 1, self.units), a_row=1, a_step=b.dx.shape[0])
            now = (contract(b.weights["weight"], b.dy.place, b.dx.place, b.zero, sweep),)
        transposed, after = self._weight_gradient(b, b.dy)
        if self.bias:
            sizes = self.units, b.blocks, 1, 1, b.dy.lanes, b.dy.place.task_step, 0, 0
            after = (*after, (Op("reduction.sum_lanes_of", (whole_batch(b.dy.place), b.gradients["bias"], *sizes)), 1))
        return Backward((*now, *transposed), after)

    def _sweep(self, rows: int, y: View, lengths: tuple[int, int, int], a_row: int, a_step: int) -> Sweep:
        from cnncli.kernels.sweep import Sweep

        return Sweep(
            rows=rows, columns=1, outer=1, inner=1, a_row=a_row, b_column=y.lanes, b_outer=0, b_inner=0,
            c_row=y.lanes, c_column=y.lanes, c_outer=0, c_inner=0,
            lengths=lengths, a_steps=(0, 0, a_step), b_steps=(0, 0, y.lanes),
        )  # fmt: skip

    def _weight_gradient(self, b: Buffers, dy: View) -> tuple[tuple[Op, ...], tuple[tuple[Op, int], ...]]:
        """Return the ops for each block of images and those for the batch.

        dweight[u, i] = sum over images of dy[image, u] * x[image, i]: with the features in the lanes it is a sweep like
        the others, so x is transposed block by block. Fewer features than lanes are summed lane by lane instead.
        """
        from cnncli.kernels.program import Op
        from cnncli.kernels.sweep import Sweep, contract, correlate

        features, lanes = b.x.shape[0], dy.lanes
        target = b.gradients["weight"]
        if features < lanes:
            sweep = Sweep(
                rows=self.units, columns=features, outer=1, inner=1,
                a_row=lanes, b_column=lanes, b_outer=0, b_inner=0,
                c_row=features, c_column=1, c_outer=0, c_inner=0,
                lengths=(1, 1, b.blocks), a_steps=(0, 0, dy.place.task_step), b_steps=(0, 0, b.x.place.task_step),
            )  # fmt: skip
            return (), ((correlate(whole_batch(dy.place), whole_batch(b.x.place), target, sweep), 1),)
        vectors = -(-features // lanes)
        width = vectors * lanes
        rows = b.allocate(lanes * width)
        turn = Op("reduction.transpose_features", (b.x.place, rows, vectors, width))
        parts = max(1, min(_PARTS, self.units // 8))
        sweep = Sweep(
            rows=self.units, columns=vectors, outer=1, inner=1,
            a_row=lanes, b_column=lanes, b_outer=0, b_inner=0,
            c_row=features, c_column=lanes, c_outer=0, c_inner=0,
            lengths=(1, b.blocks, lanes), a_steps=(0, dy.place.task_step, 1), b_steps=(0, lanes * width, width),
            parts=parts, overhang=width - features,
        )  # fmt: skip
        return (turn,), ((contract(whole_batch(dy.place), whole_batch(rows), target, b.zero, sweep), parts),)
