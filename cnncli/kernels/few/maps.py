"""Feature maps of one image with channels in the lanes: from 8-bit pixels, per-channel scaling, other shapes."""

from __future__ import annotations

from numba import types

from cnncli.compute.arguments import Int64s, Maps, Part, Parts, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, pointer, vfma, vload, vmax, vmin, vset, vstore


@kernel
def gather_image(
    source: Int64s, picks: Int64s, x: Maps, scale: Reals, shift: Reals, scratch: Reals, channels: int, real: Real
) -> None:
    """Write x[c, h, w] = scale[c] * image[picks[0]][h, w, c] + shift[c], 0 in the lanes beyond.

    `source` holds the address of the images, uint8 (N, H, W, C); `scratch` has room for 2 * LANES numbers.
    """
    image = pointer(source[0] + picks[0] * channels * x.height * x.width, types.uint8(0))
    for block in range(x.channels):
        first, lanes = block * LANES, min(LANES, channels - block * LANES)
        for lane in range(LANES):
            scratch[lane] = scale[first + lane] if lane < lanes else real
            scratch[LANES + lane] = shift[first + lane] if lane < lanes else real
        factor, summand = vload(scratch, 0), vload(scratch, LANES)
        for h in range(x.height):
            row = block * x.channel_step + h * x.row_step
            for w in range(x.width):
                vstore(x.data, row + w * LANES, vset(real))
                for lane in range(lanes):
                    pixel = image[(h * x.width + w) * channels + first + lane]
                    x.data[row + w * LANES + lane] = type(real)(pixel)
            for w in range(x.width):
                value = vfma(vload(x.data, row + w * LANES), factor, summand)
                vstore(x.data, row + w * LANES, value)


@kernel
def affine(
    x: Maps, y: Maps, scale: Reals, shift: Reals, low: float, high: float, part: Part, parts: Parts, real: Real
) -> None:
    """Write y = scale * x + shift per channel, but from `low` to `high`; y may be x."""
    lowest, highest = vset(type(real)(low)), vset(type(real)(high))
    units = y.channels * y.height
    for unit in range(part * units // parts, (part + 1) * units // parts):
        c, h = unit // y.height, unit % y.height
        factor, summand = vload(scale, c * LANES), vload(shift, c * LANES)
        for w in range(y.width):
            value = vfma(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), factor, summand)
            value = vmin(vmax(value, lowest), highest)
            vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel
def reshape(x: Maps, y: Maps, channels: int, y_channels: int) -> None:
    """Write y = the numbers of x in C order, in maps of another shape; `channels` and `y_channels` are all channels."""
    c = h = w = 0
    for i in range(channels):
        for j in range(x.height):
            for k in range(x.width):
                number = x.data[i // LANES * x.channel_step + j * x.row_step + k * LANES + i % LANES]
                y.data[c // LANES * y.channel_step + h * y.row_step + w * LANES + c % LANES] = number
                w += 1
                if w == y.width:
                    w = 0
                    h += 1
                    if h == y.height:
                        h = 0
                        c += 1
