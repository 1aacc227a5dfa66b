"""The weights of convolutions of stride 2, transformed once for a batch."""

from __future__ import annotations

from cnncli.compute.arguments import Block, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.convolution.strided.transforms import taps4
from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import store4
from cnncli.kernels.convolution.winograd.weights import gather
from cnncli.kernels.simd.taps import make_taps
from cnncli.kernels.simd.vectors import offset

_load_taps = make_taps(9, ROWS)


@kernel
def transform_weights(
    weight: Reals, out: Reals, rows: int, depth: int, row_step: int, depth_step: int, chain: int, panel: Block,
    real: Real,
) -> None:  # fmt: skip
    """Write the transformed kernels of ROWS filters, zeros where there are none: out[16][chain][panel][channel][ROWS].

    A chain holds `chain` channels, a multiple of GROUP, the last one the rest. The kernel of row r and depth c begins
    at weight[r * row_step + c * depth_step].
    """
    panels = (rows + ROWS - 1) // ROWS
    deep = (depth + GROUP - 1) // GROUP * GROUP
    plane, row = panels * deep * ROWS, panel * ROWS
    for first in range(0, deep, chain):
        length = min(chain, deep - first)
        for c in range(first, first + length, GROUP):
            target = offset(out, (first * panels + panel * length + c - first) * ROWS)
            if row + ROWS <= rows and c + GROUP <= depth:
                taps = _load_taps(offset(weight, row * row_step + c * depth_step), row_step, depth_step)
            else:
                taps = gather(weight, target, plane, row, rows, c, depth, row_step, depth_step, real)
            t0, t1, t2, t3, t4, t5, t6, t7, t8 = taps
            a0, b0, c0, d0 = taps4(t0, t3, t6)
            a1, b1, c1, d1 = taps4(t1, t4, t7)
            a2, b2, c2, d2 = taps4(t2, t5, t8)
            store4(target, plane, taps4(a0, a1, a2))
            store4(offset(target, 4 * plane), plane, taps4(b0, b1, b2))
            store4(offset(target, 8 * plane), plane, taps4(c0, c1, c2))
            store4(offset(target, 12 * plane), plane, taps4(d0, d1, d2))
