"""Vector pieces of the image filter: numbers between pixels and float32, and the taps over a block of rows."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnncli.kernels.image_filter.arguments import WIDE, segments
from cnncli.kernels.image_filter.sums import SUMS
from cnncli.kernels.simd.vectors import ELEMENTS, LANES, Vector, load_vector, multiply_add, splat, store_vector

_MAGIC = 12582912.0  # 1.5 * 2^23: adding it rounds a float32 of up to 22 bits to the nearest whole number, half to even


@intrinsic
def vconvert(typingctx: Any, base: Any, index: Any) -> Any:
    """vconvert(p, i): LANES whole numbers from p[i] on as float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = load_vector(builder, args[0], args[1], ELEMENTS[base.dtype])
        wide = builder.zext(value, ir.VectorType(ir.IntType(32), LANES))
        return builder.uitofp(wide, ir.VectorType(ir.FloatType(), LANES))

    return Vector(types.float32)(base, types.intp), codegen


@intrinsic
def vpack(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
    """vpack(p, i, v): write the lanes of `v`, 0 to 65535, from p[i] on, rounded half to even."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shifted = builder.fadd(args[2], splat(builder, ir.Constant(ir.FloatType(), _MAGIC)))
        whole = builder.bitcast(shifted, ir.VectorType(ir.IntType(32), LANES))
        narrow = builder.trunc(whole, ir.VectorType(ELEMENTS[base.dtype], LANES))
        store_vector(builder, narrow, args[0], args[1])
        return context.get_dummy_value()

    return types.void(base, types.intp, value), codegen


@intrinsic
def vstream(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
    """vstream(p, i, v): write the lanes of `v` from p[i] on, aligned to a vector, around the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(args[0], [args[1]], source_etype=ir.FloatType())
        store = builder.store(args[2], builder.bitcast(place, args[2].type.as_pointer()), align=4 * LANES)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(base, types.intp, value), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """prefetch(a): begin to load the cache line at address `a`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(number, value) for value in (0, 2, 1))
        builder.call(function, [builder.inttoptr(args[0], byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def vpair(typingctx: Any, a: Any, b: Any, index: Any, out: Any) -> Any:
    """vpair(p, q, i, r): r[i] = p[i] + q[i] * 2^(half the bits of r's numbers), 2*LANES bytes at a time."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ELEMENTS[out.dtype]
        byte, count = ir.IntType(8), 2 * LANES
        rows = []
        for base in args[:2]:
            place = builder.gep(base, [args[2]], source_etype=byte)
            kind = ir.VectorType(byte, count)
            row = builder.load(builder.bitcast(place, kind.as_pointer()), align=1, typ=kind)
            rows.append(builder.zext(row, ir.VectorType(wide, count)))
        bits = ir.Constant(ir.VectorType(wide, count), [wide.width // 2] * count)
        both = builder.or_(rows[0], builder.shl(rows[1], bits))
        place = builder.gep(args[3], [args[2]], source_etype=wide)
        builder.store(both, builder.bitcast(place, both.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(a, b, types.intp, out), codegen


@intrinsic
def vmadd(typingctx: Any, total: Any, weights: Any, address: Any) -> Any:
    """vmadd(v, w, a): v + the sums of the products of LANES pairs of 16-bit integers at the addresses `w` and `a`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = SUMS[WIDE]
        return sums.add(builder, sums.load(builder, args[1]), sums.load(builder, args[2]), args[0])

    return total(total, types.int64, types.int64), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """fence(): stores around the caches are seen by others from here on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def vabs(typingctx: Any, a: Any) -> Any:
    """vabs(v): absolute values."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(32), LANES)
        mask = ir.Constant(kind, [ir.Constant(ir.IntType(32), 0x7FFFFFFF)] * LANES)
        return builder.bitcast(builder.and_(builder.bitcast(args[0], kind), mask), args[0].type)

    return a(a), codegen


def make_taps(rows: int, columns: int) -> Any:
    """Return ``taps(x, places, weights, ends, start, more, y, y_row)`` for compiled code.

    y[i*y_row + v] = start + sum over taps u of weights[u*rows + i] * x[places[u] + v], for i < rows and
    v < columns*LANES; with `more` not 0 the sums start from what y holds. The taps come in `segments`: the first
    ends[0] concern the first row only, those up to ends[1] the first two rows, ..., the last ones the last row only.
    """

    @intrinsic
    def taps(
        typingctx: Any, x: Any, places: Any, weights: Any, ends: Any, start: Any, more: Any, y: Any, y_row: Any
    ) -> Any:
        whole = types.intp

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, places, weights, ends, start, more, y, y_row = args
            real, number = ir.FloatType(), ir.IntType(64)
            vector = ir.VectorType(real, LANES)
            cells = [(i, j) for i in range(rows) for j in range(columns)]
            sums = {cell: cgutils.alloca_once(builder, vector) for cell in cells}
            spots = {
                (i, j): builder.add(builder.mul(y_row, ir.Constant(number, i)), ir.Constant(number, j * LANES))
                for i, j in cells
            }
            first = splat(builder, start)
            with builder.if_else(builder.icmp_signed("!=", more, ir.Constant(number, 0))) as (then, otherwise):
                with then:
                    for cell in cells:
                        builder.store(load_vector(builder, y, spots[cell], real), sums[cell])
                with otherwise:
                    for cell in cells:
                        builder.store(first, sums[cell])
            begin: Any = ir.Constant(number, 0)
            for segment, active in enumerate(segments(rows)):
                end = builder.load(builder.gep(ends, [ir.Constant(number, segment)], source_etype=number), typ=number)
                with cgutils.for_range(builder, end, start=begin) as loop:
                    place = builder.load(builder.gep(places, [loop.index], source_etype=number), typ=number)
                    values = [
                        load_vector(builder, x, builder.add(place, ir.Constant(number, j * LANES)), real)
                        for j in range(columns)
                    ]
                    base = builder.mul(loop.index, ir.Constant(number, rows))
                    for i in active:
                        spot = builder.add(base, ir.Constant(number, i))
                        weight = splat(builder, builder.load(builder.gep(weights, [spot], source_etype=real), typ=real))
                        for j in range(columns):
                            total = builder.load(sums[i, j], typ=vector)
                            builder.store(multiply_add(builder, weight, values[j], total), sums[i, j])
                begin = end
            for cell in cells:
                store_vector(builder, builder.load(sums[cell], typ=vector), y, spots[cell])
            return context.get_dummy_value()

        signature = types.void(x, places, weights, ends, start, whole, y, whole)
        return signature, codegen

    return taps
