"""Every convolution and dense pass is one of two kernels, which sweep a register tile over rows and columns.

`contract` sweeps C[i, o, j] = bias[i] + sum A[i] * B[o, j] over rows i, outer steps o and columns j; `correlate` sweeps
the lane-summing tile over rows, two outer loops and columns. Their code is in contraction.py.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from cnncli.kernels.host import ACCUMULATORS, LANES
from cnncli.kernels.program import Op, Place
from cnncli.kernels.store import routine

Steps = tuple[int, int, int]


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
    kernel = routine("contraction.contract", rows, columns, int(sweep.b_column == LANES))
    return Op(kernel, (a, b, c, bias, *sweep.words()))


def correlate(a: Place, b: Place, c: Place, sweep: Sweep) -> Op:
    """Return the op that fills C with numbers, the lanes summed: the weight gradient of a convolution."""
    rows, columns = best_tile(sweep.rows // sweep.parts, sweep.columns)
    kernel = routine("contraction.correlate", rows, columns, int(sweep.b_column == LANES))
    return Op(kernel, (a, b, c, *sweep.words()))


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
