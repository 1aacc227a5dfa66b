"""Sums in a fixed order, and the transpose that a dense layer's weight gradient reads."""

from __future__ import annotations

from typing import Any

from cnncli.kernels.kernel import at, kernel
from cnncli.kernels.simd import LANES, offset, pointer, transpose, vadd, vload, vset, vstore, vsum


@kernel
def sum_lanes_of(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write out[f] = the sum of x[f, b, i, j, lane] over b, i, j and lanes: the gradient of a bias.

    Words: x (3), out (3), F, B, I, J, strides of f, b, i, j.
    """
    x = pointer(at(d, 0, task, worker), real)
    out = pointer(at(d, 3, task, worker), real)
    for f in range(d[6]):
        # two chains of additions, or each would wait for the one before it
        even = vset(type(real)(0))
        odd = vset(type(real)(0))
        for block in range(d[7]):
            for i in range(d[8]):
                place = f * d[10] + block * d[11] + i * d[12]
                for j in range(0, d[9] - 1, 2):
                    even = vadd(even, vload(x, place + j * d[13]))
                    odd = vadd(odd, vload(x, place + (j + 1) * d[13]))
                if d[9] % 2:
                    even = vadd(even, vload(x, place + (d[9] - 1) * d[13]))
        out[f] = vsum(vadd(even, odd))


@kernel
def add_parts(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write out[i] = parts[0][i] + parts[1][i] + ..., in this order.

    Words: parts (3), out (3), length of a part, count of parts, elements between parts, numbers a task.
    """
    parts = pointer(at(d, 0, task, worker), real)
    out = pointer(at(d, 3, task, worker), real)
    first = task * d[9]
    last = min(first + d[9], d[6])
    i = first
    while i + LANES <= last:
        total = vload(parts, i)
        for part in range(1, d[7]):
            total = vadd(total, vload(parts, part * d[8] + i))
        vstore(out, i, total)
        i += LANES
    while i < last:
        single = parts[i]
        for part in range(1, d[7]):
            single += parts[part * d[8] + i]
        out[i] = single
        i += 1


@kernel
def transpose_features(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write out[lane, i] = x[i, lane] for whole blocks of LANES features.

    Words: x (3), out (3), blocks of features, stride between the lanes' rows of out.
    """
    x = pointer(at(d, 0, task, worker), real)
    out = pointer(at(d, 3, task, worker), real)
    for block in range(d[6]):
        transpose(offset(x, block * LANES * LANES), LANES, offset(out, block * LANES), d[7])
