"""Feature maps moved, padded, cropped and repeated along rows and columns."""

from __future__ import annotations

from cnncli.compute.arguments import Maps, Real
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vadd, vload, vset, vstore


@kernel(splits_channels=True)
def shift(x: Maps, y: Maps, top: int, left: int, real: Real) -> None:
    """Write y[h, w] = x[h - top, w - left], and zero where x has no such pixel."""
    zero = vset(type(real)(0))
    for c in range(y.channels):
        for h in range(y.height):
            is_row = h >= top and h - top < x.height
            for w in range(y.width):
                value = zero
                if is_row and w >= left and w - left < x.width:
                    value = vload(x.data, c * x.channel_step + (h - top) * x.row_step + (w - left) * LANES)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def repeat(x: Maps, y: Maps, rows: int, columns: int) -> None:
    """Write y = every pixel of x as `rows` x `columns` pixels."""
    for c in range(y.channels):
        for h in range(y.height):
            for w in range(y.width):
                value = vload(x.data, c * x.channel_step + h // rows * x.row_step + w // columns * LANES)
                vstore(y.data, c * y.channel_step + h * y.row_step + w * LANES, value)


@kernel(splits_channels=True)
def repeat_gradient(dy: Maps, dx: Maps, rows: int, columns: int, real: Real) -> None:
    """Write dx = the sum of dy over the `rows` x `columns` pixels that a pixel has become."""
    for c in range(dx.channels):
        for h in range(dx.height):
            for w in range(dx.width):
                total = vset(type(real)(0))
                for i in range(h * rows, (h + 1) * rows):
                    for j in range(w * columns, (w + 1) * columns):
                        total = vadd(total, vload(dy.data, c * dy.channel_step + i * dy.row_step + j * LANES))
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, total)
