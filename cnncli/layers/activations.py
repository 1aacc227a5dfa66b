"""The other activations: each value by itself, shape unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.shapes import Shape


@dataclass(frozen=True)
class Activation(Layer):
    """A function of each value by itself."""

    is_activation: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({}, ((9,),)))


@dataclass(frozen=True)
class LeakyReLU(Activation, kind="leaky_relu"):
    """``x`` above zero, ``slope * x`` below. Maas et al. 2013."""

    main: ClassVar[str] = "slope"
    summary: ClassVar[str] = "x above zero, slope * x below"
    options: ClassVar[tuple[Option, ...]] = (Option("slope", "number", 0.01, 0, 1, help="factor of negative values"),)

    slope: float = 0.01

    def label(self) -> str:
        """Return ``slope 0.01``."""
        return f"slope {self.slope:g}"


@dataclass(frozen=True)
class PReLU(Activation, kind="prelu"):
    """A leaky ReLU whose slope is learned, one per channel. He et al. 2015, arXiv:1502.01852."""

    summary: ClassVar[str] = "leaky ReLU with a learned slope per channel"
    options: ClassVar[tuple[Option, ...]] = (Option("slope", "number", 0.25, -1, 1, help="first value of the slopes"),)

    slope: float = 0.25

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return slope (C,)."""
        return {"slope": Param(xs[0][:1], f"constant:{self.slope:g}")}

    def params_formula(self, *xs: Shape) -> str:
        """Return the number of channels."""
        return str(xs[0][0])


@dataclass(frozen=True)
class ELU(Activation, kind="elu"):
    """``x`` above zero, ``alpha * (exp(x) - 1)`` below. Clevert et al. 2015, arXiv:1511.07289."""

    main: ClassVar[str] = "alpha"
    summary: ClassVar[str] = "x above zero, alpha * (exp(x) - 1) below"
    options: ClassVar[tuple[Option, ...]] = (
        Option("alpha", "number", 1.0, 0, 100, help="limit of negative values, with its sign changed"),
    )

    alpha: float = 1.0


@dataclass(frozen=True)
class GELU(Activation, kind="gelu"):
    """``x * Phi(x)`` with the normal distribution function. Hendrycks and Gimpel 2016, arXiv:1606.08415."""

    summary: ClassVar[str] = "x * Phi(x)"


@dataclass(frozen=True)
class SiLU(Activation, kind="silu"):
    """``x * sigmoid(x)``. Elfwing et al. 2017, arXiv:1702.03118."""

    summary: ClassVar[str] = "x * sigmoid(x)"


@dataclass(frozen=True)
class Sigmoid(Activation, kind="sigmoid"):
    """``1 / (1 + exp(-x))``."""

    summary: ClassVar[str] = "1 / (1 + exp(-x)), between 0 and 1"


@dataclass(frozen=True)
class Tanh(Activation, kind="tanh"):
    """The hyperbolic tangent."""

    summary: ClassVar[str] = "hyperbolic tangent, between -1 and 1"
