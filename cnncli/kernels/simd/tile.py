"""The one building block: a register tile C[i, j] = bias[i] + sum over three strided loops of A[i] * B[j].

Convolution, its two gradients, and the dense layer with its two gradients are all this contraction with other strides
(Georganas et al. 2020, arXiv:1906.06440). B[j] is a vector of LANES numbers; A[i] is one number, broadcast, or (with
`lane_sum`) a vector too, and then the lanes of each C[i, j] are added at the end.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, load_vector, multiply_add, splat, store_vector, sum_lanes


@cache
def make_tile(
    rows: int,
    columns: int,
    *,
    lane_sum: bool = False,
    adds: bool = False,
    b_column: int | None = LANES,
    loops: int = 3,
    is_blocked: bool = False,
) -> Any:
    """Return the tile of `rows` x `columns` accumulators as a function for compiled code.

    Its arguments, all strides in elements::

        tile(A, a_row, B, b_column, C, c_row, c_column, bias, bias_row, low,
             K1, K2, K3, a1, a2, a3, b1, b2, b3, keep, block)

    A, B, C and bias point at the first element; K1, K2, K3 are the lengths of the reduction loops and a1.., b1.. the
    steps of A and B along them. Every result is raised to at least `low` (0 rectifies, minus infinity leaves it; NaN
    stays).
    With `lane_sum` the result is one number per (i, j), added to what C holds if `keep` is not 0; `bias` and `low` are
    not read. With `adds` the results are vectors, and the same holds of them. Without either `keep` is not read.
    Each sum is a chain of fused multiply-adds that starts from the bias. With `is_blocked` it is a sum of such chains:
    each takes the products of `block` passes of the loop K1, the first starts from the bias and the others from 0, and
    they are added one after the other. Rounding then grows with the length of a chain, not with that of the whole sum.
    Without it `block` is not read. With one of the `loops`, K1, the lengths and steps of the others are not read.
    Where `b_column` is known here, the argument of that name is not read: neighbouring columns then cost no register.
    """

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a_row: Any, b: Any, column: Any, c: Any, c_row: Any, c_column: Any, bias: Any,
        bias_row: Any, low: Any, k1: Any, k2: Any, k3: Any, a1: Any, a2: Any, a3: Any, b1: Any, b2: Any, b3: Any,
        keep: Any, block: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(a, integer, b, integer, c, integer, integer, bias, integer, low, *[integer] * 11)
        element = ELEMENTS[c.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if b_column is not None:
                args = [*args[:3], ir.Constant(ir.IntType(64), b_column), *args[4:]]
            tile = _Tile(builder, element, rows, columns, args, loops)
            if lane_sum or adds:
                tile.add(lane_sum=lane_sum)
            else:
                tile.fill(is_blocked=is_blocked)
            return context.get_dummy_value()

        return signature, codegen

    return tile


class _Tile:
    """Writes the LLVM code of one tile."""

    def __init__(self, builder: Any, element: Any, rows: int, columns: int, args: Any, loops: int) -> None:
        self.builder, self.element, self.args, self.lane_sum = builder, element, args, False
        self.rows, self.columns = range(rows), range(columns)
        self.vector = ir.VectorType(element, LANES)
        self.sums = [[cgutils.alloca_once(builder, self.vector) for _ in self.columns] for _ in self.rows]
        self.row_steps = [self._times(args[1], i) for i in self.rows]
        self.column_steps = [self._times(args[3], j) for j in self.columns]
        self.counts, self.a_steps, self.b_steps = args[10 : 10 + loops], args[13 : 13 + loops], args[16 : 16 + loops]

    def add(self, *, lane_sum: bool) -> None:
        """Emit all loops, and what writes the sums or adds them to C."""
        self.lane_sum = lane_sum
        builder, c = self.builder, self.args[4]
        nothing = ir.Constant(self.vector, None)
        for i, j in self._places():
            builder.store(nothing, self.sums[i][j])
        self._loops(self.counts, self.args[0], self.args[2], self.a_steps, self.b_steps)
        keeps = builder.icmp_signed("!=", self.args[19], ir.Constant(ir.IntType(64), 0))
        for i, j in self._places():
            place, value = self._place(i, j), builder.load(self.sums[i][j])
            if lane_sum:
                target = self._moved(c, place)
                before = builder.select(keeps, self._number(target), ir.Constant(self.element, 0.0))
                builder.store(builder.fadd(before, sum_lanes(builder, value)), target)
            else:
                before = builder.select(keeps, load_vector(builder, c, place, self.element), nothing)
                store_vector(builder, builder.fadd(before, value), c, place)

    def fill(self, *, is_blocked: bool) -> None:
        """Emit what writes the sums; with blocks, C holds the sum of the blocks before."""
        builder, args, c = self.builder, self.args, self.args[4]
        if not is_blocked:
            self._start(args[7])
            self._loops(self.counts, args[0], args[2], self.a_steps, self.b_steps)
            self._finish()
            return
        integer = ir.IntType(64)
        before, body = builder.block, builder.append_basic_block("tile.block")
        middle, after = builder.append_basic_block("tile.between"), builder.append_basic_block("tile.finished")
        builder.branch(body)
        builder.position_at_end(body)
        left, a, b = builder.phi(integer), builder.phi(args[0].type), builder.phi(args[2].type)
        for phi, start in ((left, args[10]), (a, args[0]), (b, args[2])):
            phi.add_incoming(start, before)
        is_first = builder.icmp_signed("==", left, args[10])
        is_last = builder.icmp_signed("<=", left, args[20])
        count = builder.select(is_last, left, args[20])
        self._start(args[7], is_first)
        self._loops([count, *self.counts[1:]], a, b, self.a_steps, self.b_steps)
        with builder.if_then(builder.not_(is_first)):
            for i, j in self._places():
                total = load_vector(builder, c, self._place(i, j), self.element)
                builder.store(builder.fadd(total, builder.load(self.sums[i][j])), self.sums[i][j])
        builder.cbranch(is_last, after, middle)
        builder.position_at_end(middle)
        for i, j in self._places():
            store_vector(builder, builder.load(self.sums[i][j]), c, self._place(i, j))
        left.add_incoming(builder.sub(left, count), middle)
        a.add_incoming(self._moved(a, builder.mul(args[13], count)), middle)
        b.add_incoming(self._moved(b, builder.mul(args[16], count)), middle)
        builder.branch(body)
        builder.position_at_end(after)
        self._finish()

    def _start(self, bias: Any, is_first: Any = None) -> None:
        """Set the sums to the bias, or to 0 where `is_first` is given and false."""
        builder = self.builder
        for i in self.rows:
            start = self._number(self._moved(bias, self._times(self.args[8], i)))
            if is_first is not None:
                start = builder.select(is_first, start, ir.Constant(self.element, 0.0))
            start = splat(builder, start)
            for j in self.columns:
                builder.store(start, self.sums[i][j])

    def _finish(self) -> None:
        """Write the sums, raised to `low`."""
        builder = self.builder
        floor = splat(builder, self.args[9])
        for i, j in self._places():
            value = builder.load(self.sums[i][j])
            value = builder.select(builder.fcmp_ordered("<", value, floor), floor, value)
            store_vector(builder, value, self.args[4], self._place(i, j))

    def _places(self) -> list[tuple[int, int]]:
        return [(i, j) for i in self.rows for j in self.columns]

    def _place(self, i: int, j: int) -> Any:
        return self.builder.add(self._times(self.args[5], i), self._times(self.args[6], j))

    def _loops(self, counts: Any, a: Any, b: Any, a_steps: Any, b_steps: Any) -> None:
        if not counts:
            self._multiply(a, b)
            return
        # pointers that move with the loop, not an index into many bases: the registers of the machine suffice for that
        builder = self.builder
        before, body = builder.block, builder.append_basic_block("tile.loop")
        after = builder.append_basic_block("tile.done")
        zero = ir.Constant(ir.IntType(64), 0)
        builder.cbranch(builder.icmp_signed(">", counts[0], zero), body, after)
        builder.position_at_end(body)
        left = builder.phi(counts[0].type)
        a_here, b_here = builder.phi(a.type), builder.phi(b.type)
        left.add_incoming(counts[0], before)
        a_here.add_incoming(a, before)
        b_here.add_incoming(b, before)
        self._loops(counts[1:], a_here, b_here, a_steps[1:], b_steps[1:])
        fewer = builder.sub(left, ir.Constant(ir.IntType(64), 1))
        left.add_incoming(fewer, builder.block)
        a_here.add_incoming(self._moved(a_here, a_steps[0]), builder.block)
        b_here.add_incoming(self._moved(b_here, b_steps[0]), builder.block)
        builder.cbranch(builder.icmp_signed(">", fewer, zero), body, after)
        builder.position_at_end(after)

    def _multiply(self, a: Any, b: Any) -> None:
        right = [load_vector(self.builder, b, step, self.element) for step in self.column_steps]
        for i in self.rows:
            if self.lane_sum:
                left = load_vector(self.builder, a, self.row_steps[i], self.element)
            else:
                left = splat(self.builder, self._number(self._moved(a, self.row_steps[i])))
            for j in self.columns:
                total = self.builder.load(self.sums[i][j])
                self.builder.store(multiply_add(self.builder, left, right[j], total), self.sums[i][j])

    def _moved(self, pointer: Any, steps: Any) -> Any:
        return self.builder.gep(pointer, [steps], source_etype=self.element)

    def _number(self, pointer: Any) -> Any:
        return self.builder.load(pointer, typ=self.element)

    def _times(self, stride: Any, count: int) -> Any:
        return self.builder.mul(stride, ir.Constant(ir.IntType(64), count))
