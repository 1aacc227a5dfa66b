"""The weights of convolutions of stride 2, transformed once for a batch."""

from __future__ import annotations

from cnncli.compute.arguments import Block, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.convolution.strided.transforms import taps4
from cnncli.kernels.convolution.winograd.sizes import GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import store4
from cnncli.kernels.simd.vectors import LANES, offset, vload


@kernel
def transform_weights(
    weight: Reals, out: Reals, rows: int, depth: int, row_step: int, depth_step: int, panel: Block, real: Real
) -> None:
    """Write the transformed kernels of ROWS filters: out[16][panel][depth][ROWS], zeros where there are none.

    The kernel of row r and depth c begins at weight[r * row_step + c * depth_step].
    """
    panels = (rows + ROWS - 1) // ROWS
    deep = (depth + GROUP - 1) // GROUP * GROUP
    plane = panels * deep * ROWS
    for c in range(0, deep, GROUP):
        target = offset(out, (panel * deep + c) * ROWS)
        # the nine taps are gathered where the results are going to lie
        for lane in range(LANES):
            row, channel = panel * ROWS + lane % ROWS, c + lane // ROWS
            is_there = row < rows and channel < depth
            for tap in range(9):
                target[tap * plane + lane] = weight[row * row_step + channel * depth_step + tap] if is_there else real
        w = offset(target, 3 * plane)
        v = offset(target, 6 * plane)
        a0, b0, c0, d0 = taps4(vload(target, 0), vload(w, 0), vload(v, 0))
        a1, b1, c1, d1 = taps4(vload(target, plane), vload(w, plane), vload(v, plane))
        a2, b2, c2, d2 = taps4(vload(target, 2 * plane), vload(w, 2 * plane), vload(v, 2 * plane))
        store4(target, plane, taps4(a0, a1, a2))
        store4(offset(target, 4 * plane), plane, taps4(b0, b1, b2))
        store4(offset(target, 8 * plane), plane, taps4(c0, c1, c2))
        store4(offset(target, 12 * plane), plane, taps4(d0, d1, d2))
