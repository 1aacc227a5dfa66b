"""The smallest and the largest value of a fused tile before clipping."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from cnncli.kernels.image_filter.arguments import (
    F32,
    FLOATS,
    LEAST,
    LIFT,
    MOST,
    PAIRED,
    REST_START,
    REST_UNIT,
    RESTS,
    U8,
)
from cnncli.kernels.image_filter.fused_taps import TapSums
from cnncli.kernels.image_filter.sums import HAS_PAIRS, INT, REAL, SHORT, WORD, at, fill, spread, vector
from cnncli.kernels.simd.vectors import LANES, multiply_add

DOUBLE = ir.DoubleType()


class TileExtremes(TapSums):
    """Emits what keeps the extremes; the arguments are those of `make_tile` in fused_tile.py."""

    def __init__(self, builder: Any, kinds: tuple[int, int, int], args: Any) -> None:
        arithmetic, self.kind, form = kinds
        super().__init__(builder, arithmetic, form, args[:6])
        self.arithmetic, self.is_float = arithmetic, arithmetic == FLOATS
        (self.numbers, self.flags, self.y, self.y_row, self.valid, self.first, self.seen, self.counts) = args[6:]
        self.rounds_first = self.is_float and self.kind == U8 and HAS_PAIRS
        self.white: Any = None
        self.parity = 0
        self.extremes = [cgutils.alloca_once(builder, self.kind_of_sums) for _ in range(3)]
        self.behind = 4 + self.rows * self.columns  # word of `counts` where the sums that are too close begin

    def _row(self, i: int) -> Any:
        """Return the output row of row i of the sums."""
        return ir.Constant(WORD, 2 * i + self.parity if self.form == PAIRED else i)

    def _if_valid(self, i: int) -> Any:
        return self.builder.if_then(self.builder.icmp_signed("<", self._row(i), self.valid))

    def _flag(self, place: int) -> Any:
        return self.builder.icmp_signed("!=", at(self.builder, self.flags, place, WORD), ir.Constant(WORD, 0))

    def _number(self, place: int) -> Any:
        return spread(self.builder, at(self.builder, self.numbers, place, REAL), LANES)

    def _to_int(self, value: Any) -> Any:
        """Emit the whole numbers next to float32 values, half to even."""
        kind = ir.FunctionType(vector(INT), [vector(REAL)])
        rint = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.lrint.v{LANES}i32.v{LANES}f32")
        return self.builder.call(rint, [value])

    def _note_all(self) -> None:
        for i in range(self.rows):
            with self._if_valid(i):
                self._note([self.builder.load(self.totals[i, j], typ=self.kind_of_sums) for j in range(self.columns)])

    def _note(self, values: list[Any]) -> None:
        """Keep the extremes of a row."""
        builder, sums = self.builder, self.sums
        low, high, strange = (builder.load(place, typ=self.kind_of_sums) for place in self.extremes)
        for value in values:
            low, high = sums.smaller(builder, low, value), sums.larger(builder, high, value)
            if self.kind == F32:  # infinite times 0 and NaN times 0 are NaN, which minimum and maximum would lose
                strange = multiply_add(builder, value, fill(REAL, 0.0), strange)
        for value, place in zip((low, high, strange), self.extremes, strict=True):
            builder.store(value, place)

    def _keep_extremes(self) -> None:
        """Put the extremes of the tile into those of the task."""
        builder, sums = self.builder, self.sums
        for part, place in enumerate(self.extremes):
            seen = builder.bitcast(_float_at(builder, self.seen, part * LANES), self.kind_of_sums.as_pointer())
            old, new = builder.load(seen, align=4, typ=self.kind_of_sums), builder.load(place, typ=self.kind_of_sums)
            if part == 2:
                both = builder.fadd(old, new) if self.is_float else old
            else:
                both = (sums.smaller, sums.larger)[part](builder, old, new)
            builder.store(both, seen, align=4)

    def _settle_extremes(self) -> None:
        """Add what rounding took from the weights where that could give a new extreme."""
        builder = self.builder
        low, high = (builder.load(place, typ=self.kind_of_sums) for place in self.extremes[:2])
        bounds = [self._bound(side, self.kind_of_sums) for side in range(2)]
        least, most = (builder.load(bound, align=4, typ=self.kind_of_sums) for bound in bounds)
        is_new = builder.or_(builder.icmp_signed("<", low, least), builder.icmp_signed(">", high, most))
        with builder.if_then(any_lane(builder, is_new)):  # not as unlikely, or its loops would be short of registers
            sums = {cell: builder.load(total, typ=self.kind_of_sums) for cell, total in self.totals.items()}
            for total in self.totals.values():
                builder.store(fill(INT, 0), total)
            rests = builder.add(builder.ptrtoint(self.weights, WORD), at(builder, self.flags, RESTS, WORD))
            self.add_taps(ir.Constant(WORD, 0), rests, 0)
            seen = builder.bitcast(self.seen, DOUBLE.as_pointer())
            best = [
                cgutils.alloca_once_value(builder, spread(builder, at(builder, seen, side, DOUBLE), LANES))
                for side in range(2)
            ]
            for i in range(self.rows):
                with self._if_valid(i):
                    for j in range(self.columns):
                        self._settle_vector(sums[i, j], builder.load(self.totals[i, j], typ=self.kind_of_sums), best)
            for side, (bound, flag) in enumerate(zip(bounds, (LEAST, MOST), strict=True)):
                value = self._extreme_lane(builder.load(best[side], typ=vector(DOUBLE)), "<>"[side])
                builder.store(value, builder.gep(seen, [ir.Constant(WORD, side)], source_etype=DOUBLE))
                # a sum on this side of the bound cannot beat the best one, whatever was taken from its weights
                nearest = builder.sub(at(builder, self.flags, LIFT, WORD), at(builder, self.flags, flag, WORD))
                nearest = builder.add(builder.fptosi(self._whole(value, ("ceil", "floor")[side]), WORD), nearest)
                for sign, limit in (("<", 2**31 - 1), (">", -(2**31))):
                    edge = ir.Constant(WORD, limit)
                    nearest = builder.select(builder.icmp_signed(sign, nearest, edge), nearest, edge)
                builder.store(spread(builder, builder.trunc(nearest, INT), LANES), bound, align=4)

    def _settle_vector(self, sums: Any, rests: Any, best: list[Any]) -> None:
        """Put the extremes of a vector of sums, in units of the shift, into `best`."""
        builder, doubles = self.builder, vector(DOUBLE)
        lift, start, unit = (
            spread(builder, at(builder, self.flags, place, kind), LANES)
            for place, kind in ((LIFT, WORD), (REST_START, DOUBLE), (REST_UNIT, DOUBLE))
        )
        taken = builder.fmul(builder.fadd(builder.sitofp(rests, doubles), start), unit)
        whole = builder.sub(builder.sext(sums, vector(WORD)), lift)
        values = builder.fadd(builder.sitofp(whole, doubles), taken)
        for place, sign in zip(best, "<>", strict=True):
            extreme = builder.load(place, typ=doubles)
            builder.store(builder.select(builder.fcmp_ordered(sign, values, extreme), values, extreme), place)

    def _extreme_lane(self, values: Any, sign: str) -> Any:
        builder = self.builder
        best = builder.extract_element(values, ir.Constant(INT, 0))
        for lane in range(1, LANES):
            value = builder.extract_element(values, ir.Constant(INT, lane))
            best = builder.select(builder.fcmp_ordered(sign, value, best), value, best)
        return best

    def _whole(self, value: Any, how: str) -> Any:
        kind = ir.FunctionType(DOUBLE, [DOUBLE])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{how}.f64"), [value])

    def _bound(self, side: int, kind: Any) -> Any:
        """Emit the pointer to the rounded extreme so far that tiles are compared with, in every lane."""
        place = _float_at(self.builder, self.seen, (3 + side) * LANES)
        return self.builder.bitcast(place, kind.as_pointer())

    def _keep_bounds(self, bounds: list[Any]) -> None:
        """Round the extremes so far; tiles beyond black and white are looked at anyway, for the clipped are counted."""
        builder = self.builder
        for side, bound in enumerate(bounds):
            seen = builder.bitcast(_float_at(builder, self.seen, side * LANES), self.kind_of_sums.as_pointer())
            value = self._to_int(builder.load(seen, align=4, typ=self.kind_of_sums))
            best = builder.extract_element(value, ir.Constant(INT, 0))
            for lane in range(1, LANES):
                other = builder.extract_element(value, ir.Constant(INT, lane))
                best = builder.select(builder.icmp_signed("><"[1 - side], best, other), best, other)
            for sign, number in (((">", -1), ("<", 32767)), (("<", 256), (">", -32768)))[side]:
                limit = ir.Constant(INT, number)
                best = builder.select(builder.icmp_signed(sign, best, limit), best, limit)
            builder.store(spread(builder, builder.trunc(best, SHORT), 2 * LANES), bound, align=4)


def _float_at(builder: Any, base: Any, index: int) -> Any:
    return builder.gep(base, [ir.Constant(WORD, index)], source_etype=REAL)


def any_lane(builder: Any, mask: Any) -> Any:
    """Emit whether any lane of a mask is set."""
    whole = ir.IntType(mask.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, whole), ir.Constant(whole, 0))
