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
    rows: int, columns: int, *, lane_sum: bool = False, adds: bool = False, b_column: int | None = LANES
) -> Any:
    """Return the tile of `rows` x `columns` accumulators as a function for compiled code.

    Its arguments, all strides in elements::

        tile(A, a_row, B, b_column, C, c_row, c_column, bias, bias_row, low,
             K1, K2, K3, a1, a2, a3, b1, b2, b3, keep)

    A, B, C and bias point at the first element; K1, K2, K3 are the lengths of the reduction loops and a1.., b1.. the
    steps of A and B along them. Every result is raised to at least `low` (0 rectifies, minus infinity leaves it; NaN
    stays).
    With `lane_sum` the result is one number per (i, j), added to what C holds if `keep` is not 0; `bias` and `low` are
    not read. With `adds` the results are vectors, and the same holds of them. Without either `keep` is not read.
    Where `b_column` is known here, the argument of that name is not read: neighbouring columns then cost no register.
    """

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a_row: Any, b: Any, column: Any, c: Any, c_row: Any, c_column: Any, bias: Any,
        bias_row: Any, low: Any, k1: Any, k2: Any, k3: Any, a1: Any, a2: Any, a3: Any, b1: Any, b2: Any, b3: Any,
        keep: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(a, integer, b, integer, c, integer, integer, bias, integer, low, *[integer] * 10)
        element = ELEMENTS[c.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if b_column is not None:
                args = [*args[:3], ir.Constant(ir.IntType(64), b_column), *args[4:]]
            _Tile(builder, element, rows, columns, lane_sum=lane_sum, adds=adds).emit(args)
            return context.get_dummy_value()

        return signature, codegen

    return tile


class _Tile:
    """Writes the LLVM code of one tile."""

    def __init__(self, builder: Any, element: Any, rows: int, columns: int, *, lane_sum: bool, adds: bool) -> None:
        self.builder, self.element, self.lane_sum, self.adds = builder, element, lane_sum, adds
        self.rows, self.columns = range(rows), range(columns)
        vector = ir.VectorType(element, LANES)
        self.sums = [[cgutils.alloca_once(builder, vector) for _ in self.columns] for _ in self.rows]

    def emit(self, args: Any) -> None:
        a, a_row, b, b_column, c, c_row, c_column, bias, bias_row, low = args[:10]
        counts, a_steps, b_steps = args[10:13], args[13:16], args[16:19]
        for i in self.rows:
            start = ir.Constant(ir.VectorType(self.element, LANES), None)
            if not (self.lane_sum or self.adds):
                start = splat(self.builder, self._number(self._moved(bias, self._times(bias_row, i))))
            for j in self.columns:
                self.builder.store(start, self.sums[i][j])
        row_steps = [self._times(a_row, i) for i in self.rows]
        column_steps = [self._times(b_column, j) for j in self.columns]
        self._loops(counts, a, b, a_steps, b_steps, row_steps, column_steps)
        floor = None if self.lane_sum or self.adds else splat(self.builder, low)
        keeps = self.builder.icmp_signed("!=", args[19], ir.Constant(ir.IntType(64), 0))
        for i in self.rows:
            for j in self.columns:
                place = self.builder.add(self._times(c_row, i), self._times(c_column, j))
                value = self.builder.load(self.sums[i][j])
                if self.lane_sum:
                    target = self._moved(c, place)
                    zero = ir.Constant(self.element, 0.0)
                    before = self.builder.select(keeps, self._number(target), zero)
                    self.builder.store(self.builder.fadd(before, sum_lanes(self.builder, value)), target)
                elif self.adds:
                    zero = ir.Constant(value.type, None)
                    before = self.builder.select(keeps, load_vector(self.builder, c, place, self.element), zero)
                    store_vector(self.builder, self.builder.fadd(before, value), c, place)
                else:
                    low_lanes = self.builder.fcmp_ordered("<", value, floor)
                    store_vector(self.builder, self.builder.select(low_lanes, floor, value), c, place)

    def _loops(self, counts: Any, a: Any, b: Any, a_steps: Any, b_steps: Any, rows: Any, columns: Any) -> None:
        if not counts:
            self._multiply(a, b, rows, columns)
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
        self._loops(counts[1:], a_here, b_here, a_steps[1:], b_steps[1:], rows, columns)
        fewer = builder.sub(left, ir.Constant(ir.IntType(64), 1))
        left.add_incoming(fewer, builder.block)
        a_here.add_incoming(self._moved(a_here, a_steps[0]), builder.block)
        b_here.add_incoming(self._moved(b_here, b_steps[0]), builder.block)
        builder.cbranch(builder.icmp_signed(">", fewer, zero), body, after)
        builder.position_at_end(after)

    def _multiply(self, a: Any, b: Any, rows: Any, columns: Any) -> None:
        right = [load_vector(self.builder, b, step, self.element) for step in columns]
        for i in self.rows:
            if self.lane_sum:
                left = load_vector(self.builder, a, rows[i], self.element)
            else:
                left = splat(self.builder, self._number(self._moved(a, rows[i])))
            for j in self.columns:
                total = self.builder.load(self.sums[i][j])
                self.builder.store(multiply_add(self.builder, left, right[j], total), self.sums[i][j])

    def _moved(self, pointer: Any, steps: Any) -> Any:
        return self.builder.gep(pointer, [steps], source_etype=self.element)

    def _number(self, pointer: Any) -> Any:
        return self.builder.load(pointer, typ=self.element)

    def _times(self, stride: Any, count: int) -> Any:
        return self.builder.mul(stride, ir.Constant(ir.IntType(64), count))
