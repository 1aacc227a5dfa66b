"""The register tile swept over rows and columns: every convolution and dense pass is one of these two kernels.

`contract` sweeps C[i, o, j] = bias[i] + sum A[i] * B[o, j] over rows i, outer steps o and columns j; `correlate` sweeps
the lane-summing tile over rows, two outer loops and columns. Rows and columns that the tile does not divide are met by
moving the last tile back over the one before it: it writes the same numbers again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from cnncli.kernels.kernel import Kernel, at
from cnncli.kernels.simd import offset, pointer
from cnncli.kernels.tile import ACCUMULATORS, make_tile


@cache
def contract(rows: int, columns: int) -> Kernel:
    """Return the kernel that sweeps a tile of `rows` x `columns` vectors.

    Words: A (3), B (3), C (3), bias (3), row count, outer count, column count, a_row, b_column, b_outer, c_row, c_column,
    c_outer, bias_row, K1, K2, K3, a1, a2, a3, b1, b2, b3, rectify (1 raises results to 0), parts (the rows are shared out
    over so many tasks; 1: every task has all rows).
    Column and row counts are at least the tile's.
    """
    tile = make_tile(rows, columns)

    def body(d: Any, task: Any, worker: Any, real: Any) -> None:
        parts = d[32]
        image = task if parts == 1 else 0
        first = 0 if parts == 1 else task * d[12] // parts
        last = d[12] if parts == 1 else (task + 1) * d[12] // parts
        a = pointer(at(d, 0, image, worker), real)
        b = pointer(at(d, 3, image, worker), real)
        c = pointer(at(d, 6, image, worker), real)
        bias = pointer(at(d, 9, image, worker), real)
        low = type(real)(0) if d[31] else type(real)(-np.inf)
        for outer in range(d[13]):
            for i in range(first, last, rows):
                row = min(i, last - rows)
                for j in range(0, d[14], columns):
                    column = min(j, d[14] - columns)
                    tile(
                        offset(a, row * d[15]), d[15],
                        offset(b, outer * d[17] + column * d[16]), d[16],
                        offset(c, row * d[18] + outer * d[20] + column * d[19]), d[18], d[19],
                        offset(bias, row * d[21]), d[21], low,
                        d[22], d[23], d[24], d[25], d[26], d[27], d[28], d[29], d[30],
                    )  # fmt: skip

    return Kernel(body, f"contract{rows}x{columns}")


@cache
def correlate(rows: int, columns: int) -> Kernel:
    """Return the kernel that sweeps a lane-summing tile of `rows` x `columns` numbers.

    Words: A (3), B (3), C (3), row count, column count, outer counts 1 and 2, a_row, b_column, b_outer1, b_outer2, c_row,
    c_column, c_outer1, c_outer2, K1, K2, K3, a1, a2, a3, b1, b2, b3.
    """
    tile = make_tile(rows, columns, lane_sum=True)

    def body(d: Any, task: Any, worker: Any, real: Any) -> None:
        a = pointer(at(d, 0, task, worker), real)
        b = pointer(at(d, 3, task, worker), real)
        c = pointer(at(d, 6, task, worker), real)
        for i in range(0, d[9], rows):
            row = min(i, d[9] - rows)
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

    return Kernel(body, f"correlate{rows}x{columns}")


def best_tile(rows: int, columns: int, *, lane_sum: bool = False) -> tuple[int, int]:
    """Return the tile for a sweep of `rows` x `columns`: the least work, counting what is written twice.

    The work of a tile is its multiply-adds, or its loads where those take longer (two loads a cycle, as many
    multiply-adds), and never less than the latency of a chain of additions.
    """
    best: tuple[float, int, int] | None = None
    for i in range(1, min(rows, 8) + 1):
        for j in range(1, min(columns, 8) + 1):
            if i * j > ACCUMULATORS:
                continue
            cycles = max(i * j, i + j, 8.0) + 0.5
            sweeps = -(-rows // i) * -(-columns // j)
            cost = (cycles * sweeps, -i * j, i)
            if best is None or cost < best:
                best = (cost[0], cost[1], cost[2])
                choice = (i, j)
    return choice
