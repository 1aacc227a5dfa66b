"""Register tile of the image filter: rows x columns vectors of sums that become pixels without a way through memory."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnncli.kernels.image_filter.arguments import (
    ABSOLUTE,
    AFFINE,
    CLOSE,
    F32,
    HUGE,
    INVERSE,
    LIMIT,
    MINUS_DIVISOR,
    NARROW,
    OFFSET,
    PAIRED,
    PATTERNS,
    QUOTIENT,
    SCALE,
    SHIFT,
    START,
    U8,
    U16,
    UNROLLED,
    WHITE,
    WIDE,
)
from cnncli.kernels.image_filter.fused_extremes import TileExtremes, any_lane
from cnncli.kernels.image_filter.sums import (
    BYTE,
    HAS_PAIRS,
    INT,
    REAL,
    SHORT,
    WORD,
    at,
    fill,
    halve,
    narrow_pixels,
    pack,
    pack_halves,
    spread,
    vector,
)
from cnncli.kernels.simd.vectors import LANES, multiply_add

ELEMENTS = {U8: BYTE, U16: SHORT, F32: REAL}


class _Tile(TileExtremes):
    """Emits one tile; the arguments are those of `make_tile`."""

    def emit(self) -> None:
        """Emit the whole tile."""
        builder = self.builder
        start = at(builder, self.numbers, START, INT if not self.is_float else REAL)
        if self.sums.lane is SHORT:
            start = builder.trunc(start, SHORT)
        for total in self.totals.values():
            builder.store(spread(builder, start, self.sums.lanes), total)
        lanes, lane = self.sums.lanes, self.sums.lane
        limit = float("inf") if self.is_float else 2 ** (lane.width - 1) - 1
        for place, value in zip(self.extremes, (limit, -limit, 0.0 if self.is_float else 0), strict=True):
            builder.store(fill(lane, value, lanes), place)
        if self.form == PAIRED:
            self._add_pairs()
            return
        if self.arithmetic == NARROW and self.form in PATTERNS:
            self.add_pattern()
        elif self.form in UNROLLED:
            self.add_unrolled()
        else:
            weights = builder.ptrtoint(self.weights, WORD)
            self.add_taps(ir.Constant(WORD, 0), weights, 0)
        self._finish()

    def _add_pairs(self) -> None:
        """Sum what both rows of each pair have in common, then the rest of the upper rows, then that of the lower."""
        builder = self.builder
        end, weights = self.add_taps(ir.Constant(WORD, 0), builder.ptrtoint(self.weights, WORD), 0)
        shared = {cell: builder.load(total, typ=self.kind_of_sums) for cell, total in self.totals.items()}
        for parity in range(2):
            for cell, total in self.totals.items():
                builder.store(shared[cell], total)
            end, weights = self.add_taps(end, weights, parity + 1)
            self.parity = parity
            self._finish()

    def _finish(self) -> None:
        """Make the sums pixels, and note what is seen."""
        builder = self.builder
        if self.arithmetic != WIDE:
            self._adjust()
        self.white = self._white()
        if self.rounds_first:
            self._finish_bytes()
            return
        for i in range(self.rows):
            with self._if_valid(i):
                self._finish_row(i)
        if self.kind != F32:
            with builder.if_then(self._is_outside(), likely=False):
                self._count_all()
        if self.arithmetic == WIDE:
            self._settle_extremes()
        else:
            self._keep_extremes()

    def _finish_bytes(self) -> None:
        """Store a tile of bytes; look at its float32 sums again only where it may hold a new extreme or be clipped.

        A value beyond the extremes so far, rounded, is not within the extremes rounded: 16 bits tell.
        """
        builder, short = self.builder, vector(SHORT, 2 * LANES)
        with builder.if_then(self._flag(HUGE), likely=False):
            self._limit()
        places = [cgutils.alloca_once_value(builder, fill(SHORT, limit, 2 * LANES)) for limit in (32767, -32768)]
        for i in range(self.rows):
            with self._if_valid(i):
                values = [builder.load(self.totals[i, j], typ=self.kind_of_sums) for j in range(self.columns)]
                halves = halve(builder, [self._to_int(value) for value in values], BYTE)
                low, high = (builder.load(place, typ=short) for place in places)
                for half in halves:
                    low = builder.select(builder.icmp_signed("<", low, half), low, half)
                    high = builder.select(builder.icmp_signed(">", high, half), high, half)
                builder.store(low, places[0])
                builder.store(high, places[1])
                self._store_row(i, pack_halves(builder, halves, INT))
        low, high = (builder.load(place, typ=short) for place in places)
        bounds = [self._bound(side, short) for side in range(2)]
        least, most = (builder.load(bound, align=4, typ=short) for bound in bounds)
        is_new = builder.or_(builder.icmp_signed("<=", low, least), builder.icmp_signed(">=", high, most))
        with builder.if_then(any_lane(builder, is_new), likely=False):
            with builder.if_then(builder.not_(self._flag(HUGE)), likely=True):
                self._note_all()
            with builder.if_then(self._is_outside(), likely=False):
                self._count_all()
            self._keep_extremes()
            self._keep_bounds(bounds)

    def _limit(self) -> None:
        """Note the extremes of sums that may not fit 32 bits, and limit them so that they do."""
        builder, sums = self.builder, self.sums
        self._note_all()
        self._keep_extremes()
        for total in self.totals.values():
            value = builder.load(total, typ=self.kind_of_sums)
            value = sums.larger(builder, sums.smaller(builder, value, fill(REAL, 2.0**30)), fill(REAL, -(2.0**30)))
            builder.store(value, total)

    def _adjust(self) -> None:
        """Divide, rectify and shift the sums, each where its flag says so."""
        builder = self.builder
        if self.is_float:
            with builder.if_then(self._flag(QUOTIENT), likely=False):
                inverse, minus = self._number(INVERSE), self._number(MINUS_DIVISOR)
                for total in self.totals.values():
                    # one Newton step on the remainder rounds the quotient correctly (Markstein 1990,
                    # doi:10.1147/rd.341.0111)
                    value = builder.load(total, typ=self.kind_of_sums)
                    guess = builder.fmul(value, inverse)
                    rest = multiply_add(builder, guess, minus, value)
                    builder.store(multiply_add(builder, rest, inverse, guess), total)
        with builder.if_then(self._flag(ABSOLUTE), likely=False):
            for total in self.totals.values():
                builder.store(self._absolute(builder.load(total, typ=self.kind_of_sums)), total)
        if self.is_float:
            with builder.if_then(self._flag(AFFINE), likely=False):
                scale, offset = self._number(SCALE), self._number(OFFSET)
                for total in self.totals.values():
                    value = builder.load(total, typ=self.kind_of_sums)
                    builder.store(multiply_add(builder, value, scale, offset), total)

    def _absolute(self, value: Any) -> Any:
        builder = self.builder
        if self.is_float:
            bits = builder.and_(builder.bitcast(value, vector(INT)), fill(INT, 0x7FFFFFFF))
            return builder.bitcast(bits, vector(REAL))
        return self.sums.larger(builder, value, builder.neg(value))

    def _finish_row(self, i: int) -> None:
        """Note the extremes of a row, make its values pixels and store them."""
        builder = self.builder
        values = [builder.load(self.totals[i, j], typ=self.kind_of_sums) for j in range(self.columns)]
        self._note(values)
        if self.arithmetic == WIDE:
            self._list_close(i, values)
        if self.kind != F32:
            values = self._pixels(self._rounded(values))
        self._store_row(i, values)

    def _store_row(self, i: int, values: list[Any]) -> None:
        builder = self.builder
        spot = builder.add(self.y, builder.mul(self.y_row, self._row(i)))
        for value in values:
            place = builder.inttoptr(spot, value.type.as_pointer())
            builder.store(value, place, align=1)
            size = value.type.count * {BYTE: 1, SHORT: 2, REAL: 4}[value.type.element]
            spot = builder.add(spot, ir.Constant(WORD, size))

    def _rounded(self, values: list[Any]) -> list[Any]:
        """Shift sums that are fixed-point numbers; others stay."""
        if self.arithmetic != WIDE:
            return values
        shift = spread(self.builder, self.builder.trunc(at(self.builder, self.flags, SHIFT, WORD), INT), LANES)
        return [self.builder.ashr(value, shift) for value in values]

    def _white(self) -> Any:
        return self._number(WHITE) if self.is_float else fill(self.sums.lane, 255, self.sums.lanes)

    def _bottom(self) -> Any:
        return fill(REAL, -0.5) if self.is_float else fill(self.sums.lane, 0, self.sums.lanes)

    def _over(self, value: Any) -> Any:
        """Emit which values are clipped at white."""
        if self.is_float:
            return self.builder.fcmp_ordered(">=", value, self._number(LIMIT))
        return self.builder.icmp_signed(">", value, self.white)

    def _is_outside(self) -> Any:
        """Emit whether any value of the tile is clipped."""
        low, high = self._rounded([self.builder.load(place, typ=self.kind_of_sums) for place in self.extremes[:2]])
        below = self.sums.below(self.builder, low, self._bottom())
        return any_lane(self.builder, self.builder.or_(below, self._over(high)))

    def _count_all(self) -> None:
        if self.arithmetic == NARROW:
            self._count_lanes()
            return
        for i in range(self.rows):
            with self._if_valid(i):
                self._count(i)

    def _count_lanes(self) -> None:
        """Count what is clipped in a tile of 16-bit sums lane by lane, then over the lanes."""
        builder = self.builder
        counts = [cgutils.alloca_once_value(builder, fill(SHORT, 0, self.sums.lanes)) for _ in range(2)]
        is_whole = builder.icmp_signed("==", self.first, ir.Constant(WORD, 0))
        with builder.if_else(is_whole, likely=True) as (then, otherwise):
            with then:
                self._add_lanes(counts, None)
            with otherwise:
                self._add_lanes(counts, self._new_columns())
        name = f"llvm.vector.reduce.add.v{self.sums.lanes}i16"
        kind = ir.FunctionType(SHORT, [self.kind_of_sums])
        for side, count in enumerate(counts):
            place = builder.gep(self.counts, [ir.Constant(WORD, side)], source_etype=WORD)
            lanes = builder.load(count, typ=self.kind_of_sums)
            found = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [lanes])
            builder.store(builder.add(builder.load(place, typ=WORD), builder.zext(found, WORD)), place)

    def _add_lanes(self, counts: list[Any], limits: list[Any] | None) -> None:
        builder = self.builder
        for i in range(self.rows):
            with self._if_valid(i):
                for j in range(self.columns):
                    value = builder.load(self.totals[i, j], typ=self.kind_of_sums)
                    for count, mask in zip(
                        counts, (builder.icmp_signed("<", value, self._bottom()), self._over(value)), strict=True
                    ):
                        chosen = mask if limits is None else builder.and_(mask, limits[j])
                        total = builder.load(count, typ=self.kind_of_sums)
                        builder.store(builder.sub(total, builder.sext(chosen, self.kind_of_sums)), count)

    def _count(self, i: int) -> None:
        """Count what is clipped in a row, in the columns that no other tile counts."""
        builder, sums = self.builder, self.sums
        totals = [builder.load(self.totals[i, j], typ=self.kind_of_sums) for j in range(self.columns)]
        values = self._rounded(totals)
        every = [(sums.below(builder, value, self._bottom()), self._over(value)) for value in values]
        limits = [[builder.not_(mask) for mask in self._close(totals)]] if self.arithmetic == WIDE else []
        is_whole = builder.icmp_signed("==", self.first, ir.Constant(WORD, 0))
        with builder.if_else(is_whole, likely=True) as (then, otherwise):
            with then:
                self._add_counts(every, limits)
            with otherwise:
                self._add_counts(every, [self._new_columns(), *limits])

    def _new_columns(self) -> list[Any]:
        """Emit masks of the columns from `first` on."""
        builder, lanes = self.builder, self.sums.lanes
        numbers = [ir.Constant(vector(INT, lanes), some) for some in self.sums.column_numbers(self.columns)]
        first = spread(builder, builder.trunc(self.first, INT), lanes)
        return [builder.icmp_signed(">=", number, first) for number in numbers]

    def _add_counts(self, every: list[tuple[Any, Any]], limits: list[list[Any]]) -> None:
        builder = self.builder
        bits = ir.IntType(self.sums.lanes)
        for side in range(2):
            place = builder.gep(self.counts, [ir.Constant(WORD, side)], source_etype=WORD)
            total = builder.load(place, typ=WORD)
            for j, masks in enumerate(every):
                mask = masks[side]
                for limit in limits:
                    mask = builder.and_(mask, limit[j])
                total = builder.add(total, builder.zext(builder.ctpop(builder.bitcast(mask, bits)), WORD))
            builder.store(total, place)

    def _close(self, values: list[Any]) -> list[Any]:
        """Emit which sums lie too close to the middle between two whole numbers."""
        builder = self.builder
        shift = builder.sub(ir.Constant(WORD, 32), at(builder, self.flags, SHIFT, WORD))
        shift = spread(builder, builder.trunc(shift, INT), LANES)
        close = spread(builder, builder.trunc(at(builder, self.flags, CLOSE, WORD), INT), LANES)
        return [builder.icmp_unsigned(">=", builder.shl(value, shift), close) for value in values]

    def _list_close(self, i: int, values: list[Any]) -> None:
        """List the vectors of a row that hold such sums."""
        builder, masks = self.builder, self._close(values)
        any_ = masks[0]
        for mask in masks[1:]:
            any_ = builder.or_(any_, mask)
        with builder.if_then(any_lane(builder, any_), likely=False):
            count = at(builder, self.counts, 2, WORD)
            for j, mask in enumerate(masks):
                bits = builder.zext(builder.bitcast(mask, ir.IntType(LANES)), WORD)
                word = builder.or_(bits, ir.Constant(WORD, (i << 40) | (j << 32)))
                place = builder.add(count, ir.Constant(WORD, 3))
                builder.store(word, builder.gep(self.counts, [place], source_etype=WORD))
                behind = builder.add(builder.mul(count, ir.Constant(WORD, LANES // 2)), ir.Constant(WORD, self.behind))
                spot = builder.gep(self.counts, [behind], source_etype=WORD)
                builder.store(values[j], builder.bitcast(spot, values[j].type.as_pointer()), align=4)
                some = builder.icmp_unsigned("!=", bits, ir.Constant(WORD, 0))
                count = builder.add(count, builder.zext(some, WORD))
            builder.store(count, builder.gep(self.counts, [ir.Constant(WORD, 2)], source_etype=WORD))

    def _pixels(self, values: list[Any]) -> list[Any]:
        """Round and clip the values of a row."""
        builder, sums = self.builder, self.sums
        if self.arithmetic == NARROW:
            return narrow_pixels(builder, values)
        if self.is_float:
            values = [sums.smaller(builder, value, self.white) for value in values]
            if not HAS_PAIRS:
                values = [sums.larger(builder, value, fill(REAL, 0.0)) for value in values]
            values = [self._to_int(value) for value in values]
        elif not HAS_PAIRS:
            zero = fill(sums.lane, 0, sums.lanes)
            values = [sums.smaller(builder, sums.larger(builder, value, zero), self.white) for value in values]
        return pack(builder, values, ELEMENTS[self.kind])


def make_tile(arithmetic: int, kind: int, form: int) -> Any:
    """Return the tile as a function for compiled code.

    Its arguments::

        tile(table, column, runs, column_step, weights, ends, numbers, flags, y, y_row, valid, first, seen, counts)

    For the first `valid` rows i of the tile and all its columns c, the value is the sum over taps u of
    ``weights[u*rows + i] * x`` with x the element `column` bytes after the place of the tap. The taps of run r, of
    which there are ``runs[3*r + 2]``, lie `column_step` bytes apart; the first lies
    ``runs[3*r + 1]`` bytes into the row whose address stands ``runs[3*r]`` bytes after `table`. Quotient, absolute
    value, scale and shift follow as `flags` say, and pixels are written from address ``y + i*y_row`` on. Extremes go
    into `seen`; how many values of the columns from `first` on are clipped, and which are too close to the middle
    between two numbers, into `counts`. With a `form` of ``UNROLLED`` the kernel is a square of that size without zeros,
    and `runs` and `ends` are not read. With ``PAIRED`` there are three such sums, one after the other: the first is
    part of rows 2*i and 2*i + 1, the second of rows 2*i, the third of rows 2*i + 1.
    """

    @intrinsic
    def tile(
        typingctx: Any, table: Any, column: Any, runs: Any, column_step: Any, weights: Any, ends: Any, numbers: Any,
        flags: Any, y: Any, y_row: Any, valid: Any, first: Any, seen: Any, counts: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _Tile(builder, (arithmetic, kind, form), args).emit()
            return context.get_dummy_value()

        whole = types.int64
        signature = types.void(
            whole, whole, runs, whole, weights, ends, numbers, flags, whole, whole, whole, whole, seen, counts
        )
        return signature, codegen

    return tile
