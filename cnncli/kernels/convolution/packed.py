"""Convolutions of many channels: pixels and weights are copied side by side before they are multiplied.

Where a filter sees many channels, the pixels it reads lie far apart, often by a power of two, so that they push each
other out of the cache, and every panel of filters reads them again. Here the pixels of a few results are copied once
(Goto and van de Geijn 2008, doi:10.1145/1356052.1356053), and weights are laid out in panels once per batch. The loops
are those of `contraction.contract`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba

from cnncli.compute.arguments import Block, Part, Parts, Real, Reals
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.convolution.loops import LoopNest
from cnncli.kernels.convolution.winograd.sizes import DEPTH, ROWS
from cnncli.kernels.simd.tile import make_tile
from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload, vmax, vset, vstore


@numba.njit(error_model="numpy")
def _fill(c: Any, bias: Any, nest: Any, low: Any, begin: Any, end: Any, first: Any, last: Any) -> None:
    """Write the results `first` .. `last`-1 of the rows `begin` .. `end`-1, which are sums of no products."""
    for row in range(begin, end):
        value = vmax(vset(bias[row * nest.bias_row]), low)
        outer, column = first // nest.columns, first % nest.columns
        for _ in range(first, last):
            vstore(c, row * nest.c_row + outer * nest.c_outer + column * nest.c_column, value)
            column += 1
            if column == nest.columns:
                outer, column = outer + 1, 0


@cache
def contract_packed(columns: int) -> CompiledKernel:
    """Return the kernel of `contract` on panels of weights, `columns` results at a time.

    `scratch` takes (taps + filters) * chunk vectors. Each result is the sum of chains of DEPTH products, in the order
    of the three reduction loops, each from 0 on; they are added one after the other, and the bias is added last. A task
    is shared out over chunks of results, and where those are few over panels of filters, too.
    """
    tile = make_tile(ROWS, columns, adds=True)

    def body(
        a: Reals, b: Reals, c: Reals, bias: Reals, scratch: Reals, nest: LoopNest, chunk: int,
        part: Part, parts: Parts, real: Real,
    ) -> None:  # fmt: skip
        low = vset(type(real)(0) if nest.relu else type(real)(-float("inf")))
        depth = nest.lengths[0] * nest.lengths[1] * nest.lengths[2]
        count = nest.outer * nest.columns
        chunks = (count + chunk - 1) // chunk
        panels = (nest.rows + ROWS - 1) // ROWS
        sums = offset(scratch, depth * chunk * LANES)
        shares = max(1, min(parts // chunks, panels))
        for unit in range(part * chunks * shares // parts, (part + 1) * chunks * shares // parts):
            first, share = unit // shares * chunk, unit % shares
            last = min(first + chunk, count)
            begin, end = share * panels // shares, (share + 1) * panels // shares
            for t in range(first, last):
                source = offset(b, t // nest.columns * nest.b_outer + t % nest.columns * nest.b_column)
                target = offset(scratch, (t - first) * LANES)
                for i in range(nest.lengths[0]):
                    for j in range(nest.lengths[1]):
                        for k in range(nest.lengths[2]):
                            pixel = vload(source, i * nest.b_steps[0] + j * nest.b_steps[1] + k * nest.b_steps[2])
                            vstore(target, 0, pixel)
                            target = offset(target, chunk * LANES)
            if depth == 0:
                _fill(c, bias, nest, low, begin * ROWS, min(end * ROWS, nest.rows), first, last)
                continue
            for d in range(0, depth, DEPTH):
                for panel in range(begin, end):
                    for q in range(0, last - first, columns):
                        tile(
                            offset(a, (panel * depth + d) * ROWS), 1, offset(scratch, (d * chunk + q) * LANES), LANES,
                            offset(sums, (panel * ROWS * chunk + q) * LANES), chunk * LANES, LANES,
                            bias, 0, real, 1, 1, min(DEPTH, depth - d), 0, 0, ROWS, 0, 0, chunk * LANES, d, 0,
                        )  # fmt: skip
            for row in range(begin * ROWS, min(end * ROWS, nest.rows)):
                shift = vset(bias[row * nest.bias_row])
                for t in range(first, last):
                    place = row * nest.c_row + t // nest.columns * nest.c_outer + t % nest.columns * nest.c_column
                    total = vadd(vload(sums, (row * chunk + t - first) * LANES), shift)
                    vstore(c, place, vmax(total, low))

    return CompiledKernel(body, f"contract_packed{columns}")


@kernel
def pack_weights(
    weight: Reals, out: Reals, rows: int, row_step: int, lengths: tuple[int, int, int], steps: tuple[int, int, int],
    panel: Block, real: Real,
) -> None:  # fmt: skip
    """Write out[panel][depth][ROWS] of weight[row * row_step + i * steps[0] + ...]; zeros where there is no row."""
    size = lengths[0] * lengths[1] * lengths[2] * ROWS
    target = offset(out, panel * size)
    for i in range(lengths[0]):
        for j in range(lengths[1]):
            for k in range(lengths[2]):
                place = i * steps[0] + j * steps[1] + k * steps[2]
                for r in range(ROWS):
                    row = panel * ROWS + r
                    target[r] = weight[place + row * row_step] if row < rows else real
                target = offset(target, ROWS)
