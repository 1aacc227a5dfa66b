"""Batch normalisation of vectors of images: statistics in a fixed order, the normalisation and its gradient."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from cnncli.compute.arguments import Block, ChannelReals, Float64s, Int64s, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import (
    LANES,
    vadd,
    vfma,
    vget,
    vload,
    vmax,
    vmin,
    vset,
    vstore,
    vsub,
)


@numba.njit(error_model="numpy")
def images_of(count: Any, block: Any) -> Any:
    """Return how many lanes of a block hold images; the others are padding."""
    return max(0, min(count - block * LANES, LANES))


@numba.njit(error_model="numpy")
def lanes_total(vector: Any, images: Any) -> Any:
    """Return the sum of the first `images` lanes, in float64 and in their order."""
    total = 0.0
    for lane in range(LANES):
        if lane < images:
            total += np.float64(vget(vector, lane))
    return total


@kernel
def block_moments(
    x: Maps, moments: Float64s, count: Int64s, block: Block, part: Part, parts: Parts, real: Real
) -> None:
    """Write for each channel of a block of images the mean and the sum of squared deviations from it.

    Two passes over a map that is in the cache: no difference of large sums. moments[c] = mean, moments[C + c] = sum.
    """
    images = images_of(count[0], block)
    numbers = images * x.height * x.width
    zero = vset(type(real)(0))
    for c in range(part * x.channels // parts, (part + 1) * x.channels // parts):
        total = zero
        for h in range(x.height):
            row = zero
            for w in range(x.width):
                row = vadd(row, vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
            total = vadd(total, row)
        mean = lanes_total(total, images) / numbers if numbers else 0.0
        middle = vset(type(real)(mean))
        squares = zero
        for h in range(x.height):
            row = zero
            for w in range(x.width):
                gap = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                row = vfma(gap, gap, row)
            squares = vadd(squares, row)
        shift = mean - np.float64(type(real)(mean))  # what rounding the mean left out of every deviation
        moments[c] = mean
        moments[x.channels + c] = lanes_total(squares, images) - numbers * shift * shift


@kernel
def batch_moments(
    parts: Float64s,
    step: int,
    statistics: Reals,
    batch: Float64s,
    channels: int,
    blocks: int,
    pixels: int,
    eps: float,
    count: Int64s,
    real: Real,
) -> None:
    """Combine the moments of all blocks, `step` numbers apart.

    Chan et al. 1983, doi:10.1080/00031305.1983.10483115, equation 2.1. statistics[c] = mean, statistics[C + c] =
    1 / sqrt(variance + eps); batch[c] = mean, batch[C + c] = the unbiased variance.
    """
    for c in range(channels):
        total = mean = squares = 0.0
        for block in range(blocks):
            numbers = np.float64(images_of(count[0], block) * pixels)
            if numbers > 0:
                gap = parts[block * step + c] - mean
                both = total + numbers
                mean += gap * numbers / both
                squares += parts[block * step + channels + c] + gap * gap * total * numbers / both
                total = both
        variance = squares / total
        statistics[c] = type(real)(mean)
        statistics[channels + c] = type(real)(1 / np.sqrt(variance + eps))
        batch[c] = mean
        batch[channels + c] = squares / max(total - 1, 1.0)


@kernel
def follow_moments(batch: Float64s, mean: Reals, variance: Reals, channels: int, momentum: float, real: Real) -> None:
    """Move the running mean and variance: running = momentum * running + (1 - momentum) * batch."""
    for c in range(channels):
        mean[c] = type(real)(momentum * mean[c] + (1 - momentum) * batch[c])
        variance[c] = type(real)(momentum * variance[c] + (1 - momentum) * batch[channels + c])


@kernel
def scale_and_shift(
    weight: Reals,
    bias: Reals,
    mean: Reals,
    variance: Reals,
    scale: Reals,
    shift: Reals,
    channels: int,
    eps: float,
    real: Real,
) -> None:
    """Write the factor and the summand that the running statistics come to: y = scale * x + shift."""
    for c in range(channels):
        factor = np.float64(weight[c]) / np.sqrt(np.float64(variance[c]) + eps)
        scale[c] = type(real)(factor)
        shift[c] = type(real)(bias[c] - mean[c] * factor)


@kernel
def fold_into_convolution(
    kernel: Reals,
    kernel_bias: Reals,
    has_bias: int,
    scale: Reals,
    shift: Reals,
    weight: Reals,
    bias: Reals,
    size: int,
    per_task: int,
    filters: int,
    task: Block,
    real: Real,
) -> None:
    """Write weight[f] = scale[f] * kernel[f] and bias[f] = scale[f] * kernel_bias[f] + shift[f].

    A kernel[f] has `size` numbers.
    """
    for f in range(task * per_task, min((task + 1) * per_task, filters)):
        for i in range(size):
            weight[f * size + i] = kernel[f * size + i] * scale[f]
        own = kernel_bias[f] if has_bias else type(real)(0)
        bias[f] = own * scale[f] + shift[f]


@kernel
def fold_into_transposed(
    kernel: Reals,
    kernel_bias: Reals,
    has_bias: int,
    scale: Reals,
    shift: Reals,
    weight: Reals,
    bias: Reals,
    taps: int,
    channels: int,
    groups: int,
    filters: int,
    real: Real,
) -> None:
    """Scale weights (channels, filters / groups, taps) of a transposed convolution as `fold_into_convolution` does."""
    own = filters // groups
    for c in range(channels):
        first = c // (channels // groups) * own
        for f in range(own):
            for i in range((c * own + f) * taps, (c * own + f + 1) * taps):
                weight[i] = kernel[i] * scale[first + f]
    for f in range(filters):
        before = kernel_bias[f] if has_bias else type(real)(0)
        bias[f] = before * scale[f] + shift[f]


@kernel(splits_channels=True)
def normalise(
    x: Maps,
    y: Maps,
    mean: ChannelReals,
    scale: ChannelReals,
    weight: ChannelReals,
    bias: ChannelReals,
    low: float,
    high: float,
    real: Real,
) -> None:
    """Write y = weight * (x - mean) * scale + bias, but from `low` to `high`; y may be x."""
    lowest, highest = vset(type(real)(low)), vset(type(real)(high))
    for c in range(y.channels):
        factor, middle, shift = vset(scale[c] * weight[c]), vset(mean[c]), vset(bias[c])
        for h in range(y.height):
            for w in range(y.width):
                value = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                value = vmin(vmax(vfma(value, factor, shift), lowest), highest)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def normalise_and_add(
    x: Maps,
    other: Maps,
    y: Maps,
    mean: ChannelReals,
    scale: ChannelReals,
    weight: ChannelReals,
    bias: ChannelReals,
    low: float,
    high: float,
    real: Real,
) -> None:
    """Write y = weight * (x - mean) * scale + bias + other, but from `low` to `high`; y may be x or other."""
    lowest, highest = vset(type(real)(low)), vset(type(real)(high))
    for c in range(y.channels):
        factor, middle, shift = vset(scale[c] * weight[c]), vset(mean[c]), vset(bias[c])
        for h in range(y.height):
            for w in range(y.width):
                value = vsub(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), middle)
                more = vload(other.data, c * other.channel_step + h * other.row_step + w * LANES)
                value = vmin(vmax(vadd(vfma(value, factor, shift), more), lowest), highest)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def affine(x: Maps, y: Maps, scale: ChannelReals, shift: ChannelReals, low: float, high: float, real: Real) -> None:
    """Write y = scale * x + shift per channel, but from `low` to `high`; y may be x."""
    lowest, highest = vset(type(real)(low)), vset(type(real)(high))
    for c in range(y.channels):
        factor, summand = vset(scale[c]), vset(shift[c])
        for h in range(y.height):
            for w in range(y.width):
                value = vfma(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), factor, summand)
                value = vmin(vmax(value, lowest), highest)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)
