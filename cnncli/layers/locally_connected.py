"""Locally connected layer: a convolution whose kernel differs at every place. LeCun 1989."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from cnncli.layers.base import Example, Option, Param
from cnncli.layers.conv import Conv2D, ConvWindow
from cnncli.shapes import Shape


@dataclass(frozen=True)
class LocallyConnected2D(ConvWindow, kind="locally_connected"):
    """Windows as in a convolution, but nothing is shared: each output value has its own weights and bias."""

    main: ClassVar[str] = "filters"
    summary: ClassVar[str] = "convolution without shared weights, for comparison"
    options: ClassVar[tuple[Option, ...]] = tuple(
        option for option in Conv2D.options if option.name not in ("groups", "dilation")
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"filters": 2, "kernel": (3, 3)}),)

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
