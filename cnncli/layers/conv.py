"""2-D convolution (cross-correlation). Dumoulin and Visin 2016, arXiv:1603.07285."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import MAX_KERNEL, Example, Layer, Option, Param, Window, pads_text
from cnncli.layers.convolution import ConvLoops
from cnncli.layers.few import Contraction
from cnncli.layers.five_taps import FiveTaps
from cnncli.layers.packed import Packed
from cnncli.layers.recording import Scope, Step, Table
from cnncli.layers.strided import Strided
from cnncli.layers.windows import DILATION, PADDING, ROUND, STRIDE, round_up, slide, with_pads
from cnncli.layers.winograd import Winograd
from cnncli.shapes import Pads, Pair, Shape, pair_text

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value

KERNEL = Option("kernel", "pair", low=1, high=MAX_KERNEL, help="rows x columns of the kernel, one number or two")
BIAS = Option("bias", "bool", None, help="one value per filter; by default yes, unless bn follows")
INIT = Option("init", "init", "he_normal", help="first values of the weights")


@dataclass(frozen=True)
class ConvWindow(Layer):
    """What a convolution and a locally connected layer share: the options, and the window they slide. No arithmetic."""

    filters: int
    kernel: Pair  # KH, KW [px]
    stride: Pair = (1, 1)  # SH, SW [px]
    padding: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px]
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    init: str = "he_normal"
    rounded: Pair = (0, 0)  # zeros of `padding` at the bottom and right that rounding up has added

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the convolution with its padding in pixels; rounding up becomes zeros at the end."""
        fields = dict(options)
        rounding = fields.pop("round", "floor")
        window = Window(fields["kernel"], fields.get("stride", (1, 1)), (0, 0, 0, 0), fields.get("dilation", (1, 1)))
        window = with_pads(window, fields.get("padding", "valid"), x)
        fields["padding"] = window.padding
        if rounding == "ceil" and len(x) == 3:
            fields["padding"] = pads = round_up(window, x)
            fields["rounded"] = pads[1] - window.padding[1], pads[3] - window.padding[3]
        if fields.get("bias") is None:
            fields["bias"] = True
        return cls(**fields)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (filters, OH, OW)."""
        return self.filters, *slide("a convolution", self.window(), xs[0])

    def macs(self, *xs: Shape) -> int:
        """Return outputs x taps x channels a filter sees."""
        return prod(self.out_shape(*xs)) * prod(self.kernel) * (xs[0][0] // self.groups)

    def window(self) -> Window:
        """Return kernel, stride, padding and dilation."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)

    def label(self) -> str:
        """Return ``f=5, s=1, p=2, n_c=8``; padding, dilation and groups only where they are set."""
        parts = [f"f={pair_text(self.kernel)}", f"s={pair_text(self.stride)}"]
        if any(self.padding):
            parts.append(f"p={pads_text(self.padding)}")
        if self.dilation != (1, 1):
            parts.append(f"d={pair_text(self.dilation)}")
        if self.groups > 1:
            parts.append(f"g={self.groups}")
        return ", ".join([*parts, f"n_c={self.filters}"])


@dataclass(frozen=True)
class Conv2D(ConvWindow, kind="conv", can_run=True):
    """Slide `filters` kernels over all channels of the input and add a bias."""

    main: ClassVar[str] = "filters"
    summary: ClassVar[str] = "2-D convolution: filters x kernel, stride, padding"
    options: ClassVar[tuple[Option, ...]] = (
        Option("filters", "int", low=1, help="number of kernels, the channels of the output"),
        KERNEL,
        STRIDE,
        PADDING,
        DILATION,
        Option("groups", "int", 1, 1, help="channel groups that do not see each other"),
        ROUND,
        BIAS,
        INIT,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"filters": 4, "kernel": (3, 3)}),
        Example({"filters": 6, "kernel": (3, 2), "stride": (2, 1), "groups": 3}, ((3, 7, 5),)),
        Example({"filters": 2, "kernel": (5, 3), "padding": (2, 1, 0, 1), "bias": False}),
        Example({"filters": 2, "kernel": (3, 3), "dilation": (2, 2), "padding": "same"}),
        Example({"filters": 17, "kernel": (3, 3), "padding": (1, 1, 2, 0)}, ((16, 5, 4),)),
    )

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (filters, OH, OW)."""
        channels = xs[0][0]
        size = super().out_shape(*xs)
        if channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"groups={self.groups} must divide both {channels} input channels and {self.filters} filters",
                hint="take a common divisor",
            )
        return size

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight (F, C/groups, KH, KW) and, unless there is none, bias (F,)."""
        weight = (self.filters, xs[0][0] // self.groups, *self.kernel)
        taps = prod(self.kernel)
        fans = taps * weight[1], taps * (self.filters // self.groups)
        named = {"weight": Param(weight, self.init, *fans)}
        if self.bias:
            named["bias"] = Param(weight[:1], "zeros", *fans)
        return named

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the loops that fill y; they can rectify as they write."""
        (x,) = xs
        y, loops = g.value(self.out_shape(x.shape)), self._loops(x.shape)
        faster = self._faster(x.shape)
        if faster is not None:
            weights = faster.transform(g.node, f"{g.label} weights")
            g.steps.append(weights)
            step = self._prepared(g, faster, x, y, weights.tables_written[0])
            step.folded = lambda scale, shift: self._folded_prepared(step, faster, loops, scale, shift)
            step.few = self._few(x.shape)
            return y
        fewer = self._fewer(x.shape)
        if fewer is not None and fewer.serves_forward and g.is_training:  # predictions of one image do not know it
            fewer.forward(g, x, y, has_bias=self.bias)
            return y

        def emit(b: Bound) -> list[Op]:
            bias = b.weights["bias"] if self.bias else b.zero
            return loops.forward(b.reads[0], b.writes[0], b.weights["weight"], bias, self.bias, "relu" in b.absorbed)

        step = g.step("forward", [x], [y], emit, halos=[self.padding], epilogues=["relu"], is_parallel=True)
        step.folded = lambda scale, shift: self._folded(step, loops, scale, shift)
        step.few = self._few(x.shape)
        return y

    def _few(self, x: Shape) -> Contraction | None:
        """Return what predicts one image at a time; with groups only the depthwise convolution."""
        faster, method = self._faster(x), "direct"
        if faster is not None:
            method = {Winograd: "winograd", Strided: "strided", Packed: "packed"}[type(faster)]
        elif self.groups > 1:
            if not self.groups == x[0] == self.filters:
                return None
            method = "depthwise"
        return Contraction(method, self.window(), x, self.out_shape(x), self.bias)

    def _prepared(self, g: Graph, faster: Winograd | Strided | Packed, x: Value, y: Value, weights: Table) -> Step:
        """Record the forward pass with prepared weights."""

        def emit(b: Bound) -> list[Op]:
            bias = b.weights["bias"] if self.bias else b.zero
            return faster.correlate(b, b.tables[weights], bias, has_bias=self.bias, relu="relu" in b.absorbed)

        return g.step(
            "forward", [x], [y, faster.scratch(g)], emit, tables_read=[weights], halos=[faster.halo],
            epilogues=["relu"], is_parallel=True,
        )  # fmt: skip

    def _folded_prepared(
        self, step: Step, faster: Winograd | Strided | Packed, loops: ConvLoops, scale: Table, shift: Table
    ) -> list[Step]:
        """Return the step with scaled weights, after one that scales them and one that prepares them."""
        before, weight, bias = self._scaled_weights(step, loops, scale, shift)
        weights = faster.transform(step.node, f"{step.name} weights", weight)
        table = weights.tables_written[0]

        def emit(b: Bound) -> list[Op]:
            return faster.correlate(b, b.tables[table], b.tables[bias], has_bias=True, relu="relu" in b.absorbed)

        few = replace(step.few, weight=weight, bias=bias) if isinstance(step.few, Contraction) else None
        return [before, weights, replace(step, emit=emit, tables_read=(table, bias), folded=None, few=few)]

    def _folded(self, step: Step, loops: ConvLoops, scale: Table, shift: Table) -> list[Step]:
        """Return the step with scaled weights, after one that scales them."""
        before, weight, bias = self._scaled_weights(step, loops, scale, shift)

        def emit(b: Bound) -> list[Op]:
            return loops.forward(b.reads[0], b.writes[0], b.tables[weight], b.tables[bias], True, "relu" in b.absorbed)

        few = replace(step.few, weight=weight, bias=bias) if isinstance(step.few, Contraction) else None
        return [before, replace(step, emit=emit, tables_read=(weight, bias), folded=None, few=few)]

    def _scaled_weights(self, step: Step, loops: ConvLoops, scale: Table, shift: Table) -> tuple[Step, Table, Table]:
        """Return the step that scales the weights for `step`, and the tables that it writes: weight and bias."""
        size = loops.channels // self.groups * prod(self.kernel)
        weight, bias = Table(size * self.filters, f"{step.name} weight"), Table(self.filters, f"{step.name} bias")
        per_task = max(1, 4096 // size)

        def scale_weights(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = {"kernel": b.weights["weight"], "kernel_bias": b.weights["bias"] if self.bias else b.zero}
            factors = {"has_bias": int(self.bias), "scale": b.tables[scale], "shift": b.tables[shift]}
            target = {"weight": b.tables[weight], "bias": b.tables[bias]}
            sizes = {"size": size, "per_task": per_task, "filters": self.filters}
            return [Op("norms.batchnorm.fold_into_convolution", source | factors | target | sizes)]

        tasks = -(-self.filters // per_task)
        before = Step(
            f"{step.name}: scale weights", (), (), scale_weights, (scale, shift), (weight, bias), Scope.BATCH,
            tasks=tasks, node=step.node,
        )  # fmt: skip
        return before, weight, bias

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the loops that fill dweight, dbias and, where wanted, dx."""
        (x,) = xs
        faster, fewer = self._faster(x.shape, "dweight"), self._fewer(x.shape)
        if faster is not None and not isinstance(faster, Packed):
            faster.weight_gradient(g, x, dy, "weight")
        else:
            self._weight_gradient(g, x, dy)
        if self.bias:
            g.bias_gradient("bias", dy)
        if not g.wants_gradient(x):
            return (None,)
        dx, faster = g.value(x.shape), self._faster(x.shape, "dx")
        if faster is not None:
            self._prepared_input_gradient(g, faster, dy, dx)
            return (dx,)
        if fewer is not None:
            fewer.input_gradient(g, dy, dx)
            return (dx,)
        loops = self._loops(x.shape)

        def emit(b: Bound) -> list[Op]:
            return loops.input_gradient(b.reads[0], b.writes[0], b.weights["weight"], b.zero)

        halo = loops.gradient_halo(x.shape, self.out_shape(x.shape))
        g.step("dx", [dy], [dx], emit, halos=[halo], is_parallel=True)
        return (dx,)

    def _weight_gradient(self, g: Graph, x: Value, dy: Value) -> None:
        """Record the loops that fill dweight."""
        loops, size = self._loops(x.shape), self.params(x.shape)["weight"].size
        dweight = g.parameter_gradient("weight", size)

        def emit(b: Bound) -> list[Op]:
            return loops.weight_gradient(b.reads[0], b.reads[1], b.partials[dweight])

        g.step("dweight", [x, dy], [], emit, tables_written=[dweight], halos=[self.padding], is_parallel=True)

    def _prepared_input_gradient(self, g: Graph, faster: Winograd | Strided | Packed, dy: Value, dx: Value) -> None:
        """Record the convolution of dy with prepared weights, turned round."""
        weights = faster.transform(g.node, f"{g.label} weights turned", is_turned=True)
        g.steps.append(weights)
        table = weights.tables_written[0]

        def emit(b: Bound) -> list[Op]:
            return faster.correlate(b, b.tables[table], b.zero, is_turned=True)

        g.step(
            "dx", [dy], [dx, faster.scratch(g, is_turned=True)], emit, tables_read=[table], halos=[faster.turned_halo],
            is_parallel=True,
        )  # fmt: skip

    def _faster(self, x: Shape, which: str = "forward") -> Winograd | Strided | Packed | None:
        """Return what makes a pass, forward, dx or dweight, faster than the direct loops, if anything does."""
        y, shapes = self.out_shape(x), (self.window(), self.groups, x, self.out_shape(x))
        return Winograd.of(*shapes) or Strided.of(which, *shapes) or Packed.of(self._loops(x), x, y)

    def _fewer(self, x: Shape) -> FiveTaps | None:
        return FiveTaps.of(self.window(), self.groups, x, self.out_shape(x))

    def _loops(self, x: Shape) -> ConvLoops:
        return ConvLoops(self.window(), x[0], self.filters, self.groups)

    def params_formula(self, *xs: Shape) -> str:
        """Return ``KH*KW*C*F + F``."""
        (x,) = xs
        channels = f"({x[0]}/{self.groups})" if self.groups > 1 else str(x[0])
        weights = f"{self.kernel[0]}*{self.kernel[1]}*{channels}*{self.filters}"
        return f"{weights} + {self.filters}" if self.bias else weights
