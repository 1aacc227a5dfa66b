"""The register tile in loops over rows and columns: the compiled code of loops.py."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from cnncli.compute.arguments import Block, Part, Partial, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel
from cnncli.kernels.convolution.loops import LoopNest
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset


@numba.njit(error_model="numpy")
def _taps_inside(reach: Any, base: Any, step: Any, taps: Any) -> Any:
    """Return the first tap and how many taps read rows base + tap * step in 0 .. reach-1."""
    if reach == 0:
        return 0, taps
    if step > 0:
        low, high = -(base // step), (reach - 1 - base) // step
    else:
        low, high = -((reach - 1 - base) // -step), base // -step
    low = max(low, 0)
    return low, max(min(high, taps - 1) - low + 1, 0)


@numba.njit(error_model="numpy")
def _share(groups: Any, rows: Any, part: Any, parts: Any) -> Any:
    """Return first and last + 1 of a part: of the groups, where there are any, else of the rows."""
    if groups > 1:
        return part * groups // parts, (part + 1) * groups // parts, 0, rows
    return 0, 1, part * rows // parts, (part + 1) * rows // parts


@cache
def contract(rows: int, columns: int, neighbours: int, loops: int, is_blocked: int) -> CompiledKernel:
    """Return the kernel of a tile of `rows` x `columns` vectors; its rows may be shared out over parts.

    The order of the additions is that of `make_tile`, with blocks of `nest.block` passes of the first reduction loop
    where `is_blocked`. Products with rows outside of the image are left out.
    """
    tile = make_tile(rows, columns, b_column=LANES if neighbours else None, loops=loops, is_blocked=bool(is_blocked))

    def body(a: Reals, b: Reals, c: Reals, bias: Reals, nest: LoopNest, part: Part, parts: Parts, real: Real) -> None:
        begin, end, first, last = _share(nest.groups, nest.rows, part, parts)
        low = type(real)(0) if nest.relu else type(real)(-np.inf)
        for group in range(begin, end):
            weights, shift = offset(a, group * nest.a_group), offset(bias, group * nest.bias_group)
            for outer in range(nest.outer):
                first_row = nest.first_row + outer * nest.row_step
                skip, taps = _taps_inside(nest.reach, first_row, nest.tap_step, nest.lengths[1])
                source = offset(b, group * nest.b_group + outer * nest.b_outer + skip * nest.b_steps[1])
                target = offset(c, group * nest.c_group + outer * nest.c_outer)
                for i in range(first, last, rows):
                    row = min(i, last - rows)
                    for j in range(0, nest.columns, columns):
                        column = min(j, nest.columns - columns)
                        back = nest.overhang if column == nest.columns - columns else 0
                        tile(
                            offset(weights, row * nest.a_row + skip * nest.a_steps[1]), nest.a_row,
                            offset(source, column * nest.b_column - back), nest.b_column,
                            offset(target, row * nest.c_row + column * nest.c_column - back),
                            nest.c_row, nest.c_column,
                            offset(shift, row * nest.bias_row), nest.bias_row, low,
                            nest.lengths[0], taps, nest.lengths[2],
                            nest.a_steps[0], nest.a_steps[1], nest.a_steps[2],
                            nest.b_steps[0], nest.b_steps[1], nest.b_steps[2], 0, nest.block,
                        )  # fmt: skip

    return CompiledKernel(body, f"contract{rows}x{columns}x{neighbours}x{loops}x{is_blocked}")


@cache
def contract_lanes(rows: int, columns: int, neighbours: int) -> CompiledKernel:
    """Return the kernel of a lane-summing tile of `rows` x `columns`, which divides the loops.

    Each lane sums over the pixels of its image, row by row; the lanes of a block of images are then added in the tree
    of `vectors.sum_lanes`, and the blocks of a group one after the other.
    """
    tile = make_tile(rows, columns, lane_sum=True, b_column=LANES if neighbours else None)

    def body(
        a: Reals, b: Reals, c: Partial, nest: LoopNest, block: Block, part: Part, parts: Parts, real: Real
    ) -> None:
        begin, end, low, high = _share(nest.groups, nest.rows // rows, part, parts)
        target = offset(c.data, block // c.blocks * c.step)
        keep = 1 if block % c.blocks else 0
        for image in range(min(nest.together, nest.blocks - block * nest.together)):
            for group in range(begin, end):
                left = offset(a, image * nest.a_block + group * nest.a_group)
                right = offset(b, image * nest.b_block + group * nest.b_group)
                for row in range(low * rows, high * rows, rows):
                    for outer in range(nest.outer):
                        for inner in range(nest.inner):
                            place = group * nest.c_group + row * nest.c_row
                            place += outer * nest.c_outer + inner * nest.c_inner
                            source = offset(right, outer * nest.b_outer + inner * nest.b_inner)
                            for column in range(0, nest.columns, columns):
                                tile(
                                    offset(left, row * nest.a_row), nest.a_row,
                                    offset(source, column * nest.b_column), nest.b_column,
                                    offset(target, place + column * nest.c_column), nest.c_row, nest.c_column,
                                    target, 0, real,
                                    nest.lengths[0], nest.lengths[1], nest.lengths[2],
                                    nest.a_steps[0], nest.a_steps[1], nest.a_steps[2],
                                    nest.b_steps[0], nest.b_steps[1], nest.b_steps[2], keep, 0,
                                )  # fmt: skip
            keep = 1

    return CompiledKernel(body, f"contract_lanes{rows}x{columns}x{neighbours}")
