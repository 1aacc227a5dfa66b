"""The activations that change each number by itself, one entry each: layers, kernels and steps of a filter follow.

The formulas hold for NumPy arrays and for SIMD vectors (elementary.py). All are finite for finite numbers; NaN stays
NaN. Importing this imports neither NumPy nor Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnncli.kernels.simd.elementary import bell, exp, expm1, maximum, minimum, normal_tail, tanh, where


@dataclass(frozen=True)
class Setting:
    """The number that an activation takes: its name, default, range, and what it is."""

    name: str
    default: float
    low: float
    high: float
    help: str


@dataclass(frozen=True)
class Activation:
    """One activation.

    Parameters
    ----------
    summary : str
        The function, for people.
    function : callable
        ``function(x)``, or ``function(x, setting)``.
    gradient : callable
        ``gradient(v, dy)``, or ``gradient(v, dy, setting)``: dy times the derivative, where v is x or y; 0 where dy is.
    reads_x : bool
        v is x; else v is y = function(x).
    setting : Setting, optional
    setting_gradient : callable, optional
        ``setting_gradient(x, dy)``: dy times the derivative by the setting, where that is a parameter.
    """

    summary: str
    function: Callable[..., Any]
    gradient: Callable[..., Any]
    reads_x: bool = False
    setting: Setting | None = None
    setting_gradient: Callable[..., Any] | None = None


def _leaky(x: Any, slope: float) -> Any:
    return where(x > 0, x, x * slope)


def _leaky_gradient(v: Any, dy: Any, slope: float) -> Any:
    return where(v > 0, dy, dy * slope)


def _slope_gradient(x: Any, dy: Any) -> Any:
    return where(x > 0, 0.0, dy * x)


def _elu(x: Any, alpha: float) -> Any:
    return where(x > 0, x, expm1(minimum(x, 0.0)) * alpha)


def _elu_gradient(y: Any, dy: Any, alpha: float) -> Any:
    return where(y > 0, dy, dy * (y + alpha))


def _normal(x: Any, bell_of_x: Any) -> Any:
    tail = normal_tail(abs(x), bell_of_x)
    return where(x > 0, 1.0 - tail, tail)


def _gelu(x: Any) -> Any:
    c = minimum(maximum(x, -40.0), 40.0)  # beyond, Phi is 0 or 1
    return maximum(x, -40.0) * _normal(c, bell(abs(c)))


def _gelu_gradient(x: Any, dy: Any) -> Any:
    c = minimum(maximum(x, -40.0), 40.0)
    density = bell(abs(c))
    return dy * (_normal(c, density) + c * density * 0.3989422804014327)  # 1 / sqrt(2 pi)


def _sigmoid(x: Any) -> Any:
    small = exp(-abs(x))  # never overflows
    return where(x >= 0, 1.0, small) / (1.0 + small)


def _sigmoid_gradient(y: Any, dy: Any) -> Any:
    return dy * (y * (1.0 - y))


def _silu(x: Any) -> Any:
    return maximum(x, -1000.0) * _sigmoid(x)


def _silu_gradient(x: Any, dy: Any) -> Any:
    c = minimum(maximum(x, -1000.0), 1000.0)  # beyond, the sigmoid is 0 or 1
    small = exp(-abs(c))
    rest = 1.0 + small
    return dy * ((where(c >= 0, 1.0, small) + c * small / rest) / rest)


def _tanh(x: Any) -> Any:
    return tanh(x)


def _tanh_gradient(y: Any, dy: Any) -> Any:
    return dy * (1.0 - y * y)


def _relu6(x: Any) -> Any:
    return minimum(maximum(x, 0.0), 6.0)


def _relu6_gradient(y: Any, dy: Any) -> Any:
    return where((y > 0) & (y < 6), dy, 0.0)


def _hard_sigmoid(x: Any) -> Any:
    return minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0


def _hard_sigmoid_gradient(y: Any, dy: Any) -> Any:
    return where((y > 0) & (y < 1), dy / 6.0, 0.0)


def _hard_swish(x: Any) -> Any:
    return maximum(x, -3.0) * _hard_sigmoid(x)


def _hard_swish_gradient(x: Any, dy: Any) -> Any:
    c = minimum(maximum(x, -3.0), 3.0)
    return where(x >= 3, dy, where(x <= -3, 0.0, dy * (c / 3.0 + 0.5)))


_SLOPE = Setting("slope", 0.01, 0, 1, "factor of negative values")
_FIRST_SLOPE = Setting("slope", 0.25, -1, 1, "first value of the slopes")
_ALPHA = Setting("alpha", 1.0, 0, 100, "limit of negative values, with its sign changed")

ACTIVATIONS = {
    "leaky_relu": Activation("x above zero, slope * x below", _leaky, _leaky_gradient, setting=_SLOPE),
    "prelu": Activation(
        "x above zero, slope * x below; a network learns a slope per channel",
        _leaky,
        _leaky_gradient,
        True,
        _FIRST_SLOPE,
        _slope_gradient,
    ),
    "elu": Activation("x above zero, alpha * (exp(x) - 1) below", _elu, _elu_gradient, setting=_ALPHA),
    "gelu": Activation("x * Phi(x), Phi the normal distribution function", _gelu, _gelu_gradient, True),
    "silu": Activation("x * sigmoid(x)", _silu, _silu_gradient, True),
    "sigmoid": Activation("1 / (1 + exp(-x)), between 0 and 1", _sigmoid, _sigmoid_gradient),
    "tanh": Activation("hyperbolic tangent, between -1 and 1", _tanh, _tanh_gradient),
    "relu6": Activation("max(0, x), at most 6", _relu6, _relu6_gradient),
    "hard_sigmoid": Activation("(x + 3) / 6, between 0 and 1", _hard_sigmoid, _hard_sigmoid_gradient),
    "hard_swish": Activation("x * hard_sigmoid(x)", _hard_swish, _hard_swish_gradient, True),
}
