"""Softmax over the channels of each pixel of each image, and its gradient."""

from __future__ import annotations

from cnncli.compute.arguments import Maps, Real
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.elementary import exp
from cnncli.kernels.simd.vector_math import compiled
from cnncli.kernels.simd.vectors import LANES, vadd, vdiv, vfma, vload, vmax, vmul, vset, vstore, vsub

_exp = compiled(lambda x: exp(x))  # an overload is no function that can be compiled by itself


@kernel
def forward(x: Maps, y: Maps, real: Real) -> None:
    """Write y[c] = exp(x[c] - max of x) / sum of them; y may be x."""
    for h in range(y.height):
        for w in range(y.width):
            place, target = h * x.row_step + w * LANES, h * y.row_step + w * LANES
            largest = vload(x.data, place)
            for c in range(1, x.channels):
                largest = vmax(largest, vload(x.data, place + c * x.channel_step))
            total = vset(type(real)(0))
            for c in range(x.channels):
                power = _exp(vsub(vload(x.data, place + c * x.channel_step), largest))
                total = vadd(total, power)
                vstore(y.data, target + c * y.channel_step, power)
            for c in range(x.channels):
                share = vdiv(vload(y.data, target + c * y.channel_step), total)
                vstore(y.data, target + c * y.channel_step, share)


@kernel
def backward(y: Maps, dy: Maps, dx: Maps, real: Real) -> None:
    """Write dx[c] = y[c] * (dy[c] - sum of y * dy); dx may be dy."""
    for h in range(y.height):
        for w in range(y.width):
            place, source, target = h * y.row_step + w * LANES, h * dy.row_step + w * LANES, h * dx.row_step + w * LANES
            total = vset(type(real)(0))
            for c in range(y.channels):
                gain = vload(dy.data, source + c * dy.channel_step)
                total = vfma(vload(y.data, place + c * y.channel_step), gain, total)
            for c in range(y.channels):
                gain = vsub(vload(dy.data, source + c * dy.channel_step), total)
                value = vmul(vload(y.data, place + c * y.channel_step), gain)
                vstore(dx.data, target + c * dx.channel_step, value)
