"""Sums in a fixed order, and the transpose that a dense layer's weight gradient reads."""

from __future__ import annotations

from cnncli.compute.arguments import Block, Partial, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, offset, transpose, vadd, vload, vset, vstore, vsum


@kernel
def sum_lanes(
    x: Reals,
    out: Partial,
    rows: int,
    sizes: tuple[int, int, int],
    row_step: int,
    steps: tuple[int, int, int],
    block: Block,
    real: Real,
) -> None:
    """Add to out[f] the sum of x[f, b, i, j, lane] over b, i, j and lanes: the gradient of a bias."""
    target = offset(out.data, block // out.blocks * out.step)
    is_first = block % out.blocks == 0
    for f in range(rows):
        # two accumulators hide the latency of addition
        even = vset(type(real)(0))
        odd = vset(type(real)(0))
        for b in range(sizes[0]):
            for i in range(sizes[1]):
                place = f * row_step + b * steps[0] + i * steps[1]
                for j in range(0, sizes[2] - 1, 2):
                    even = vadd(even, vload(x, place + j * steps[2]))
                    odd = vadd(odd, vload(x, place + (j + 1) * steps[2]))
                if sizes[2] % 2:
                    even = vadd(even, vload(x, place + (sizes[2] - 1) * steps[2]))
        total = vsum(vadd(even, odd))
        target[f] = total if is_first else target[f] + total


@kernel
def add_parts(parts: Reals, out: Reals, length: int, count: int, step: int, per_task: int, task: Block) -> None:
    """Write out[i] = parts[0][i] + parts[1][i] + ..., in this order; each task does `per_task` numbers."""
    first = task * per_task
    last = min(first + per_task, length)
    i = first
    while i + LANES <= last:
        total = vload(parts, i)
        for part in range(1, count):
            total = vadd(total, vload(parts, part * step + i))
        vstore(out, i, total)
        i += LANES
    while i < last:
        single = parts[i]
        for part in range(1, count):
            single += parts[part * step + i]
        out[i] = single
        i += 1


@kernel
def transpose_features(x: Reals, out: Reals, vectors: int, row_step: int) -> None:
    """Write out[lane, i] = x[i, lane] for whole blocks of LANES features."""
    for vector in range(vectors):
        transpose(offset(x, vector * LANES * LANES), LANES, offset(out, vector * LANES), row_step)
