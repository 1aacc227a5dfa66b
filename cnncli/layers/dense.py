"""Fully connected layer: every unit sees every value of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.layers.conv import BIAS, INIT
from cnncli.shapes import Shape, format_hwc


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
            raise ShapeError(
                f"dense needs a vector, its input is {format_hwc(xs[0])}", hint="put flatten before it"
            )
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
