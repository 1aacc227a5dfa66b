"""The gradient of batch normalisation, and of a ReLU after it: sums over the batch in a fixed order, then dx."""

from __future__ import annotations

import numpy as np

from cnncli.compute.arguments import Block, Float64s, Int64s, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.norms.batchnorm import images_of, lanes_total
from cnncli.kernels.simd.vectors import LANES, vadd, vfma, vgreater, vload, vmul, vselect, vset, vstore, vsub


@kernel
def gradient_sums(x: Maps, dy: Maps, statistics: Reals, sums: Float64s, part: Part, parts: Parts, real: Real) -> None:
    """Write for each channel of a block: sums[c] = sum of dy, sums[C + c] = sum of dy * (x - mean) / deviation.

    Lanes of padding have dy = 0.
    """
    zero = vset(type(real)(0))
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        middle = vset(statistics[c])
        plain = scaled = zero
        for h in range(x.height):
            row = other = zero
            for w in range(x.width):
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                row = vadd(row, gain)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                other = vfma(gain, gap, other)
            plain = vadd(plain, row)
            scaled = vadd(scaled, other)
        sums[c] = lanes_total(plain, LANES)
        sums[x.channels + c] = lanes_total(scaled, LANES) * statistics[x.channels + c]


@kernel
def relu_gradient_sums(
    x: Maps,
    dy: Maps,
    statistics: Reals,
    weight: Reals,
    bias: Reals,
    sums: Float64s,
    part: Part,
    parts: Parts,
    real: Real,
) -> None:
    """Write what `gradient_sums` does, with dy taken as 0 wherever what `normalise` makes of x is not above 0."""
    zero = vset(type(real)(0))
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        middle, shift = vset(statistics[c]), vset(bias[c])
        factor = vset(statistics[x.channels + c] * weight[c])
        plain = scaled = zero
        for h in range(x.height):
            row = other = zero
            for w in range(x.width):
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                gain = vselect(vgreater(vfma(gap, factor, shift), zero), gain, zero)
                row = vadd(row, gain)
                other = vfma(gain, gap, other)
            plain = vadd(plain, row)
            scaled = vadd(scaled, other)
        sums[c] = lanes_total(plain, LANES)
        sums[x.channels + c] = lanes_total(scaled, LANES) * statistics[x.channels + c]


@kernel
def masked_gradient_sums(
    x: Maps, y: Maps, a: Maps, dy: Maps, statistics: Reals, sums: Float64s, part: Part, parts: Parts, real: Real
) -> None:
    """Write dy = a where y > 0, else 0, and of x and dy what `gradient_sums` does; dy may be a."""
    zero = vset(type(real)(0))
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        middle = vset(statistics[c])
        plain = scaled = zero
        for h in range(x.height):
            row = other = zero
            for w in range(x.width):
                alive = vgreater(vload(y.data, c * y.channel_step + h * y.row_step + w * LANES), zero)
                gain = vload(a.data, c * a.channel_step + h * a.row_step + w * LANES)
                gain = vselect(alive, gain, zero)
                vstore(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES, gain)
                row = vadd(row, gain)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                other = vfma(gain, gap, other)
            plain = vadd(plain, row)
            scaled = vadd(scaled, other)
        sums[c] = lanes_total(plain, LANES)
        sums[x.channels + c] = lanes_total(scaled, LANES) * statistics[x.channels + c]


@kernel
def masked_gradient_sums_of_two(
    x: Maps,
    y: Maps,
    a: Maps,
    b: Maps,
    dy: Maps,
    statistics: Reals,
    sums: Float64s,
    part: Part,
    parts: Parts,
    real: Real,
) -> None:
    """Write dy = a + b where y > 0, else 0, and of x and dy what `gradient_sums` does; dy may be a or b."""
    zero = vset(type(real)(0))
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        middle = vset(statistics[c])
        plain = scaled = zero
        for h in range(x.height):
            row = other = zero
            for w in range(x.width):
                alive = vgreater(vload(y.data, c * y.channel_step + h * y.row_step + w * LANES), zero)
                gain = vload(a.data, c * a.channel_step + h * a.row_step + w * LANES)
                gain = vadd(gain, vload(b.data, c * b.channel_step + h * b.row_step + w * LANES))
                gain = vselect(alive, gain, zero)
                vstore(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES, gain)
                row = vadd(row, gain)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                other = vfma(gain, gap, other)
            plain = vadd(plain, row)
            scaled = vadd(scaled, other)
        sums[c] = lanes_total(plain, LANES)
        sums[x.channels + c] = lanes_total(scaled, LANES) * statistics[x.channels + c]


@kernel
def batch_gradient_sums(
    parts: Float64s,
    step: int,
    totals: Reals,
    dweight: Reals,
    dbias: Reals,
    channels: int,
    blocks: int,
    pixels: int,
    count: Int64s,
    real: Real,
) -> None:
    """Add up the sums of all blocks: gradients of weight and bias, and the means that `normalise_gradient` needs."""
    numbers = np.float64(count[0] * pixels)
    for c in range(channels):
        plain = scaled = 0.0
        for block in range(blocks):
            plain += parts[block * step + c]
            scaled += parts[block * step + channels + c]
        dbias[c] = type(real)(plain)
        dweight[c] = type(real)(scaled)
        totals[c] = type(real)(plain / numbers)
        totals[channels + c] = type(real)(scaled / numbers)


@kernel
def normalise_gradient(
    x: Maps,
    dy: Maps,
    dx: Maps,
    statistics: Reals,
    totals: Reals,
    weight: Reals,
    count: Int64s,
    block: Block,
    part: Part,
    parts: Parts,
    real: Real,
) -> None:
    """Write dx = weight / deviation * (dy - mean of dy - xhat * mean of dy * xhat), with xhat = (x - mean) / deviation.

    Ioffe and Szegedy 2015, section 3, put together. Lanes of padding get 0: they must not reach the gradients before.
    dx may be dy.
    """
    images = images_of(count[0], block)
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        deviation = statistics[x.channels + c]
        middle, factor = vset(statistics[c]), vset(weight[c] * deviation)
        mean = vset(-totals[c])
        slope = vset(-totals[x.channels + c] * deviation)
        for h in range(x.height):
            for w in range(x.width):
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                value = vmul(vfma(gap, slope, vadd(gain, mean)), factor)
                place = c * dx.channel_step + h * dx.row_step + w * LANES
                vstore(dx.data, place, value)
                if images < LANES:
                    for lane in range(images, LANES):
                        dx.data[place + lane] = type(real)(0)


@kernel
def relu_normalise_gradient(
    x: Maps,
    dy: Maps,
    dx: Maps,
    statistics: Reals,
    totals: Reals,
    weight: Reals,
    bias: Reals,
    count: Int64s,
    block: Block,
    part: Part,
    parts: Parts,
    real: Real,
) -> None:
    """Write what `normalise_gradient` does, with dy taken as 0 wherever what `normalise` makes of x is not above 0.

    dx may be dy.
    """
    zero = vset(type(real)(0))
    images = images_of(count[0], block)
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        deviation = statistics[x.channels + c]
        middle, factor = vset(statistics[c]), vset(weight[c] * deviation)
        scale, shift = vset(deviation * weight[c]), vset(bias[c])  # as in `normalise`
        mean = vset(-totals[c])
        slope = vset(-totals[x.channels + c] * deviation)
        for h in range(x.height):
            for w in range(x.width):
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                gain = vselect(vgreater(vfma(gap, scale, shift), zero), gain, zero)
                value = vmul(vfma(gap, slope, vadd(gain, mean)), factor)
                place = c * dx.channel_step + h * dx.row_step + w * LANES
                vstore(dx.data, place, value)
                if images < LANES:
                    for lane in range(images, LANES):
                        dx.data[place + lane] = type(real)(0)
