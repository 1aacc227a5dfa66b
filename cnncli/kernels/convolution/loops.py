"""Loops of the register tile over rows and columns: every convolution and dense pass is one of two kernels.

`contract` computes C[i, o, j] = bias[i] + sum A[i] * B[o, j] for rows i, outer steps o and columns j; `contract_lanes`
does the same with the tile that sums over the lanes, and adds to C. Where the tile of `contract` does not divide the
rows or columns, the last tile overlaps the one before and computes the same values again; sums that are added to must
be met once, so there the rest is a smaller tile.

The order of the additions of `contract` is fixed by `lengths` and `block` of its loop nest, whatever the tile is: a
chain of fused multiply-adds over `block` passes of the first reduction loop, beginning with the bias, and over all of
the second and third loop within each pass; then a chain from 0 over the next passes, added to the first; and so on.
`contract` exchanges a first loop of one pass for an inner one, so a dense layer's chains are over features.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from cnncli.compute.arguments import Operand, Partial
from cnncli.compute.host import LANES
from cnncli.compute.program import Op

Steps = tuple[int, int, int]

#: accumulators that fit the register file beside the operands, by vector width
ACCUMULATORS = {16: 24, 8: 12, 4: 12}[LANES]


class LoopNest(NamedTuple):
    """The loops of both kernels; steps in elements.

    Parameters
    ----------
    rows, columns, outer, inner : int
        Lengths; `inner` is 1 for `contract`.
    a_row, b_column, b_outer, b_inner, c_row, c_column, c_outer, c_inner : int
        Steps of the operands along them.
    lengths, a_steps, b_steps : (int, int, int)
        Lengths of the three reduction loops and the steps of A and B along them.
    bias_row : int
        1 where there is a bias, 0 where the bias operand holds one zero.
    relu : int
        1 raises results to 0.
    overhang : int
        Elements by which the last column of vectors reaches beyond the end; it is moved back by so much.
    block : int
        Passes of the first reduction loop whose products `contract` sums before it adds them to those before; it is
        set there, by `summed_together`.
    reach, first_row, row_step, tap_step : int
        `contract` leaves out what it would multiply with zeros above and below the image: the second reduction loop
        reads row ``first_row + outer * row_step + tap * tap_step`` of B, and only rows 0 .. reach-1 are there (0: all).
    groups, a_group, b_group, c_group, bias_group : int
        All of it is done for so many groups, so far apart.
    blocks, together, a_block, b_block : int
        `contract_lanes` adds up `together` blocks of images, `a_block` and `b_block` apart, of `blocks` in all.
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
    bias_row: int = 0
    relu: int = 0
    overhang: int = 0
    block: int = 1 << 40
    reach: int = 0
    first_row: int = 0
    row_step: int = 0
    tap_step: int = 0
    groups: int = 1
    a_group: int = 0
    b_group: int = 0
    c_group: int = 0
    bias_group: int = 0
    blocks: int = 1 << 40
    together: int = 1
    a_block: int = 0
    b_block: int = 0


def contract(a: Operand, b: Operand, c: Operand, bias: Operand, nest: LoopNest, parts: int = 1) -> Op:
    """Return the op that fills C with vectors: convolution forward and input gradient, dense layers."""
    whole = max(1, nest.columns - 1) if nest.overhang else nest.columns
    tile = best_tile(max(1, nest.rows // parts), whole)
    nest = _with_sums(nest)
    operands = {"a": a, "b": b, "c": c, "bias": bias, "nest": nest}
    most = nest.groups if nest.groups > 1 else nest.rows // tile[0]
    loops = 1 if nest.reach == 0 and nest.lengths[1:] == (1, 1) else 3
    variant = *tile, int(nest.b_column == LANES), loops, int(nest.block < nest.lengths[0])
    return Op("convolution.contraction.contract", operands, parts, variant, most)


def _with_sums(nest: LoopNest) -> LoopNest:
    """Return the same loops with the blocks of their sums; the first reduction loop has one pass only if all have."""
    lengths, a, b = nest.lengths, nest.a_steps, nest.b_steps
    last_row = nest.first_row + (nest.outer - 1) * nest.row_step
    if lengths[1] == 1 and nest.first_row >= 0 and last_row < nest.reach:
        nest = nest._replace(reach=0)  # nothing to leave out
    if nest.reach == 0:
        for inner in (1, 2):
            if lengths[0] == 1:
                lengths, a, b = (_exchanged(three, inner) for three in (lengths, a, b))
        nest = nest._replace(lengths=lengths, a_steps=a, b_steps=b)
    return nest._replace(block=summed_together(prod(lengths), lengths[0]))


def summed_together(products: int, passes: int) -> int:
    """Return how many of the `passes` of the first reduction loop make a chain of additions, of `products` in all.

    Random partial sums of chains of b products among n round least at b = sqrt(n); four times that costs little time
    and rounds less than PyTorch's sums. Chains of more than about 128 are not made.
    """
    chains = max(1, int(products**0.5 / 4), products // 128)
    return -(-passes // chains)


def _exchanged(three: Steps, inner: int) -> Steps:
    """Return the first number and that of loop `inner` in each other's place."""
    return (three[1], three[0], three[2]) if inner == 1 else (three[2], three[1], three[0])


def contract_lanes(a: Operand, b: Operand, c: Partial, nest: LoopNest, parts: int = 1) -> list[Op]:
    """Return the ops that add numbers to C, summed over the lanes: the weight gradient of a convolution."""
    tile = best_tile(nest.rows, nest.columns, overlaps=False)
    ops = []
    for row, rows, height in _whole_and_rest(nest.rows, tile[0]):
        for column, columns, width in _whole_and_rest(nest.columns, tile[1]):
            target = c._replace(data=c.data.shifted(row * nest.c_row + column * nest.c_column))
            operands = {"a": a.shifted(row * nest.a_row), "b": b.shifted(column * nest.b_column), "c": target}
            operands["nest"] = nest._replace(rows=rows, columns=columns)
            variant = height, width, int(nest.b_column == LANES)
            most = nest.groups if nest.groups > 1 else rows // height
            ops.append(Op("convolution.contraction.contract_lanes", operands, parts, variant, most))
    return ops


def _whole_and_rest(length: int, tile: int) -> list[tuple[int, int, int]]:
    """Return first, count and tile of what `tile` divides, and of the rest."""
    rest = length % tile
    pieces = [(0, length - rest, tile), (length - rest, rest, rest)]
    return [piece for piece in pieces if piece[1]]


def best_tile(rows: int, columns: int, *, overlaps: bool = True) -> tuple[int, int]:
    """Return the tile for loops over `rows` x `columns`: the least work, counting what is computed twice.

    A tile's step takes as long as its multiply-adds or its loads (two of each a cycle), whichever are more, and never
    less than the latency of a chain of additions. Without `overlaps` the rest is met by smaller tiles, and of equals
    the widest is best: A, whose rows lie far apart, is read less often.
    """
    best = (float("inf"), 0, 1, 1)
    for i in range(1, min(rows, 12) + 1):
        for j in range(1, min(columns, 8) + 1):
            if i * j <= ACCUMULATORS and (i <= 8 or j == 1):
                if overlaps:
                    cycles = _cycles(i, j) * -(-rows // i) * -(-columns // j)
                else:
                    pieces = [(h, w) for h in _whole_and_rest(rows, i) for w in _whole_and_rest(columns, j)]
                    cycles = sum(_cycles(h[2], w[2]) * (h[1] // h[2]) * (w[1] // w[2]) for h, w in pieces)
                best = min(best, (cycles, -i * j if overlaps else -j, i, j))
    return best[2], best[3]


def _cycles(rows: int, columns: int) -> float:
    return max(rows * columns, rows + columns, 8) + 0.5
