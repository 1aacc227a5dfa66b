"""The register tile swept over rows and columns: every convolution and dense pass is one of these two kernels.

`contract` sweeps C[i, o, j] = bias[i] + sum A[i] * B[o, j] over rows i, outer steps o and columns j; `correlate` sweeps
the lane-summing tile over rows, two outer loops and columns. Rows and columns that the tile does not divide are met by
moving the last tile back over the one before it: it writes the same numbers again.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import numba
import numpy as np

from cnncli.kernels.cache import sources_digest
from cnncli.kernels.kernel import Kernel, at
from cnncli.kernels.program import Op, Place
from cnncli.kernels.simd import LANES, offset, pointer
from cnncli.kernels.tile import ACCUMULATORS, make_tile

Steps = tuple[int, int, int]
sources_digest(__name__)  # of the text that was imported, before anybody can change it


@dataclass(frozen=True)
class Sweep:
    """What both kernels read after their places, in this order; strides in elements.

    Parameters
    ----------
    rows, columns, outer, inner : int
        Lengths of the sweep; `inner` is 1 for `contract`.
    a_row, b_column, b_outer, b_inner, c_row, c_column, c_outer, c_inner : int
        Steps of the operands along it.
    lengths, a_steps, b_steps : (int, int, int)
        Lengths of the three reduction loops and the steps of A and B along them.
    parts : int
        Rows are shared out over so many tasks; 1: every task is a block of images and has all rows.
    bias_row : int
        1 where there is a bias, 0 where the bias place holds one zero.
    rectify : int
        1 raises results to 0.
    overhang : int
        Elements by which the last column of vectors reaches beyond the end; it is moved back by so much.
    reach, first_row, row_step, tap_step : int
        `contract` leaves out what it would multiply with zeros above and below the image: the second reduction loop
        reads row ``first_row + outer * row_step + tap * tap_step`` of B, and only rows 0 .. reach-1 are there (0: all).
    """

    rows: int
    columns: int
    outer: int
    inner: int
    a_row: int
    b_column: int
    b_outer: int
    b_inner: int
    c_row: int
    c_column: int
    c_outer: int
    c_inner: int
    lengths: Steps
    a_steps: Steps
    b_steps: Steps
    parts: int = 1
    bias_row: int = 0
    rectify: int = 0
    overhang: int = 0
    reach: int = 0
    first_row: int = 0
    row_step: int = 0
    tap_step: int = 0

    def words(self) -> tuple[int, ...]:
        """Return the flat integers."""
        return tuple(int(n) for value in astuple(self) for n in (value if isinstance(value, tuple) else (value,)))


def contract(a: Place, b: Place, c: Place, bias: Place, sweep: Sweep) -> Op:
    """Return the op that fills C with vectors: convolution forward and input gradient, dense layers."""
    whole = sweep.columns if not sweep.overhang else sweep.columns - 1
    rows, columns = best_tile(sweep.rows // sweep.parts, whole)
    kernel = _contract(rows, columns, sweep.b_column == LANES)
    return Op(kernel, (a, b, c, bias, *sweep.words()))


def correlate(a: Place, b: Place, c: Place, sweep: Sweep) -> Op:
    """Return the op that fills C with numbers, the lanes summed: the weight gradient of a convolution."""
    rows, columns = best_tile(sweep.rows // sweep.parts, sweep.columns)
    kernel = _correlate(rows, columns, sweep.b_column == LANES)
    return Op(kernel, (a, b, c, *sweep.words()))


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


@cache
def _contract(rows: int, columns: int, neighbours: bool) -> Kernel:
    """Return the kernel of a tile of `rows` x `columns` vectors; words: A (3), B (3), C (3), bias (3), Sweep."""
    tile = make_tile(rows, columns, b_column=LANES if neighbours else None)

    def body(d: Any, task: Any, worker: Any, real: Any) -> None:
        parts = d[33]
        image = task if parts == 1 else 0
        first = 0 if parts == 1 else task * d[12] // parts
        last = d[12] if parts == 1 else (task + 1) * d[12] // parts
        a = pointer(at(d, 0, image, worker), real)
        b = pointer(at(d, 3, image, worker), real)
        c = pointer(at(d, 6, image, worker), real)
        bias = pointer(at(d, 9, image, worker), real)
        low = type(real)(0) if d[35] else type(real)(-np.inf)
        for outer in range(d[14]):
            skip, taps = _taps_inside(d[37], d[38] + outer * d[39], d[40], d[25])
            for i in range(first, last, rows):
                row = min(i, last - rows)
                for j in range(0, d[13], columns):
                    column = min(j, d[13] - columns)
                    back = d[36] if column == d[13] - columns else 0
                    tile(
                        offset(a, row * d[16] + skip * d[28]), d[16],
                        offset(b, outer * d[18] + column * d[17] - back + skip * d[31]), d[17],
                        offset(c, row * d[20] + outer * d[22] + column * d[21] - back), d[20], d[21],
                        offset(bias, row * d[34]), d[34], low,
                        d[24], taps, d[26], d[27], d[28], d[29], d[30], d[31], d[32],
                    )  # fmt: skip

    return Kernel(body, f"contract{rows}x{columns}{'' if neighbours else 's'}")


@cache
def _correlate(rows: int, columns: int, neighbours: bool) -> Kernel:
    """Return the kernel of a lane-summing tile of `rows` x `columns`; words: A (3), B (3), C (3), Sweep."""
    tile = make_tile(rows, columns, lane_sum=True, b_column=LANES if neighbours else None)

    def body(d: Any, task: Any, worker: Any, real: Any) -> None:
        parts = d[30]
        image = task if parts == 1 else 0
        first = 0 if parts == 1 else task * d[9] // parts
        last = d[9] if parts == 1 else (task + 1) * d[9] // parts
        a = pointer(at(d, 0, image, worker), real)
        b = pointer(at(d, 3, image, worker), real)
        c = pointer(at(d, 6, image, worker), real)
        for i in range(first, last, rows):
            row = min(i, last - rows)
            for outer in range(d[11]):
                for inner in range(d[12]):
                    for j in range(0, d[10], columns):
                        column = min(j, d[10] - columns)
                        tile(
                            offset(a, row * d[13]), d[13],
                            offset(b, outer * d[15] + inner * d[16] + column * d[14]), d[14],
                            offset(c, row * d[17] + outer * d[19] + inner * d[20] + column * d[18]), d[17], d[18],
                            c, 0, real,
                            d[21], d[22], d[23], d[24], d[25], d[26], d[27], d[28], d[29],
                        )  # fmt: skip

    return Kernel(body, f"correlate{rows}x{columns}{'' if neighbours else 's'}")


def best_tile(rows: int, columns: int) -> tuple[int, int]:
    """Return the tile for a sweep of `rows` x `columns`: the least work, counting what is written twice.

    A tile's step takes as long as its multiply-adds or its loads (two of each a cycle), whichever are more, and never
    less than the latency of a chain of additions.
    """
    best = (float("inf"), 0, 1, 1)
    for i in range(1, min(rows, 12) + 1):
        for j in range(1, min(columns, 8) + 1):
            if i * j <= ACCUMULATORS and (i <= 8 or j == 1):
                cycles = max(i * j, i + j, 8) + 0.5
                best = min(best, (cycles * -(-rows // i) * -(-columns // j), -i * j, i, j))
    return best[2], best[3]
