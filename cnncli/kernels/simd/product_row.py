"""A register tile of Winograd's weight gradient: products of four planes, of which one operand is made on the way."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, ask_for_line, load_vector, multiply_add, splat, store_vector

#: float32 of a cache line
_LINE = 16
#: the four rows of what a tile of dy is transformed with, but for the factor 1/2: (first one, second one, sign)
_COMBINATIONS = ((True, False, 1), (True, True, 1), (True, True, -1), (False, True, 1))


@cache
def make_product_row(rows: int, columns: int, i: int, step: int) -> Any:
    """Return the products of the planes (i, 0) .. (i, 3) as a function for compiled code.

    ``products(v, v_plane, d, out, out_row, out_plane, count, keep, soon)`` adds, for each plane j, to `columns` vectors
    in each of `rows` rows of out the sum over n < count of v[j * v_plane + row * step + n] * e[n]. The vectors e[n] are
    the plane (i, j) of a transformed tile of dy; d holds its 2x2 pixels, row by row, `columns` vectors each, for one n
    after the other. Each sum is a chain of fused multiply-adds from 0 on; where `keep` is 0, out is overwritten.
    `count` is a multiple of LANES.

    The numbers of v are operands in memory of the multiplications, which broadcast them: with AVX-512 this is free for
    one column of vectors, whereas a register that is filled for two of them takes as long as a multiplication.

    `soon` says what is going to be read next: two pointers, each followed by a step per plane and one from a first run
    to a second one. Meanwhile the cache lines of these four runs are asked for, evenly.
    """

    @intrinsic
    def products(
        typingctx: Any, v: Any, v_plane: Any, d: Any, out: Any, out_row: Any, out_plane: Any, count: Any, keep: Any,
        soon: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(v, integer, d, out, integer, integer, integer, integer, soon)
        element = ELEMENTS[out.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            v, v_plane, d, out, out_row, out_plane, count, keep, lines = args
            soon = cgutils.unpack_tuple(builder, lines)
            keeps = builder.icmp_signed("!=", keep, ir.Constant(ir.IntType(64), 0))

            def moved(pointer: Any, step: Any, times: int) -> Any:
                return builder.gep(
                    pointer, [builder.mul(step, ir.Constant(ir.IntType(64), times))], source_etype=element
                )

            for j in range(4):
                runs = []
                for pointer, plane, run in (soon[:3], soon[3:]):
                    here = moved(pointer, plane, j)
                    runs += [here, moved(here, run, 1)]
                loop = _Loop(builder, element, rows, columns, step)
                loop.multiply((i, j), moved(v, v_plane, j), d, count, runs)
                loop.add(moved(out, out_plane, j), out_row, keeps)
            return context.get_dummy_value()

        return signature, codegen

    return products


class _Loop:
    """Writes the LLVM code of the products of one plane."""

    def __init__(self, builder: Any, element: Any, rows: int, columns: int, step: int) -> None:
        self.builder, self.element, self.columns, self.step = builder, element, columns, step
        self.vector = ir.VectorType(element, LANES)
        self.sums = [[cgutils.alloca_once(builder, self.vector) for _ in range(columns)] for _ in range(rows)]

    def multiply(self, plane: tuple[int, int], v: Any, d: Any, count: Any, runs: list[Any]) -> None:
        """Emit the loop over tiles and images, a quarter for each of the four `runs` of cache lines."""
        builder, integer = self.builder, ir.IntType(64)
        together = 2 if LANES > 4 else 1
        for row in self.sums:
            for one in row:
                builder.store(ir.Constant(self.vector, None), one)
        passes = builder.sdiv(count, ir.Constant(integer, len(runs) * together))
        before, quarter = builder.block, builder.append_basic_block("products.quarter")
        body, after = builder.append_basic_block("products.loop"), builder.append_basic_block("products.next")
        done = builder.append_basic_block("products.done")
        builder.branch(quarter)
        builder.position_at_end(quarter)
        starts = [ir.Constant(integer, len(runs)), v, d, *runs]
        outer = [builder.phi(one.type) for one in starts]
        for phi, start in zip(outer, starts, strict=True):
            phi.add_incoming(start, before)
        builder.branch(body)
        builder.position_at_end(body)
        starts = [passes, *outer[1:4]]
        inner = [builder.phi(one.type) for one in starts]
        for phi, start in zip(inner, starts, strict=True):
            phi.add_incoming(start, quarter)
        left, v_here, d_here, line = inner
        ask_for_line(builder, line, ir.Constant(integer, 0), self.element, level=2)
        for n in range(together):
            self._multiply(plane, self._moved(v_here, n), self._moved(d_here, n * 4 * self.columns * LANES))
        fewer = builder.sub(left, ir.Constant(integer, 1))
        steps = (together, together * 4 * self.columns * LANES, _LINE)
        ends = [fewer, *(self._moved(one, step) for one, step in zip(inner[1:], steps, strict=True))]
        for phi, end in zip(inner, ends, strict=True):
            phi.add_incoming(end, body)
        builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(integer, 0)), body, after)
        builder.position_at_end(after)
        fewer = builder.sub(outer[0], ir.Constant(integer, 1))
        for phi, end in zip(outer, [fewer, ends[1], ends[2], *outer[4:], outer[3]], strict=True):
            phi.add_incoming(end, after)
        builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(integer, 0)), quarter, done)
        builder.position_at_end(done)

    def _multiply(self, plane: tuple[int, int], v: Any, d: Any) -> None:
        builder = self.builder
        right = [_transformed(builder, self.element, self.columns, plane, d, j) for j in range(self.columns)]
        for number, row in enumerate(self.sums):
            factor = splat(builder, builder.load(self._moved(v, number * self.step), typ=self.element))
            for one, value in zip(row, right, strict=True):
                builder.store(multiply_add(builder, factor, value, builder.load(one)), one)

    def add(self, out: Any, out_row: Any, keeps: Any) -> None:
        """Emit what adds the sums to `out`."""
        builder = self.builder
        nothing = ir.Constant(self.vector, None)
        for i, row in enumerate(self.sums):
            start = builder.mul(out_row, ir.Constant(ir.IntType(64), i))
            for j, one in enumerate(row):
                place = builder.add(start, ir.Constant(ir.IntType(64), j * LANES))
                before = builder.select(keeps, load_vector(builder, out, place, self.element), nothing)
                store_vector(builder, builder.fadd(before, builder.load(one)), out, place)

    def _moved(self, pointer: Any, steps: int) -> Any:
        return self.builder.gep(pointer, [ir.Constant(ir.IntType(64), steps)], source_etype=self.element)


def _transformed(builder: Any, element: Any, columns: int, plane: tuple[int, int], d: Any, column: int) -> Any:
    """Emit one plane of a transformed tile of 2x2 pixels: over rows first."""
    (top, bottom, down), (left, right, across) = (_COMBINATIONS[one] for one in plane)
    found = []
    for x in [0] * left + [1] * right:
        pixels = [
            load_vector(builder, d, ir.Constant(ir.IntType(64), ((2 * y + x) * columns + column) * LANES), element)
            for y in [0] * top + [1] * bottom
        ]
        found.append(_combined(builder, pixels, down))
    return _combined(builder, found, across)


def _combined(builder: Any, values: list[Any], sign: int) -> Any:
    if len(values) == 1:
        return values[0]
    return builder.fadd(*values) if sign > 0 else builder.fsub(*values)
