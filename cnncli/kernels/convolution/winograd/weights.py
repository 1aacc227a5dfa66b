"""The weights of Winograd convolutions, transformed once for a batch."""

from __future__ import annotations

from typing import Any

import numba

from cnncli.compute.arguments import Block, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.convolution.winograd.sizes import DEPTH, GROUP, ROWS
from cnncli.kernels.convolution.winograd.transforms import store4, taps3
from cnncli.kernels.simd.taps import make_taps
from cnncli.kernels.simd.vectors import LANES, offset, vload, vset

_load_taps = make_taps(9, ROWS)


@numba.njit(error_model="numpy")
def gather(
    weight: Any, target: Any, step: Any, row: Any, rows: Any, c: Any, depth: Any, row_step: Any, depth_step: Any,
    real: Any,
) -> Any:  # fmt: skip
    """Return the nine taps of kernels of which some are not there; they are gathered at `target`, `step` apart."""
    for lane in range(LANES):
        filter_, channel = row + lane % ROWS, c + lane // ROWS
        is_there = filter_ < rows and channel < depth
        source = filter_ * row_step + channel * depth_step
        for tap in range(9):
            target[tap * step + lane] = weight[source + tap] if is_there else real
    return (
        vload(target, 0), vload(target, step), vload(target, 2 * step),
        vload(target, 3 * step), vload(target, 4 * step), vload(target, 5 * step),
        vload(target, 6 * step), vload(target, 7 * step), vload(target, 8 * step),
    )  # fmt: skip


@kernel
def transform_weights(
    weight: Reals, out: Reals, rows: int, depth: int, row_step: int, depth_step: int, is_turned: int, panel: Block,
    real: Real,
) -> None:  # fmt: skip
    """Write G w G' of ROWS filters: out[16][chain][panel][channel][ROWS], zeros where there is no filter or channel.

    A chain holds DEPTH channels, the last one the rest: the order in which they are read. The kernel of row r and
    depth c begins at weight[r * row_step + c * depth_step], and is read backwards if `is_turned`.
    """
    panels = (rows + ROWS - 1) // ROWS
    deep = (depth + GROUP - 1) // GROUP * GROUP
    plane = panels * deep * ROWS
    half = vset(type(real)(0.5))
    row = panel * ROWS
    for first in range(0, deep, DEPTH):
        length = min(DEPTH, deep - first)
        for c in range(first, first + length, GROUP):
            target = offset(out, (first * panels + panel * length + c - first) * ROWS)
            if row + ROWS <= rows and c + GROUP <= depth:
                taps = _load_taps(offset(weight, row * row_step + c * depth_step), row_step, depth_step)
            else:
                taps = gather(weight, target, plane, row, rows, c, depth, row_step, depth_step, real)
            t0, t1, t2, t3, t4, t5, t6, t7, t8 = taps
            if is_turned:
                t0, t1, t2, t3, t4, t5, t6, t7, t8 = t8, t7, t6, t5, t4, t3, t2, t1, t0
            a0, b0, c0, d0 = taps3(t0, t3, t6, half)
            a1, b1, c1, d1 = taps3(t1, t4, t7, half)
            a2, b2, c2, d2 = taps3(t2, t5, t8, half)
            store4(target, plane, taps3(a0, a1, a2, half))
            store4(offset(target, 4 * plane), plane, taps3(b0, b1, b2, half))
            store4(offset(target, 8 * plane), plane, taps3(c0, c1, c2, half))
            store4(offset(target, 12 * plane), plane, taps3(d0, d1, d2, half))
