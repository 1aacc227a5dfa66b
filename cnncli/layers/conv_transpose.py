"""Transposed convolution: the input gradient of a convolution as a layer. Dumoulin and Visin 2016, arXiv:1603.07285."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import (
    MAX_PADDING,
    Example,
    Layer,
    Option,
    Param,
    Window,
    pads_text,
    require_image,
)
from cnncli.layers.conv import BIAS, INIT, KERNEL
from cnncli.layers.convolution import ConvLoops
from cnncli.layers.recording import Scope, Step, Table
from cnncli.layers.windows import DILATION
from cnncli.shapes import Pads, Pair, Shape, pair_text

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value

MAX_STRIDE = 64


@dataclass(frozen=True)
class ConvTranspose2D(Layer, kind="conv_transpose", can_run=True):
    """Every input pixel adds `kernel` pixels to the output, `stride` apart; then `padding` is cut off.

    The arithmetic, shapes and parameters of ``torch.nn.ConvTranspose2d``: the gradient of a convolution with the same
    options with respect to its input. Behind a stride `s` that convolution does not tell s sizes apart;
    `output_padding` adds rows and columns at the bottom and right to name one of them.
    """

    main: ClassVar[str] = "filters"
    summary: ClassVar[str] = "transposed convolution: every pixel is spread over a window; stride enlarges"
    options: ClassVar[tuple[Option, ...]] = (
        Option("filters", "int", low=1, help="channels of the output"),
        KERNEL,
        Option("stride", "pair", (1, 1), 1, MAX_STRIDE, help="distance of the windows in the output [px]"),
        Option(
            "padding",
            "pads",
            "valid",
            0,
            MAX_PADDING,
            help="rows and columns cut off the output: valid (none), a number or [top, bottom, left, right]",
        ),
        Option(
            "output_padding",
            "pair",
            (0, 0),
            0,
            255,
            help="rows and columns added at the bottom and right; below stride or dilation",
        ),
        DILATION,
        Option("groups", "int", 1, 1, help="channel groups that do not see each other"),
        BIAS,
        INIT,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"filters": 4, "kernel": (2, 2), "stride": (2, 2)}),
        Example({"filters": 6, "kernel": (3, 2), "stride": (2, 3), "groups": 3, "output_padding": (1, 2)}),
        Example({"filters": 2, "kernel": (5, 4), "padding": (2, 1, 0, 1), "bias": False}),
        Example({"filters": 2, "kernel": (3, 3), "dilation": (2, 3), "output_padding": (1, 2), "padding": (1,) * 4}),
    )

    filters: int
    kernel: Pair  # KH, KW [px]
    stride: Pair = (1, 1)  # SH, SW [px]
    padding: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px], taken off the output
    output_padding: Pair = (0, 0)  # bottom, right [px]
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    init: str = "he_normal"

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the layer; `same` and `full` do not say how much to cut off."""
        del x
        fields = dict(options)
        padding = fields.get("padding", "valid")
        if isinstance(padding, str):
            if padding != "valid":
                raise ShapeError(
                    f"padding {padding} is not known to a transposed convolution",
                    hint="give the rows and columns to cut off, as in padding: 1",
                )
            fields["padding"] = 0, 0, 0, 0
        if fields.get("bias") is None:
            fields["bias"] = True
        return cls(**fields)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (filters, OH, OW), OH = (H - 1)*stride - top - bottom + dilation*(KH - 1) + output_padding + 1.

        Raises
        ------
        ShapeError
            Where nothing is left, `output_padding` reaches stride and dilation, or `groups` does not divide.
        """
        require_image("a transposed convolution", xs[0])
        channels = xs[0][0]
        if channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"groups={self.groups} must divide both {channels} input channels and {self.filters} filters",
                hint="take a common divisor",
            )
        for extra, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(stride, dilation):
                raise ShapeError(
                    f"output_padding {pair_text(self.output_padding)} must be smaller than the stride "
                    f"{pair_text(self.stride)} or the dilation {pair_text(self.dilation)}",
                    hint=f"keep it below {max(stride, dilation)}",
                )
        rows, columns = (
            (n - 1) * stride - sum(self.padding[2 * axis : 2 * axis + 2]) + dilation * (kernel - 1) + extra + 1
            for axis, (n, stride, dilation, kernel, extra) in enumerate(
                zip(xs[0][1:], self.stride, self.dilation, self.kernel, self.output_padding, strict=True)
            )
        )
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"padding {pads_text(self.padding)} leaves an output of {rows}x{columns} pixels",
                hint="take less padding or a larger kernel",
            )
        return self.filters, rows, columns

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight (C, F/groups, KH, KW) and, unless there is none, bias (F,).

        A pixel of the output is a sum over 1 of `stride` taps of C / groups channels: the fan in is their mean number.
        """
        channels, taps = xs[0][0], prod(self.kernel)
        weight = (channels, self.filters // self.groups, *self.kernel)
        fans = max(1, taps * (channels // self.groups) // prod(self.stride)), taps * weight[1]
        named = {"weight": Param(weight, self.init, *fans)}
        if self.bias:
            named["bias"] = Param((self.filters,), "zeros", *fans)
        return named

    def macs(self, *xs: Shape) -> int:
        """Return input pixels x weights: each weight meets each pixel of its channel once."""
        (x,) = xs
        return prod(x) * (self.filters // self.groups) * prod(self.kernel)

    def window(self) -> Window:
        """Return the window that is laid over the output: kernel, stride, padding and dilation."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the loops that fill y, those of a convolution's input gradient; they can rectify as they write."""
        (x,) = xs
        y, loops = g.value(self.out_shape(x.shape)), self._loops(x.shape)

        def emit(b: Bound) -> list[Op]:
            bias = b.weights["bias"] if self.bias else b.zero
            return loops.input_gradient(
                b.reads[0], b.writes[0], b.weights["weight"], bias, has_bias=self.bias, relu="relu" in b.absorbed
            )

        step = g.step("forward", [x], [y], emit, halos=[loops.gradient_halo(y.shape, x.shape)], epilogues=["relu"])
        step.folded = lambda scale, shift: self._folded(step, loops, scale, shift)
        return y

    def _folded(self, step: Step, loops: ConvLoops, scale: Table, shift: Table) -> list[Step]:
        """Return the step with scaled weights, after one that scales them."""
        taps, inputs = prod(self.kernel), loops.filters
        weight = Table(inputs * self.filters // self.groups * taps, f"{step.name} weight")
        bias = Table(self.filters, f"{step.name} bias")

        def scale_weights(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source = {"kernel": b.weights["weight"], "kernel_bias": b.weights["bias"] if self.bias else b.zero}
            factors = {"has_bias": int(self.bias), "scale": b.tables[scale], "shift": b.tables[shift]}
            target = {"weight": b.tables[weight], "bias": b.tables[bias]}
            sizes = {"taps": taps, "channels": inputs, "groups": self.groups, "filters": self.filters}
            return [Op("norms.batchnorm.fold_into_transposed", source | factors | target | sizes)]

        def emit(b: Bound) -> list[Op]:
            return loops.input_gradient(
                b.reads[0], b.writes[0], b.tables[weight], b.tables[bias], has_bias=True, relu="relu" in b.absorbed
            )

        tables = (weight, bias)
        name = f"{step.name}: scale weights"
        before = Step(name, (), (), scale_weights, (scale, shift), tables, Scope.BATCH, node=step.node)
        return [before, replace(step, emit=emit, tables_read=tables, folded=None)]

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the loops that fill dweight, dbias and, where wanted, dx = the convolution of dy."""
        (x,) = xs
        loops = self._loops(x.shape)
        dweight = g.parameter_gradient("weight", self.params(x.shape)["weight"].size)

        def emit_weight(b: Bound) -> list[Op]:
            return loops.weight_gradient(b.reads[0], b.reads[1], b.partials[dweight])

        g.step("dweight", [dy, x], [], emit_weight, tables_written=[dweight], halos=[self.padding])
        if self.bias:
            g.bias_gradient("bias", dy)
        if not g.wants_gradient(x):
            return (None,)
        dx = g.value(x.shape)

        def emit_input(b: Bound) -> list[Op]:
            return loops.forward(b.reads[0], b.writes[0], b.weights["weight"], b.zero, False, False)

        g.step("dx", [dy], [dx], emit_input, halos=[self.padding])
        return (dx,)

    def _loops(self, x: Shape) -> ConvLoops:
        """Return the convolution whose input gradient this is: from `filters` maps to the channels of `x`."""
        return ConvLoops(self.window(), self.filters, x[0], self.groups)

    def params_formula(self, *xs: Shape) -> str:
        """Return ``KH*KW*C*F + F``."""
        filters = f"({self.filters}/{self.groups})" if self.groups > 1 else str(self.filters)
        weights = f"{self.kernel[0]}*{self.kernel[1]}*{xs[0][0]}*{filters}"
        return f"{weights} + {self.filters}" if self.bias else weights

    def label(self) -> str:
        """Return ``f=3, s=2, p=1, op=1, n_c=8``; the middle ones only where they are set."""
        parts = [f"f={pair_text(self.kernel)}", f"s={pair_text(self.stride)}"]
        if any(self.padding):
            parts.append(f"p={pads_text(self.padding)}")
        if any(self.output_padding):
            parts.append(f"op={pair_text(self.output_padding)}")
        if self.dilation != (1, 1):
            parts.append(f"d={pair_text(self.dilation)}")
        if self.groups > 1:
            parts.append(f"g={self.groups}")
        return ", ".join([*parts, f"n_c={self.filters}"])
