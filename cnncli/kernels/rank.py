"""The median of every window, in two ways: by exchanges of whole vectors, and by counting.

Both pick one of the values of the window, so they give the same for every value that is no NaN. Exchanges cost about
n^2 for n values, counting about n^(1/2) of a square window: they meet near 5x5.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from cnncli.compute.arguments import Int64s, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vload, vmax, vmin, vstore


@kernel
def middle_by_exchange(
    x: Reals,
    y: Reals,
    kept: Reals,
    places: Int64s,
    count: int,
    rows: int,
    length: int,
    x_step: int,
    y_step: int,
    real: Real,
) -> None:
    """Write y[r, e] = the middle one of x[r * x_step + places[i] + e] over the `count` places, an odd number.

    Of n/2 + 2 values the least and the largest cannot be the middle of all n: they are dropped, the next value joins,
    and so on until three are left (Devillard 1998, "Fast median search"). Rows are done in whole vectors: both arrays
    have room for what lies beyond `length`. `kept` has room for count/2 + 2 vectors.
    """
    held = count // 2 + 2
    for r in range(rows):
        for e in range(0, length, LANES):
            first = r * x_step + e
            for i in range(min(held, count)):
                vstore(kept, i * LANES, vload(x, first + places[i]))
            size = held
            for following in range(held, count):
                for i in range(size // 2):
                    j = size - 1 - i
                    a, b = vload(kept, i * LANES), vload(kept, j * LANES)
                    vstore(kept, i * LANES, vmin(a, b))
                    vstore(kept, j * LANES, vmax(a, b))
                least = vload(kept, 0)
                for i in range(1, (size + 1) // 2):
                    a = vload(kept, i * LANES)
                    vstore(kept, i * LANES, vmax(least, a))
                    least = vmin(least, a)
                largest = vload(kept, (size - 1) * LANES)
                for i in range(size // 2, size - 1):
                    a = vload(kept, i * LANES)
                    vstore(kept, i * LANES, vmin(largest, a))
                    largest = vmax(largest, a)
                vstore(kept, 0, vload(x, first + places[following]))
                size -= 1
            if count == 1:
                middle = vload(kept, 0)
            else:
                a, b, c = vload(kept, 0), vload(kept, LANES), vload(kept, 2 * LANES)
                middle = vmax(vmin(a, b), vmin(vmax(a, b), c))
            vstore(y, r * y_step + e, middle)


@njit(error_model="numpy")
def _add(counts: Any, levels: int, rank: int, weight: int) -> None:
    """Add the weight of a rank on every level."""
    first = 0
    for level in range(levels):
        counts[first + (rank >> (4 * (levels - 1 - level)))] += weight
        first += 16 << (4 * level)


@njit(error_model="numpy")
def _middle(counts: Any, levels: int, total: int) -> int:
    """Return the least rank up to which more than half of the total lies."""
    if total == 0:
        return -1
    below, node, first = 0, 0, 0
    for level in range(levels):
        node *= 16
        while below + counts[first + node] <= total // 2:
            below += counts[first + node]
            node += 1
        first += 16 << (4 * level)
    return node


@kernel
def middle_by_counting(
    ranks: Int64s,
    weights: Int64s,
    y: Int64s,
    counts: Int64s,
    levels: int,
    rows: int,
    columns: int,
    channels: int,
    window_rows: int,
    window_columns: int,
    weight_step: int,
) -> None:
    """Write y[r, c, k] = the least rank up to which more than half of the weight of a window lies, -1 without weight.

    ranks has shape (rows + window_rows - 1, columns + window_columns - 1, channels) and holds numbers below 16^levels.
    weights[p * weight_step] belongs to pixel p of it. `counts` is all 0 and is left so; it holds the weight of every
    rank, and above it, level by level, that of every 16 of the level below, so that the window moves by one column with
    2 * window_rows * levels additions (Huang, Yang and Tang 1979, doi:10.1109/TASSP.1979.1163188).
    """
    width = columns + window_columns - 1
    for r in range(rows):
        for k in range(channels):
            total = 0
            for c in range(1 - window_columns, columns):
                joins = c + window_columns - 1
                for i in range(r, r + window_rows):
                    pixel = i * width + joins
                    weight = weights[pixel * weight_step]
                    _add(counts, levels, ranks[pixel * channels + k], weight)
                    total += weight
                    if c > 0:
                        pixel = i * width + c - 1
                        weight = weights[pixel * weight_step]
                        _add(counts, levels, ranks[pixel * channels + k], -weight)
                        total -= weight
                if c >= 0:
                    y[(r * columns + c) * channels + k] = _middle(counts, levels, total)
            for c in range(columns - 1, width):
                for i in range(r, r + window_rows):
                    pixel = i * width + c
                    _add(counts, levels, ranks[pixel * channels + k], -weights[pixel * weight_step])
