"""Locally connected layer: a convolution whose kernel differs at every place. LeCun 1989."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.layers.base import Example, Option, Param
from cnncli.layers.conv import Conv2D, ConvWindow
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Window as KernelWindow
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class LocallyConnected2D(ConvWindow, kind="locally_connected", can_run=True):
    """Windows as in a convolution, but nothing is shared: each output value has its own weights and bias."""

    main: ClassVar[str] = "filters"
    summary: ClassVar[str] = "convolution without shared weights, for comparison"
    options: ClassVar[tuple[Option, ...]] = tuple(
        option for option in Conv2D.options if option.name not in ("groups", "dilation")
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"filters": 2, "kernel": (3, 3)}),
        Example({"filters": 3, "kernel": (2, 3), "stride": (2, 1), "padding": (1, 0, 1, 1), "bias": False}),
    )

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight (OH*OW, F, C, KH, KW) and bias (F, OH, OW)."""
        out = self.out_shape(*xs)
        fans = prod(self.kernel) * xs[0][0], prod(self.kernel) * self.filters
        named = {"weight": Param((out[1] * out[2], self.filters, xs[0][0], *self.kernel), self.init, *fans)}
        if self.bias:
            named["bias"] = Param(out, "zeros", *fans)
        return named

    def params_formula(self, *xs: Shape) -> str:
        """Return ``OH*OW*F * KH*KW*C + OH*OW*F``."""
        filters, rows, columns = self.out_shape(*xs)
        places = f"{rows}*{columns}*{filters}"
        weights = f"{places} * {self.kernel[0]}*{self.kernel[1]}*{xs[0][0]}"
        return f"{weights} + {places}" if self.bias else weights

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            bias = b.weights["bias"] if self.bias else b.zero
            operands = {"x": b.reads[0], "y": b.writes[0], "weight": b.weights["weight"], "bias": bias}
            flags = {"has_bias": int(self.bias), "window": self._kernel_window()}
            return [Op("convolution.locally_connected.forward", operands | flags)]

        g.step("forward", xs, [y], emit, halos=[self.padding])
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the steps that fill dweight, dbias and, where wanted, dx."""
        (x,) = xs
        params = self.params(x.shape)
        self._record_parameter_gradients(g, x, dy, {name: param.size for name, param in params.items()})
        if not g.wants_gradient(x):
            return (None,)
        dx = g.value(x.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"dy": b.reads[0], "dx": b.writes[0], "weight": b.weights["weight"]}
            return [Op("convolution.locally_connected.input_gradient", operands | {"window": self._kernel_window()})]

        g.step("dx", [dy], [dx], emit)
        return (dx,)

    def _record_parameter_gradients(self, g: Graph, x: Value, dy: Value, sizes: dict[str, int]) -> None:
        dweight = g.parameter_gradient("weight", sizes["weight"])

        def emit_weight(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "dy": b.reads[1], "out": b.partials[dweight]}
            return [Op("convolution.locally_connected.weight_gradient", operands | {"window": self._kernel_window()})]

        g.step("dweight", [x, dy], [], emit_weight, tables_written=[dweight], halos=[self.padding])
        if not self.bias:
            return
        dbias = g.parameter_gradient("bias", sizes["bias"])

        def emit_bias(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("convolution.locally_connected.bias_gradient", {"dy": b.reads[0], "out": b.partials[dbias]})]

        g.step("dbias", [dy], [], emit_bias, tables_written=[dbias])

    def _kernel_window(self) -> KernelWindow:
        from cnncli.compute.arguments import Window as KernelWindow

        return KernelWindow(*self.kernel, *self.stride, self.padding[0], self.padding[2])
