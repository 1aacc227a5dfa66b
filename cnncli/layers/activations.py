"""Activations that change each value by itself, shape unchanged: options and arithmetic are those of one table.

An activation is an entry of `cnncli.kernels.activation_table` and a class here with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.kernels.activation_table import ACTIVATIONS
from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.layers.recording import LIMITS, lanewise
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Table, Value


@dataclass(frozen=True)
class Activation(Layer):
    """A function of each value by itself: the entry of the table under the name of its kind."""

    is_activation: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({}, ((9,),)))

    def __init_subclass__(cls, kind: str, **keywords: Any) -> None:
        super().__init_subclass__(kind=kind, can_run=True, **keywords)
        entry = ACTIVATIONS[kind]
        cls.summary = entry.summary
        if entry.setting is not None:
            one = entry.setting
            cls.options = (Option(one.name, "number", one.default, one.low, one.high, help=one.help),)

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(xs[0].shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "y": b.writes[0], "setting": self._setting(b)}
            return [Op(f"activation.{self.kind}_forward", operands)]

        few = None if ACTIVATIONS[self.kind].setting_gradient else lanewise  # what is learned is one number per channel
        epilogue = self.kind if self.kind in LIMITS else ""
        g.step("forward", xs, [y], emit, in_place=[0], epilogue=epilogue, few=few)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the gradient of the setting where it is learned, and dy times the derivative."""
        entry = ACTIVATIONS[self.kind]
        if entry.setting_gradient is not None:
            self._record_setting_gradient(g, xs[0], dy)
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(y.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"v": b.reads[1], "dy": b.reads[0], "dx": b.writes[0], "setting": self._setting(b)}
            return [Op(f"activation.{self.kind}_backward", operands)]

        g.step("dx", [dy, xs[0] if entry.reads_x else y], [dx], emit, in_place=[0])
        return (dx,)

    def _setting(self, b: Bound) -> Any:
        """Return the number of the setting, or where it is learned the parameter."""
        entry = ACTIVATIONS[self.kind]
        if entry.setting is None:
            return 0.0
        return b.weights[entry.setting.name] if entry.setting_gradient else getattr(self, entry.setting.name)

    def _record_setting_gradient(self, g: Graph, x: Value, dy: Value) -> None:
        setting = ACTIVATIONS[self.kind].setting
        name = setting.name if setting else ""
        parts: Table = g.parameter_gradient(name, x.shape[0])

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            operands = {"x": b.reads[0], "dy": b.reads[1], "out": b.partials[parts]}
            return [Op(f"activation.{self.kind}_setting_gradient", operands)]

        g.step(f"d{name}", [x, dy], [], emit, tables_written=[parts])


@dataclass(frozen=True)
class LeakyReLU(Activation, kind="leaky_relu"):
    """``x`` above zero, ``slope * x`` below. Maas et al. 2013."""

    main: ClassVar[str] = "slope"

    slope: float = 0.01

    def label(self) -> str:
        """Return ``slope 0.01``."""
        return f"slope {self.slope:g}"


@dataclass(frozen=True)
class PReLU(Activation, kind="prelu"):
    """A leaky ReLU whose slope is learned, one per channel. He et al. 2015, arXiv:1502.01852."""

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

    alpha: float = 1.0


@dataclass(frozen=True)
class GELU(Activation, kind="gelu"):
    """``x * Phi(x)`` with the normal distribution function. Hendrycks and Gimpel 2016, arXiv:1606.08415."""


@dataclass(frozen=True)
class SiLU(Activation, kind="silu"):
    """``x * sigmoid(x)``. Elfwing et al. 2017, arXiv:1702.03118."""


@dataclass(frozen=True)
class Sigmoid(Activation, kind="sigmoid"):
    """``1 / (1 + exp(-x))``."""

    loss: ClassVar[str] = "binary_cross_entropy"


@dataclass(frozen=True)
class Tanh(Activation, kind="tanh"):
    """The hyperbolic tangent."""


@dataclass(frozen=True)
class ReLU6(Activation, kind="relu6"):
    """``min(max(x, 0), 6)``. Howard et al. 2017, arXiv:1704.04861."""


@dataclass(frozen=True)
class HardSigmoid(Activation, kind="hard_sigmoid"):
    """``min(max(x + 3, 0), 6) / 6``. Howard et al. 2019, arXiv:1905.02244."""


@dataclass(frozen=True)
class HardSwish(Activation, kind="hard_swish"):
    """``x * hard_sigmoid(x)``. Howard et al. 2019, arXiv:1905.02244."""
