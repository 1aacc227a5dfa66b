"""Fully connected layer: every unit sees every value of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer, Option, Param, Window
from cnncli.layers.conv import BIAS, INIT
from cnncli.layers.few import Contraction
from cnncli.layers.recording import Scope, Table
from cnncli.shapes import Shape, format_hwc

if TYPE_CHECKING:
    from cnncli.compute.arguments import Operand
    from cnncli.compute.program import Op
    from cnncli.kernels.convolution.loops import LoopNest
    from cnncli.layers.recording import Bound, Graph, Value, View

_PARTS = 16  # tasks that the weight gradient is shared out over, where there are so many units


@dataclass(frozen=True)
class Dense(Layer, kind="dense", can_run=True):
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

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the loops that fill y: rows are units, the reduction runs over the features."""
        (x,) = xs
        y = g.value((self.units,))

        def emit(b: Bound) -> list[Op]:
            bias = b.weights["bias"] if self.bias else b.zero
            features = b.reads[0].shape[0]
            nest = _nest(self.units, b.writes[0], features, a_row=features, a_step=1)
            nest = nest._replace(bias_row=int(self.bias), relu=int("relu" in b.absorbed))
            return [_contract(b.weights["weight"], b.reads[0], b.writes[0], bias, nest)]

        window = Window((1, 1), (1, 1), (0, 0, 0, 0))
        few = Contraction("direct", window, x.shape, y.shape, self.bias)
        g.step("forward", [x], [y], emit, epilogues=["relu"], few=few)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the loops that fill dx and, after the whole batch, dweight and dbias."""
        (x,) = xs
        dx = None
        if g.wants_gradient(x):
            dx = g.value(x.shape)

            def emit_input(b: Bound) -> list[Op]:
                nest = _nest(x.shape[0], b.writes[0], self.units, a_row=1, a_step=x.shape[0])
                return [_contract(b.weights["weight"], b.reads[0], b.writes[0], b.zero, nest)]

            g.step("dx", [dy], [dx], emit_input)
        self._weight_gradient(g, x, dy)
        if self.bias:
            g.step("dbias", [dy], [], _dbias, scope=Scope.BATCH)
        return (dx,)

    def _weight_gradient(self, g: Graph, x: Value, dy: Value) -> None:
        """Record dweight[u, i] = sum over images of dy[image, u] * x[image, i].

        With the features in the lanes it is a loop nest like the others over all images of the batch, so x is
        transposed block by block. Fewer features than lanes are summed lane by lane instead, for each block.
        """
        from cnncli.compute.host import LANES

        features = x.shape[0]
        if features < LANES:
            parts = g.parameter_gradient("weight", self.units * features)
            g.step("dweight", [x, dy], [], lambda b: _few_features(b, parts), tables_written=[parts])
            return
        vectors = -(-features // LANES)
        rows = Table(LANES * vectors * LANES, f"{g.label} x transposed", "block")

        def emit_transpose(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0].operand, "out": b.tables[rows], "vectors": vectors}
            return [Op("reduction.transpose_features", operands | {"row_step": vectors * LANES})]

        def emit(b: Bound) -> list[Op]:
            return _dweight(b, self.units, features, rows, tasks)

        tasks = max(1, min(_PARTS, self.units // 8))
        g.step("transpose", [x], [], emit_transpose, tables_written=[rows])
        g.step("dweight", [dy], [], emit, tables_read=[rows], scope=Scope.BATCH, tasks=tasks)


def _nest(rows: int, y: View, features: int, a_row: int, a_step: int) -> LoopNest:
    from cnncli.kernels.convolution.loops import LoopNest

    return LoopNest(
        rows=rows, columns=1, outer=1, inner=1, a_row=a_row, b_column=y.lanes, b_outer=0, b_inner=0,
        c_row=y.lanes, c_column=y.lanes, c_outer=0, c_inner=0,
        lengths=(1, 1, features), a_steps=(0, 0, a_step), b_steps=(0, 0, y.lanes),
    )  # fmt: skip


def _contract(a: Operand, b: View, c: View, bias: Operand, nest: LoopNest) -> Op:
    from cnncli.kernels.convolution.loops import contract

    return contract(a, b.operand, c.operand, bias, nest)


def _few_features(b: Bound, parts: Table) -> list[Op]:
    from cnncli.kernels.convolution.loops import LoopNest, contract_lanes

    x, dy = b.reads
    features, lanes = x.shape[0], x.lanes
    nest = LoopNest(
        rows=dy.shape[0], columns=features, outer=1, inner=1,
        a_row=lanes, b_column=lanes, b_outer=0, b_inner=0, c_row=features, c_column=1, c_outer=0, c_inner=0,
        lengths=(1, 1, 1), a_steps=(0, 0, 0), b_steps=(0, 0, 0),
    )  # fmt: skip
    return contract_lanes(dy.operand, x.operand, b.partials[parts], nest)


def _dbias(b: Bound) -> list[Op]:
    """Return the op that adds dy up over all images of the batch."""
    from cnncli.compute.arguments import Partial
    from cnncli.compute.program import Op

    dy, target = b.reads[0], Partial(b.gradients["bias"], 0, 1)
    sizes = {"rows": dy.shape[0], "sizes": (b.blocks, 1, 1), "row_step": dy.lanes}
    operands = {"x": dy.operand.per_task(0), "out": target, "steps": (dy.operand.task_step, 0, 0)}
    return [Op("reduction.sum_lanes", operands | sizes)]


def _dweight(b: Bound, units: int, features: int, rows: Table, parts: int) -> list[Op]:
    """Return the loops over the images of the batch.

    The transposed images are read once for each pair of a tile of units and a tile of feature vectors: the tiles of
    features are the outer loop, so that what one of them reads stays in the cache for all units.
    """
    from cnncli.kernels.convolution.loops import LoopNest, best_tile, contract

    dy, source = b.reads[0], b.tables[rows]
    lanes = dy.lanes
    vectors = -(-features // lanes)
    width = vectors * lanes
    nest = LoopNest(
        rows=units, columns=vectors, outer=1, inner=1,
        a_row=lanes, b_column=lanes, b_outer=0, b_inner=0,
        c_row=features, c_column=lanes, c_outer=0, c_inner=0,
        lengths=(1, b.blocks, lanes),
        a_steps=(0, dy.operand.task_step, 1), b_steps=(0, lanes * width, width),
        overhang=width - features,
    )  # fmt: skip
    a, x, target = dy.operand.per_task(0), source.per_task(0), b.gradients["weight"]
    tile = best_tile(units // parts, vectors)[1]
    whole = (vectors - 1) // tile  # the last tile may hang over
    ops = []
    if whole > 1:
        inner = nest._replace(columns=tile, outer=whole, b_outer=tile * lanes, c_outer=tile * lanes, overhang=0)
        ops.append(contract(a, x, target, b.zero, inner, parts))
        done = whole * tile
        nest = nest._replace(columns=vectors - done)
        x, target = x.shifted(done * lanes), target.shifted(done * lanes)
    return [*ops, contract(a, x, target, b.zero, nest, parts)]
