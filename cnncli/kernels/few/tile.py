"""The register tile of one image: sums over channels and taps for neighbouring pixels and filters in the lanes.

The counterpart of `simd.tile` (Georganas et al. 2020, arXiv:1906.06440) with the operands exchanged: a pixel is one
number, broadcast, and the weights of LANES filters are a vector. Products and sums are the same in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, load_vector, multiply_add, splat, store_vector

_NUMBER = ir.IntType(64)


@cache
def make_tile(rows: int, columns: int, stride: int, *, has_taps: bool = False, adds: bool = False) -> Any:
    """Return the tile of `rows` pixels x `columns` vectors of filters as a function for compiled code.

    Its arguments, all steps in elements::

        tile(X, W, Y, y_column, bias, low, channel, depth, block_step, taps_down, taps_across, down, across,
             w_channel, w_down, keep)

    X points at the first pixel of channel 0 and the next pixel lies `stride` vectors further on; channel c is lane
    c % LANES of the vector at c // LANES * block_step. The sums are over `depth` channels from `channel` on, and their
    taps. W[channel][row][column] are `columns` vectors of weights, w_channel and w_down apart. Y[j][i] is the vector of
    pixel i and of the filters of column j, y_column apart for j.
    The sum begins with the bias of each filter; if `keep` is not 0 it begins with 0 and is added to what Y holds. The
    result is raised to at least `low`. With `adds` the sum always begins with 0 and is added to what Y holds or, where
    `keep` is 0, to 0; `bias` and `low` are not read. Without `has_taps` there is one.
    """

    @intrinsic
    def tile(
        typingctx: Any, x: Any, w: Any, y: Any, y_column: Any, bias: Any, low: Any, channel: Any, depth: Any,
        block_step: Any, taps_down: Any, taps_across: Any, down: Any, across: Any, w_channel: Any, w_down: Any,
        keep: Any,
    ) -> Any:  # fmt: skip
        integer = types.intp
        signature = types.void(x, w, y, integer, bias, low, *[integer] * 10)
        element = ELEMENTS[y.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _Tile(builder, element, rows, columns, stride * LANES).emit(args, has_taps=has_taps, adds=adds)
            return context.get_dummy_value()

        return signature, codegen

    return tile


class _Tile:
    """Writes the LLVM code of one tile."""

    def __init__(self, builder: Any, element: Any, rows: int, columns: int, step: int) -> None:
        self.builder, self.element, self.step = builder, element, step
        self.rows, self.columns = range(rows), range(columns)
        vector = ir.VectorType(element, LANES)
        self.sums = [[cgutils.alloca_once(builder, vector) for _ in self.columns] for _ in self.rows]

    def emit(self, args: Any, *, has_taps: bool, adds: bool) -> None:
        x, w, y, y_column, bias, low, channel, depth, block_step = args[:9]
        taps_down, taps_across, down, across, w_channel, w_down, keep = args[9:]
        nothing = ir.Constant(ir.VectorType(self.element, LANES), None)
        keeps = self.builder.icmp_signed("!=", keep, _constant(0))
        for j in self.columns:
            begin = nothing if adds else self.builder.select(keeps, nothing, self._load(bias, _constant(j * LANES)))
            for i in self.rows:
                self.builder.store(begin, self.sums[i][j])

        def tap(x: Any, w: Any) -> None:
            self._multiply(x, w)

        def row(x: Any, w: Any) -> None:
            self._loop(taps_across, [(x, across), (w, _constant(len(self.columns) * LANES))], tap)

        def taps(x: Any, w: Any) -> None:
            if has_taps:
                self._loop(taps_down, [(x, down), (w, w_down)], row)
            else:
                self._multiply(x, w)

        self._channels((channel, depth), block_step, w_channel, x, w, taps)
        floor = None if adds else splat(self.builder, low)
        for j in self.columns:
            column = self.builder.mul(y_column, _constant(j))
            for i in self.rows:
                value, place = self.builder.load(self.sums[i][j]), self.builder.add(column, _constant(i * LANES))
                before = self._load(y, place)
                if adds:
                    value = self.builder.fadd(self.builder.select(keeps, before, nothing), value)
                else:
                    value = self.builder.select(keeps, self.builder.fadd(before, value), value)
                    value = self.builder.select(self.builder.fcmp_ordered("<", value, floor), floor, value)
                store_vector(self.builder, value, y, place)

    def _channels(
        self, range_: Any, block_step: Any, w_channel: Any, x: Any, w: Any, body: Callable[..., None]
    ) -> None:
        """Emit the loop over channels: the next lane, and after the last one the next vector."""
        builder, (channel, depth) = self.builder, range_
        last = _constant(LANES - 1)
        x = self._moved(x, builder.mul(builder.ashr(channel, _constant(LANES.bit_length() - 1)), block_step))
        first = builder.and_(channel, last)
        x, w = self._moved(x, first), self._moved(w, builder.mul(channel, w_channel))
        before, block = builder.block, builder.append_basic_block("tile.channel")
        after = builder.append_basic_block("tile.channels.done")
        builder.cbranch(builder.icmp_signed(">", depth, _constant(0)), block, after)
        builder.position_at_end(block)
        left, lane, x_here, w_here = (builder.phi(kind) for kind in (_NUMBER, _NUMBER, x.type, w.type))
        for phi, start in ((left, depth), (lane, first), (x_here, x), (w_here, w)):
            phi.add_incoming(start, before)
        body(x_here, w_here)
        is_end = builder.icmp_signed("==", lane, last)
        step = builder.select(is_end, builder.sub(block_step, last), _constant(1))
        fewer = builder.sub(left, _constant(1))
        left.add_incoming(fewer, builder.block)
        lane.add_incoming(builder.and_(builder.add(lane, _constant(1)), last), builder.block)
        x_here.add_incoming(self._moved(x_here, step), builder.block)
        w_here.add_incoming(self._moved(w_here, w_channel), builder.block)
        builder.cbranch(builder.icmp_signed(">", fewer, _constant(0)), block, after)
        builder.position_at_end(after)

    def _loop(self, count: Any, pointers: list[tuple[Any, Any]], body: Callable[..., None]) -> None:
        """Emit `count` rounds, at least one, of a body that is given pointers, each moved on by its step."""
        builder = self.builder
        before, block = builder.block, builder.append_basic_block("tile.loop")
        after = builder.append_basic_block("tile.done")
        builder.branch(block)
        builder.position_at_end(block)
        left = builder.phi(_NUMBER)
        left.add_incoming(count, before)
        here = [builder.phi(pointer.type) for pointer, _ in pointers]
        for phi, (pointer, _) in zip(here, pointers, strict=True):
            phi.add_incoming(pointer, before)
        body(*here)
        fewer = builder.sub(left, _constant(1))
        left.add_incoming(fewer, builder.block)
        for phi, (_, step) in zip(here, pointers, strict=True):
            phi.add_incoming(self._moved(phi, step), builder.block)
        builder.cbranch(builder.icmp_signed(">", fewer, _constant(0)), block, after)
        builder.position_at_end(after)

    def _multiply(self, x: Any, w: Any) -> None:
        weights = [self._load(w, _constant(j * LANES)) for j in self.columns]
        for i in self.rows:
            pixel = self.builder.load(self._moved(x, _constant(i * self.step)), typ=self.element)
            wide = splat(self.builder, pixel)
            for j in self.columns:
                total = self.builder.load(self.sums[i][j])
                self.builder.store(multiply_add(self.builder, wide, weights[j], total), self.sums[i][j])

    def _load(self, pointer: Any, place: Any) -> Any:
        return load_vector(self.builder, pointer, place, self.element)

    def _moved(self, pointer: Any, steps: Any) -> Any:
        return self.builder.gep(pointer, [steps], source_etype=self.element)


def _constant(number: int) -> Any:
    return ir.Constant(_NUMBER, number)
