"""2-D convolution (cross-correlation). Dumoulin and Visin 2016, arXiv:1603.07285."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers import conv_passes
from cnncli.layers.base import MAX_KERNEL, Example, Layer, Option, Param, Window, pads_text, pair_text
from cnncli.layers.buffers import Backward, Buffers
from cnncli.layers.windows import DILATION, PADDING, ROUND, STRIDE, round_up, slide, with_pads
from cnncli.shapes import Pads, Pair, Shape

if TYPE_CHECKING:
    from cnncli.kernels.program import Op

KERNEL = Option("kernel", "pair", low=1, high=MAX_KERNEL, help="rows x columns of the kernel, one number or two")
BIAS = Option("bias", "bool", None, help="one value per filter; by default yes, unless bn follows")
INIT = Option("init", "init", "he_normal", help="first values of the weights")


@dataclass(frozen=True)
class Conv2D(Layer, kind="conv"):
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
    )

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
        (x,) = xs
        size = slide("a convolution", self.window(), x)
        if x[0] % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"groups={self.groups} must divide both {x[0]} input channels and {self.filters} filters",
                hint="take a common divisor",
            )
        return self.filters, *size

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight (F, C/groups, KH, KW) and, unless there is none, bias (F,)."""
        weight = (self.filters, xs[0][0] // self.groups, *self.kernel)
        taps = prod(self.kernel)
        fans = taps * weight[1], taps * (self.filters // self.groups)
        named = {"weight": Param(weight, self.init, *fans)}
        if self.bias:
            named["bias"] = Param(weight[:1], "zeros", *fans)
        return named

    def macs(self, *xs: Shape) -> int:
        """Return outputs x taps x channels a filter sees."""
        return prod(self.out_shape(*xs)) * prod(self.kernel) * (xs[0][0] // self.groups)

    def window(self) -> Window:
        """Return kernel, stride, padding and dilation."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)

    def halo(self) -> Pads:
        """Return the padding: it is there in memory, so no window meets a border."""
        return self.padding

    def gradient_halo(self, *xs: Shape) -> Pads:
        """Return the zeros that the windows of the input gradient reach."""
        return conv_passes.gradient_halo(self, xs[0])

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the sweeps that fill y."""
        return conv_passes.forward(self, b)

    def backward(self, b: Buffers) -> Backward:
        """Return the sweeps that fill dx, dweight and dbias."""
        return conv_passes.backward(self, b)

    def params_formula(self, *xs: Shape) -> str:
        """Return ``KH*KW*C*F + F``."""
        (x,) = xs
        channels = f"({x[0]}/{self.groups})" if self.groups > 1 else str(x[0])
        weights = f"{self.kernel[0]}*{self.kernel[1]}*{channels}*{self.filters}"
        return f"{weights} + {self.filters}" if self.bias else weights

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
