"""Products of feature maps, one of which may hold a single number per channel."""

from __future__ import annotations

from cnncli.compute.arguments import Maps, Real
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vfma, vload, vmul, vset, vstore


@kernel(splits_channels=True)
def product(a: Maps, b: Maps, y: Maps) -> None:
    """Write y = a * b; a factor of one pixel is that of all pixels. y may be a factor of its own size."""
    a_row = a.row_step if a.height * a.width > 1 else 0
    b_row = b.row_step if b.height * b.width > 1 else 0
    a_column = LANES if a_row else 0
    b_column = LANES if b_row else 0
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                one = vload(a.data, c * a.channel_step + h * a_row + w * a_column)
                two = vload(b.data, c * b.channel_step + h * b_row + w * b_column)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, vmul(one, two))


@kernel(splits_channels=True)
def product_sum(a: Maps, b: Maps, y: Maps, real: Real) -> None:
    """Write y = the sum of a * b over the pixels, row by row; y has one pixel."""
    for c in range(y.channels):
        total = vset(type(real)(0))
        for h in range(a.height):
            for w in range(a.width):
                one = vload(a.data, c * a.channel_step + h * a.row_step + w * LANES)
                two = vload(b.data, c * b.channel_step + h * b.row_step + w * LANES)
                total = vfma(one, two, total)
        vstore(y.data, c * y.channel_step, total)
