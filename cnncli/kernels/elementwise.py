"""ReLU, dropout, sums and copies of feature maps, number by number."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from cnncli.compute.arguments import Block, Maps, Real, UInt64s
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vadd, vgreater, vload, vmax, vmin, vselect, vset, vstore


@kernel(splits_channels=True)
def copy(x: Maps, y: Maps) -> None:
    """Write y = x."""
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                value = vload(x.data, c * x.channel_step + h * x.row_step + w * LANES)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel
def reshape(x: Maps, y: Maps) -> None:
    """Write y = the numbers of x in the same order, in maps of another shape."""
    c = h = w = 0
    for i in range(x.channels):
        for j in range(x.height):
            for k in range(x.width):
                value = vload(x.data, i * x.channel_step + j * x.row_step + k * LANES)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)
                w += 1
                if w == y.width:
                    w = 0
                    h += 1
                    if h == y.height:
                        h = 0
                        c += 1


@kernel(splits_channels=True)
def clear_halo(y: Maps, top: int, bottom: int, left: int, right: int, real: Real) -> None:
    """Write zeros around y: so many rows and columns on each side."""
    zero = vset(type(real)(0))
    for c in range(y.channels):
        for h in range(-top, y.height + bottom):
            row = c * y.channel_step + h * y.row_step
            if h < 0 or h >= y.height:
                for w in range(-left, y.width + right):
                    vstore(y.data, row + w * LANES, zero)
            else:
                for w in range(-left, 0):
                    vstore(y.data, row + w * LANES, zero)
                for w in range(y.width, y.width + right):
                    vstore(y.data, row + w * LANES, zero)


@kernel(splits_channels=True)
def add(a: Maps, b: Maps, y: Maps, low: float, high: float, real: Real) -> None:
    """Write y = a + b, but from `low` to `high`; y may be a or b."""
    lowest, highest = vset(type(real)(low)), vset(type(real)(high))
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                one = vload(a.data, c * a.channel_step + h * a.row_step + w * LANES)
                two = vload(b.data, c * b.channel_step + h * b.row_step + w * LANES)
                value = vmin(vmax(vadd(one, two), lowest), highest)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def relu_forward(x: Maps, y: Maps, real: Real) -> None:
    """Write y = max(x, 0); NaN stays NaN. y may be x."""
    zero = vset(type(real)(0))
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                value = vmax(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), zero)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def relu_backward(y: Maps, dy: Maps, dx: Maps, real: Real) -> None:
    """Write dx = dy where y > 0, else 0; dx may be dy."""
    zero = vset(type(real)(0))
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                alive = vgreater(vload(y.data, c * y.channel_step + h * y.row_step + w * LANES), zero)
                gain = vload(dy.data, c * dy.channel_step + h * dy.row_step + w * LANES)
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, vselect(alive, gain, zero))


@numba.njit(error_model="numpy")
def _mixed(number: Any) -> Any:
    """Scramble 64 bits (the finaliser of SplitMix64: Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@kernel
def dropout(x: Maps, y: Maps, key: UInt64s, stream: int, keep: float, threshold: int, block: Block, real: Real) -> None:
    """Write y = x / (1 - rate), or 0 with probability `rate` (inverted dropout; the gradient is the same operation).

    Whether a number is dropped depends on the key, the stream, the image's position in the batch and the number's
    position in the image alone, so forward and backward agree without a stored mask, whatever the threads do.
    `keep` is 1 / (1 - rate), `threshold` the rate in units of 2**-32; y may be x.
    """
    seed = key[0] + _mixed(np.uint64(stream))  # stream 0 is the key itself
    scale = type(real)(keep)
    element = np.uint64(0)
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                for lane in range(LANES):
                    image = np.uint64(block * LANES + lane)
                    draw = _mixed(seed + _mixed((image << np.uint64(40)) + element)) >> np.uint64(32)
                    value = x.data[c * x.channel_step + h * x.row_step + w * LANES + lane]
                    y.data[c * y.channel_step + h * y.row_step + w * LANES + lane] = (
                        type(real)(0) if np.int64(draw) < threshold else value * scale
                    )
                element += np.uint64(1)
