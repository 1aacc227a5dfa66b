"""Activations of feature maps: forward and gradient, made from the formulas of activation_table.py.

For each name of the table there are the kernels ``NAME_forward`` and ``NAME_backward``, and where the setting is
learned, with one number per channel, ``NAME_setting_gradient``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import isfunction
from typing import Any

from numba.extending import register_jitable

from cnncli.compute.arguments import Block, ChannelReals, Maps, Partial, Real
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels import activation_table
from cnncli.kernels.activation_table import ACTIVATIONS, Activation
from cnncli.kernels.simd.vector_math import compiled
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload, vset, vstore, vsum

for _formula in vars(activation_table).copy().values():
    if isfunction(_formula) and _formula.__module__ == activation_table.__name__:
        register_jitable(_formula)  # formulas call each other


@cache
def __getattr__(name: str) -> CompiledKernel:
    """Return the kernel of a name (PEP 562)."""
    for suffix, make in (("_forward", _forward), ("_backward", _backward), ("_setting_gradient", _setting_gradient)):
        entry = ACTIVATIONS.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if entry is not None:
            body, splits = make(entry)
            return CompiledKernel(body, name, splits_channels=splits)
    raise AttributeError(name)


def _forward(entry: Activation) -> tuple[Callable[..., Any], bool]:
    """Return a kernel's body: y = function(x); y may be x."""
    function = _with_setting(entry.function, 1, entry)

    def forward(x: Maps, y: Maps, setting: float) -> None:
        for c in range(y.channels):
            for h in range(y.height):
                for w in range(y.width):
                    value = vload(x.data, c * x.channel_step + h * x.row_step + w * LANES)
                    vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, function(value, setting))

    def forward_per_channel(x: Maps, y: Maps, setting: ChannelReals) -> None:
        for c in range(y.channels):
            own = setting[c]
            for h in range(y.height):
                for w in range(y.width):
                    value = vload(x.data, c * x.channel_step + h * x.row_step + w * LANES)
                    vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, function(value, own))

    return (forward_per_channel if entry.setting_gradient else forward), True


def _backward(entry: Activation) -> tuple[Callable[..., Any], bool]:
    """Return a kernel's body: dx = gradient(v, dy), where v is x or y; dx may be dy."""
    gradient = _with_setting(entry.gradient, 2, entry)

    def backward(v: Maps, dy: Maps, dx: Maps, setting: float) -> None:
        for c in range(dx.channels):
            for h in range(dx.height):
                for w in range(dx.width):
                    value = vload(v.data, c * v.channel_step + h * v.row_step + w * LANES)
                    gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                    vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, gradient(value, gain, setting))

    def backward_per_channel(v: Maps, dy: Maps, dx: Maps, setting: ChannelReals) -> None:
        for c in range(dx.channels):
            own = setting[c]
            for h in range(dx.height):
                for w in range(dx.width):
                    value = vload(v.data, c * v.channel_step + h * v.row_step + w * LANES)
                    gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                    vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, gradient(value, gain, own))

    return (backward_per_channel if entry.setting_gradient else backward), True


def _setting_gradient(entry: Activation) -> tuple[Callable[..., Any], bool]:
    """Return a kernel's body: add to out[c] the gradient of the channel's setting, summed in a fixed order."""
    if entry.setting_gradient is None:
        raise TypeError("no setting is learned")
    gradient = compiled(entry.setting_gradient)

    def setting_gradient(x: Maps, dy: Maps, out: Partial, block: Block, real: Real) -> None:
        target = offset(out.data, block // out.blocks * out.step)
        is_first = block % out.blocks == 0
        for c in range(x.channels):
            total = vset(type(real)(0))
            for h in range(x.height):
                row = vset(type(real)(0))
                for w in range(x.width):
                    value = vload(x.data, c * x.channel_step + h * x.row_step + w * LANES)
                    gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                    row = vadd(row, gradient(value, gain))
                total = vadd(total, row)
            target[c] = vsum(total) if is_first else target[c] + vsum(total)

    return setting_gradient, False


def _with_setting(formula: Callable[..., Any], values: int, entry: Activation) -> Any:
    """Return the compiled formula as a function of 1 or 2 vectors and a setting, which it may ignore."""
    plain = compiled(formula)
    if entry.setting is not None:
        return plain
    return compiled((lambda x, setting: plain(x)) if values == 1 else (lambda v, dy, setting: plain(v, dy)))
