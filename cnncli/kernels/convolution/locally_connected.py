"""A convolution whose weights differ at every place: weight (OH*OW, F, C, KH, KW), bias (F, OH, OW)."""

from __future__ import annotations

from cnncli.compute.arguments import Block, Maps, Partial, Real, Reals, Window
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vfma, vload, vmul, vset, vstore, vsum


@kernel
def forward(x: Maps, y: Maps, weight: Reals, bias: Reals, has_bias: int, window: Window, real: Real) -> None:
    """Write y; around x lies a halo as wide as the padding."""
    taps = x.channels * window.rows * window.columns
    for oh in range(y.height):
        for ow in range(y.width):
            place = oh * y.width + ow
            corner = (oh * window.row_stride - window.top) * x.row_step
            corner += (ow * window.column_stride - window.left) * LANES
            for f in range(y.channels):
                total = vset(bias[f * y.height * y.width + place] if has_bias else type(real)(0))
                tap = (place * y.channels + f) * taps
                for c in range(x.channels):
                    for i in range(window.rows):
                        for j in range(window.columns):
                            value = vload(x.data, corner + c * x.channel_step + i * x.row_step + j * LANES)
                            total = vfma(vset(weight[tap]), value, total)
                            tap += 1
                vstore(y.data, f * y.channel_step + oh * y.row_step + ow * LANES, total)


@kernel
def weight_gradient(x: Maps, dy: Maps, out: Partial, window: Window, block: Block) -> None:
    """Add to out[place, f, c, i, j] the sum over the lanes of dy * x; around x lies a halo as wide as the padding."""
    target = offset(out.data, block // out.blocks * out.step)
    is_first = block % out.blocks == 0
    tap = 0
    for oh in range(dy.height):
        for ow in range(dy.width):
            corner = (oh * window.row_stride - window.top) * x.row_step
            corner += (ow * window.column_stride - window.left) * LANES
            for f in range(dy.channels):
                gain = vload(dy.data, f * dy.channel_step + oh * dy.row_step + ow * LANES)
                for c in range(x.channels):
                    for i in range(window.rows):
                        for j in range(window.columns):
                            value = vload(x.data, corner + c * x.channel_step + i * x.row_step + j * LANES)
                            total = vsum(vmul(gain, value))
                            target[tap] = total if is_first else target[tap] + total
                            tap += 1


@kernel
def bias_gradient(dy: Maps, out: Partial, block: Block) -> None:
    """Add to out[f, h, w] the sum of dy over the lanes."""
    target = offset(out.data, block // out.blocks * out.step)
    is_first = block % out.blocks == 0
    number = 0
    for f in range(dy.channels):
        for h in range(dy.height):
            for w in range(dy.width):
                total = vsum(vload(dy.data, f * dy.channel_step + h * dy.row_step + w * LANES))
                target[number] = total if is_first else target[number] + total
                number += 1


@kernel
def input_gradient(dy: Maps, dx: Maps, weight: Reals, window: Window, real: Real) -> None:
    """Write dx: the places one after the other, each adding to the pixels under its window."""
    zero = vset(type(real)(0))
    taps = window.rows * window.columns
    for c in range(dx.channels):
        for h in range(dx.height):
            for w in range(dx.width):
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, zero)
    for oh in range(dy.height):
        top = oh * window.row_stride - window.top
        for ow in range(dy.width):
            left = ow * window.column_stride - window.left
            first = (oh * dy.width + ow) * dy.channels * dx.channels * taps
            for c in range(dx.channels):
                for i in range(max(0, -top), min(window.rows, dx.height - top)):
                    for j in range(max(0, -left), min(window.columns, dx.width - left)):
                        total = zero
                        for f in range(dy.channels):
                            factor = weight[first + (f * dx.channels + c) * taps + i * window.columns + j]
                            gain = vload(dy.data, f * dy.channel_step + oh * dy.row_step + ow * LANES)
                            total = vfma(vset(factor), gain, total)
                        pixel = c * dx.channel_step + (top + i) * dx.row_step + (left + j) * LANES
                        vstore(dx.data, pixel, vadd(vload(dx.data, pixel), total))
