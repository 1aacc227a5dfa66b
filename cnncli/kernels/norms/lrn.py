"""Local response normalisation across channels, and its gradient.

y = x * scale**-beta with scale = k + alpha / size * sum of x**2 over the channels c - size//2 .. c + (size-1)//2. A
`beta` of `quarters` / 4 needs square roots alone; for any other one (`quarters` is 0) each number is raised by itself.
"""

from __future__ import annotations

from cnncli.compute.arguments import Maps, Real
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vadd, vdiv, vequal, vfma, vload, vmul, vselect, vset, vsqrt, vstore


@kernel
def forward(
    x: Maps, y: Maps, scale: Maps, size: int, alpha: float, beta: float, k: float, quarters: int, real: Real
) -> None:
    """Write y and scale."""
    share, start = vset(type(real)(alpha / size)), vset(type(real)(k))
    for c in range(x.channels):
        first, last = max(c - size // 2, 0), min(c + (size - 1) // 2 + 1, x.channels)
        for h in range(x.height):
            for w in range(x.width):
                pixel = h * x.row_step + w * LANES
                total = vset(type(real)(0))
                for j in range(first, last):
                    value = vload(x.data, j * x.channel_step + pixel)
                    total = vfma(value, value, total)
                total = vfma(total, share, start)
                place = c * scale.channel_step + h * scale.row_step + w * LANES
                vstore(scale.data, place, total)
                out = c * y.channel_step + h * y.row_step + w * LANES
                if quarters:
                    root = vsqrt(vsqrt(total))
                    power = root
                    for _ in range(1, quarters):
                        power = vmul(power, root)
                    vstore(y.data, out, vdiv(vload(x.data, c * x.channel_step + pixel), power))
                else:
                    for lane in range(LANES):
                        factor = scale.data[place + lane] ** type(real)(-beta)
                        y.data[out + lane] = x.data[c * x.channel_step + pixel + lane] * factor


@kernel(splits_channels=True)
def ratio(dy: Maps, y: Maps, scale: Maps, t: Maps, real: Real) -> None:
    """Write t = dy * y / scale; nothing flows where dy is 0, whatever scale is."""
    zero = vset(type(real)(0))
    for c in range(t.channels):
        for h in range(t.height):
            for w in range(t.width):
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                value = vmul(gain, vload(y.data, c * y.channel_step + h * y.row_step + w * LANES))
                value = vdiv(value, vload(scale.data, c * scale.channel_step + h * scale.row_step + w * LANES))
                value = vselect(vequal(gain, zero), zero, value)
                vstore(t.data, c * t.channel_step + h * t.row_step + w * LANES, value)


@kernel
def backward(
    dy: Maps, x: Maps, scale: Maps, t: Maps, dx: Maps, size: int, alpha: float, beta: float, quarters: int, real: Real
) -> None:
    """Write dx = dy * scale**-beta - 2 * alpha * beta / size * x * (sum of t over the channels that x is part of).

    Those are c - (size-1)//2 .. c + size//2, the other way round than in `forward`. dx may be dy.
    """
    share, zero = vset(type(real)(-2 * alpha * beta / size)), vset(type(real)(0))
    for c in range(x.channels):
        first, last = max(c - (size - 1) // 2, 0), min(c + size // 2 + 1, x.channels)
        for h in range(x.height):
            for w in range(x.width):
                total = zero
                for j in range(first, last):
                    total = vadd(total, vload(t.data, j * t.channel_step + h * t.row_step + w * LANES))
                total = vmul(vmul(total, share), vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                place = c * scale.channel_step + h * scale.row_step + w * LANES
                out = c * dx.channel_step + h * dx.row_step + w * LANES
                if quarters:
                    root = vsqrt(vsqrt(vload(scale.data, place)))
                    power = root
                    for _ in range(1, quarters):
                        power = vmul(power, root)
                    direct = vdiv(gain, power)
                    vstore(dx.data, out, vadd(vselect(vequal(gain, zero), zero, direct), total))
                else:
                    vstore(dx.data, out, gain)
                    for lane in range(LANES):
                        if dx.data[out + lane] != type(real)(0):
                            dx.data[out + lane] *= scale.data[place + lane] ** type(real)(-beta)
                    vstore(dx.data, out, vadd(vload(dx.data, out), total))
