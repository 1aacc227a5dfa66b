"""Group and layer normalisation: every lane is an image with statistics of its own, no image waits for another."""

from __future__ import annotations

import numpy as np

from cnncli.compute.arguments import Block, Maps, Partial, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import (
    LANES,
    offset,
    vadd,
    vdiv,
    vfma,
    vload,
    vmax,
    vmul,
    vset,
    vsqrt,
    vstore,
    vsub,
    vsum,
)


@kernel
def moments(x: Maps, statistics: Reals, groups: int, eps: float, real: Real) -> None:
    """Write for each group of adjacent channels a vector of means, then one of 1 / sqrt(variance + eps).

    The variance divides by the number of values. Two passes, the second of which corrects what rounding the mean left
    out (Chan et al. 1983, doi:10.1080/00031305.1983.10483115, equation 1.7).
    """
    own = x.channels // groups
    zero, one = vset(type(real)(0)), vset(type(real)(1))
    share, small = vset(type(real)(1.0 / (own * x.height * x.width))), vset(type(real)(eps))
    for group in range(groups):
        total = zero
        for c in range(group * own, (group + 1) * own):
            sums = zero
            for h in range(x.height):
                row = zero
                for w in range(x.width):
                    row = vadd(row, vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
                sums = vadd(sums, row)
            total = vadd(total, sums)
        mean = vmul(total, share)
        total = zero
        squares = zero
        for c in range(group * own, (group + 1) * own):
            sums = zero
            others = zero
            for h in range(x.height):
                row = zero
                other = zero
                for w in range(x.width):
                    gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), mean)
                    row = vadd(row, gap)
                    other = vfma(gap, gap, other)
                sums = vadd(sums, row)
                others = vadd(others, other)
            total = vadd(total, sums)
            squares = vadd(squares, others)
        rest = vmul(total, share)
        variance = vmax(vsub(vmul(squares, share), vmul(rest, rest)), zero)
        vstore(statistics, 2 * group * LANES, vadd(mean, rest))
        vstore(statistics, (2 * group + 1) * LANES, vdiv(one, vsqrt(vadd(variance, small))))


@kernel
def normalise(
    x: Maps,
    y: Maps,
    weight: Reals,
    bias: Reals,
    steps: tuple[int, int, int],
    statistics: Reals,
    groups: int,
    relu: int,
    real: Real,
) -> None:
    """Write y = weight * (x - mean) / sqrt(variance + eps) + bias, with `relu` raised to 0; y may be x.

    Pixel (c, h, w) has the parameters at c * steps[0] + h * steps[1] + w * steps[2].
    """
    own = x.channels // groups
    low = vset(type(real)(0) if relu else type(real)(-np.inf))
    for c in range(x.channels):
        mean = vload(statistics, 2 * (c // own) * LANES)
        scale = vload(statistics, (2 * (c // own) + 1) * LANES)
        for h in range(x.height):
            for w in range(x.width):
                i = c * steps[0] + h * steps[1] + w * steps[2]
                value = vmul(vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), mean), scale)
                value = vmax(vfma(value, vset(weight[i]), vset(bias[i])), low)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel
def parameter_gradients(
    x: Maps,
    dy: Maps,
    statistics: Reals,
    dweight: Partial,
    dbias: Partial,
    steps: tuple[int, int, int],
    groups: int,
    block: Block,
    real: Real,
) -> None:
    """Add to dweight the sum of dy * (x - mean) / deviation and to dbias that of dy, over images and, unless every
    pixel has parameters of its own (steps[2] is 1), over rows and columns.

    Lanes of padding have dy = 0.
    """
    own = x.channels // groups
    scales = offset(dweight.data, block // dweight.blocks * dweight.step)
    shifts = offset(dbias.data, block // dbias.blocks * dbias.step)
    is_first = block % dweight.blocks == 0
    zero = vset(type(real)(0))
    for c in range(x.channels):
        mean = vload(statistics, 2 * (c // own) * LANES)
        scale = vload(statistics, (2 * (c // own) + 1) * LANES)
        plain = zero
        scaled = zero
        for h in range(x.height):
            row = zero
            other = zero
            for w in range(x.width):
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), mean)
                if steps[2]:
                    i = c * steps[0] + h * steps[1] + w * steps[2]
                    first, second = vsum(gain), vsum(vmul(gain, vmul(gap, scale)))
                    shifts[i] = first if is_first else shifts[i] + first
                    scales[i] = second if is_first else scales[i] + second
                else:
                    row = vadd(row, gain)
                    other = vfma(gain, gap, other)
            plain = vadd(plain, row)
            scaled = vadd(scaled, other)
        if not steps[2]:
            first, second = vsum(plain), vsum(vmul(scaled, scale))
            shifts[c] = first if is_first else shifts[c] + first
            scales[c] = second if is_first else scales[c] + second


@kernel
def input_gradient(
    x: Maps,
    dy: Maps,
    dx: Maps,
    weight: Reals,
    steps: tuple[int, int, int],
    statistics: Reals,
    groups: int,
    real: Real,
) -> None:
    """Write dx = (g - mean of g - xhat * mean of g * xhat) / deviation, with g = weight * dy; dx may be dy.

    xhat = (x - mean) / deviation, the means are those of a group of one image: Ioffe and Szegedy 2015, section 3, with
    an image's group in the place of the batch. Lanes of padding have dy = 0 and get 0.
    """
    own = x.channels // groups
    zero = vset(type(real)(0))
    share = vset(type(real)(1.0 / (own * x.height * x.width)))
    for group in range(groups):
        mean, scale = vload(statistics, 2 * group * LANES), vload(statistics, (2 * group + 1) * LANES)
        plain = zero
        scaled = zero
        for c in range(group * own, (group + 1) * own):
            sums = zero
            others = zero
            for h in range(x.height):
                row = zero
                other = zero
                for w in range(x.width):
                    factor = vset(weight[c * steps[0] + h * steps[1] + w * steps[2]])
                    gain = vmul(vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES), factor)
                    row = vadd(row, gain)
                    gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), mean)
                    other = vfma(gain, gap, other)
                sums = vadd(sums, row)
                others = vadd(others, other)
            plain = vadd(plain, sums)
            scaled = vadd(scaled, others)
        plain = vmul(plain, share)
        slope = vmul(vmul(scaled, share), vmul(scale, scale))
        for c in range(group * own, (group + 1) * own):
            for h in range(x.height):
                for w in range(x.width):
                    factor = vset(weight[c * steps[0] + h * steps[1] + w * steps[2]])
                    gain = vmul(vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES), factor)
                    gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), mean)
                    value = vmul(vsub(vsub(gain, plain), vmul(gap, slope)), scale)
                    vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, value)
