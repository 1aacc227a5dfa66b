"""The loops of a fused tile over the taps of a kernel."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from cnncli.kernels.image_filter.arguments import FUSED_TILES, PATTERNS, dense_units, pattern_taps, segments
from cnncli.kernels.image_filter.sums import SUMS, WORD, at, vector


class TapSums:
    """Emits rows x columns vectors of sums in registers, `totals`, to which taps are added.

    Parameters
    ----------
    builder : llvmlite builder
    arithmetic, form : int
        As `make_tile` in fused_tile.py.
    args : tuple
        The first six arguments of the tile.
    """

    def __init__(self, builder: Any, arithmetic: int, form: int, args: Any) -> None:
        self.builder, self.form, self.sums = builder, form, SUMS[arithmetic]
        self.rows, self.columns = FUSED_TILES[arithmetic]
        (self.table, self.column, self.runs, self.column_step, self.weights, self.ends) = args
        self.kind_of_sums = vector(self.sums.lane, self.sums.lanes)
        cells = [(i, j) for i in range(self.rows) for j in range(self.columns)]
        self.totals = {cell: cgutils.alloca_once(builder, self.kind_of_sums) for cell in cells}

    def add_taps(self, begin: Any, weights_from: Any, stream: int) -> tuple[Any, Any]:
        """Emit the loops over runs of taps: the units change from run to run, the columns within one.

        Return where the runs and the weights of the next stream begin.
        """
        builder = self.builder
        weights = cgutils.alloca_once(builder, WORD)
        builder.store(weights_from, weights)
        parts = segments(self.rows)
        for segment, active in enumerate(parts):
            end = at(builder, self.ends, stream * len(parts) + segment, WORD)
            with cgutils.for_range(builder, end, start=begin) as loop:
                run = builder.mul(loop.index, ir.Constant(WORD, 3))
                unit, inside, length = (
                    at(builder, self.runs, builder.add(run, ir.Constant(WORD, part)), WORD) for part in range(3)
                )
                place = builder.inttoptr(builder.add(self.table, unit), WORD.as_pointer())
                row, below = at(builder, place, 0, WORD), None
                if self.sums.reads_two:
                    below = builder.sub(at(builder, place, 1, WORD), row)
                first, weight = builder.add(builder.add(row, inside), self.column), builder.load(weights, typ=WORD)
                stride = ir.Constant(WORD, 4 * self.rows)
                self._add_run(active, first, below, weight, length, stride)
                builder.store(builder.add(weight, builder.mul(stride, length)), weights)
            begin = end
        return begin, builder.load(weights, typ=WORD)

    def add_unrolled(self) -> None:
        """Emit the taps of a square kernel without zeros: no loops."""
        builder, size = self.builder, self.form
        weight = builder.ptrtoint(self.weights, WORD)
        for unit, active in dense_units(size, self.rows):
            place = builder.add(self.table, ir.Constant(WORD, 8 * unit))
            here = builder.add(builder.load(builder.inttoptr(place, WORD.as_pointer()), typ=WORD), self.column)
            for _ in range(size):
                self._add_tap(active, here, None, weight)
                here = builder.add(here, self.column_step)
                weight = builder.add(weight, ir.Constant(WORD, 4 * self.rows))

    def add_pattern(self) -> None:
        """Emit the taps of a kernel of a pattern of ``PATTERNS``, of which each reads two rows: no loops."""
        builder = self.builder
        weight = builder.ptrtoint(self.weights, WORD)
        for unit, column, active in pattern_taps(PATTERNS[self.form], self.rows):
            place = builder.inttoptr(builder.add(self.table, ir.Constant(WORD, 16 * unit)), WORD.as_pointer())
            row, next_row = at(builder, place, 0, WORD), at(builder, place, 1, WORD)
            inside = builder.add(self.column, builder.mul(self.column_step, ir.Constant(WORD, column)))
            self._add_tap(active, builder.add(row, inside), builder.sub(next_row, row), weight)
            weight = builder.add(weight, ir.Constant(WORD, 4 * self.rows))

    def _add_run(self, active: Any, first: Any, below: Any, weight: Any, length: Any, stride: Any) -> None:
        """Emit the loop over the taps of a run, at least one."""
        builder = self.builder
        before, body = builder.block, builder.append_basic_block("run.tap")
        after = builder.append_basic_block("run.done")
        builder.branch(body)
        builder.position_at_end(body)
        left, here, there = builder.phi(WORD), builder.phi(WORD), builder.phi(WORD)
        for value, start in ((left, length), (here, first), (there, weight)):
            value.add_incoming(start, before)
        self._add_tap(active, here, below, there)
        fewer = builder.sub(left, ir.Constant(WORD, 1))
        left.add_incoming(fewer, builder.block)
        here.add_incoming(builder.add(here, self.column_step), builder.block)
        there.add_incoming(builder.add(there, stride), builder.block)
        builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(WORD, 0)), body, after)
        builder.position_at_end(after)

    def _add_tap(self, active: Any, here: Any, below: Any, weight: Any) -> None:
        """Emit the products of one tap: `here` and `weight` are addresses, the unit below lies `below` bytes on."""
        builder, sums = self.builder, self.sums
        numbers = builder.inttoptr(weight, sums.tap.as_pointer())
        weights = {i: sums.weight(builder, at(builder, numbers, i, sums.tap)) for i in active}
        for j, value in enumerate(sums.values(builder, here, below, self.columns)):
            for i in active:
                total = builder.load(self.totals[i, j], typ=self.kind_of_sums)
                builder.store(sums.add(builder, weights[i], value, total), self.totals[i, j])
