"""The register tile swept over rows and columns: the compiled code of sweep.py.

Where the tile does not divide the rows or columns, the last tile overlaps the one before it and computes the same
values again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np

from cnncli.kernels.kernel import Kernel, at
from cnncli.kernels.simd import LANES, offset, pointer
from cnncli.kernels.tile import make_tile


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
def contract(rows: int, columns: int, neighbours: int) -> Kernel:
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

    return Kernel(body, f"contract{rows}x{columns}x{neighbours}")


@cache
def correlate(rows: int, columns: int, neighbours: int) -> Kernel:
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

    return Kernel(body, f"correlate{rows}x{columns}x{neighbours}")
