"""SIMD vectors as Numba values: a type for LANES numbers, and loads, stores and arithmetic on it.

A kernel that uses these compiles to vector instructions whatever the auto-vectoriser thinks of it. LANES float32 fill
one register of the host (16 with AVX-512, 8 with AVX2, 4 elsewhere); `CNN_SIMD=16|8|4` forces a width. float64
vectors have as many lanes and take two registers: they serve gradient checks.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from cnncli.compute.host import LANES as LANES


class Vector(types.Type):
    """The Numba type of LANES numbers (or truth values) of one kind."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"vector({dtype} x {LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, _ir_type(fe_type.dtype))


ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.boolean: ir.IntType(1),
    types.int32: ir.IntType(32),
    types.uint8: ir.IntType(8),
    types.uint16: ir.IntType(16),
}


def _ir_type(dtype: Any) -> ir.VectorType:
    return ir.VectorType(ELEMENTS[dtype], LANES)


def splat(builder: Any, scalar: Any) -> Any:
    """Emit a vector whose every lane is `scalar` (for generators of LLVM code)."""
    vector = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def load_vector(builder: Any, pointer: Any, offset: Any, element: Any, lanes: int = LANES) -> Any:
    """Emit an unaligned load of so many elements at `pointer` + `offset` (for generators of LLVM code)."""
    place = builder.gep(pointer, [offset], source_etype=element)
    return builder.load(
        builder.bitcast(place, ir.VectorType(element, lanes).as_pointer()),
        align=_alignment(element),
        typ=ir.VectorType(element, lanes),
    )


def store_vector(builder: Any, value: Any, pointer: Any, offset: Any) -> None:
    """Emit an unaligned store of a vector (for generators of LLVM code)."""
    element = value.type.element
    place = builder.gep(pointer, [offset], source_etype=element)
    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=_alignment(element))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a*b + c, fused where the machine has it (for generators of LLVM code)."""
    suffix = f"v{LANES}f{32 if a.type.element == ir.FloatType() else 64}"
    signature = ir.FunctionType(a.type, [a.type] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, f"llvm.fmuladd.{suffix}"), [a, b, c])


def sum_lanes(builder: Any, vector: Any) -> Any:
    """Emit the sum of the lanes in a fixed tree order (for generators of LLVM code)."""
    width = LANES
    while width > 1:
        half = width // 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        mask = ir.Constant(
            ir.VectorType(ir.IntType(32), half), [ir.Constant(ir.IntType(32), half + i) for i in range(half)]
        )
        low = ir.Constant(ir.VectorType(ir.IntType(32), half), [ir.Constant(ir.IntType(32), i) for i in range(half)])
        vector = builder.fadd(
            builder.shuffle_vector(vector, undefined, low), builder.shuffle_vector(vector, undefined, mask)
        )
        width = half
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _alignment(element: Any) -> int:
    return {"float": 4, "double": 8}.get(str(element)) or element.width // 8


@intrinsic
def pointer(typingctx: Any, address: Any, real: Any) -> Any:
    """pointer(address, real): the integer `address` as a pointer to numbers of the type of `real`."""
    target = types.CPointer(real)  # type: ignore[attr-defined]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(target))

    return target(types.int64, real), codegen


@intrinsic
def address_of(typingctx: Any, base: Any) -> Any:
    """address_of(p): the address a pointer holds, as an integer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(base), codegen


@intrinsic
def offset(typingctx: Any, base: Any, count: Any) -> Any:
    """offset(p, n): the pointer `n` elements after `p`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]], source_etype=context.get_data_type(base.dtype))

    return base(base, types.intp), codegen


@intrinsic
def vload(typingctx: Any, base: Any, index: Any) -> Any:
    """vload(p, i): LANES numbers from p[i] on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load_vector(builder, args[0], args[1], ELEMENTS[base.dtype])

    return Vector(base.dtype)(base, types.intp), codegen


@intrinsic
def vstore(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
    """vstore(p, i, v): write the lanes of `v` from p[i] on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store_vector(builder, args[2], args[0], args[1])
        return context.get_dummy_value()

    return types.void(base, types.intp, value), codegen


def ask_for_line(builder: Any, pointer: Any, offset: Any, element: Any, is_written: int = 0, level: int = 1) -> None:
    """Emit a prefetch of the cache line at `pointer` + `offset` into a cache (for generators of LLVM code)."""
    place = builder.gep(pointer, [offset], source_etype=element)
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    call_type = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    call = cgutils.get_or_insert_function(builder.module, call_type, "llvm.prefetch.p0")
    builder.call(call, [builder.bitcast(place, byte), word(is_written), word(4 - level), word(1)])


def _prefetch(name: str, is_written: int, level: int = 1) -> Any:
    """Make an intrinsic that asks for the cache line of p[i] into a cache; nothing is read."""

    def typed(typingctx: Any, base: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ask_for_line(builder, args[0], args[1], ELEMENTS[base.dtype], is_written, level)
            return context.get_dummy_value()

        return types.void(base, types.intp), codegen

    typed.__name__ = name
    return intrinsic(typed)


prefetch = _prefetch("prefetch", 0)
prefetch_far = _prefetch("prefetch_far", 0, 2)  # into the second cache
prefetch_to_write = _prefetch("prefetch_to_write", 1)


@intrinsic
def vset(typingctx: Any, scalar: Any) -> Any:
    """vset(x): a vector whose every lane is `x`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splat(builder, args[0])

    return Vector(scalar)(scalar), codegen


@intrinsic
def vfma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """vfma(a, b, c): a*b + c."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return a(a, b, c), codegen


@intrinsic
def vsum(typingctx: Any, a: Any) -> Any:
    """vsum(a): the sum of the lanes, always added in the same order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return sum_lanes(builder, args[0])

    return a.dtype(a), codegen


@intrinsic
def vget(typingctx: Any, a: Any, lane: Any) -> Any:
    """vget(a, i): lane `i`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], ir.IntType(32)))

    return a.dtype(a, types.intp), codegen


def _binary(name: str, emit: Any, result: Any = None) -> Any:
    """Make an intrinsic of two vectors."""

    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, args[0], args[1])

        return (result or a)(a, b), codegen

    typed.__name__ = name
    return intrinsic(typed)


_MASK = Vector(types.boolean)
vadd = _binary("vadd", lambda b, x, y: b.fadd(x, y))
vsub = _binary("vsub", lambda b, x, y: b.fsub(x, y))
vmul = _binary("vmul", lambda b, x, y: b.fmul(x, y))
vdiv = _binary("vdiv", lambda b, x, y: b.fdiv(x, y))
# a NaN in the first operand stays: a broken network must not look rectified
vmax = _binary("vmax", lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), y, x))
vmin = _binary("vmin", lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), y, x))
vgreater = _binary("vgreater", lambda b, x, y: b.fcmp_ordered(">", x, y), _MASK)
vequal = _binary("vequal", lambda b, x, y: b.fcmp_ordered("==", x, y), _MASK)
mask_or = _binary("mask_or", lambda b, x, y: b.or_(x, y))
mask_without = _binary("mask_without", lambda b, x, y: b.and_(x, b.not_(y)))


@intrinsic
def vselect(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """vselect(m, a, b): lane by lane `a` where `m`, else `b`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(mask, a, b), codegen


@intrinsic
def vsqrt(typingctx: Any, a: Any) -> Any:
    """vsqrt(a): square roots, correctly rounded."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = args[0].type
        suffix = f"v{LANES}f{32 if vector.element == ir.FloatType() else 64}"
        root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), f"llvm.sqrt.{suffix}")
        return builder.call(root, args)

    return a(a), codegen


def transpose_lanes(builder: Any, rows: list[Any]) -> list[Any]:
    """Emit the transpose of LANES vectors of LANES elements: log2(LANES) rounds of two-input shuffles."""
    step = 1
    index = ir.IntType(32)
    while step < LANES:
        result = list(rows)
        for i in range(LANES):
            if i & step:
                continue
            low, high = rows[i], rows[i | step]
            first = [k if not k & step else LANES + (k ^ step) for k in range(LANES)]
            second = [(k | step) if not k & step else LANES + k for k in range(LANES)]
            kind = ir.VectorType(index, LANES)
            result[i] = builder.shuffle_vector(low, high, ir.Constant(kind, [ir.Constant(index, k) for k in first]))
            result[i | step] = builder.shuffle_vector(
                low, high, ir.Constant(kind, [ir.Constant(index, k) for k in second])
            )
        rows = result
        step *= 2
    return rows


@intrinsic
def transpose(typingctx: Any, source: Any, source_stride: Any, target: Any, target_stride: Any) -> Any:
    """transpose(p, s, q, t): q[j*t + i] = p[i*s + j] for i, j < LANES; pointers to the same kind of numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = ELEMENTS[source.dtype]
        count = [ir.Constant(ir.IntType(64), i) for i in range(LANES)]
        rows = [load_vector(builder, args[0], builder.mul(args[1], i), element) for i in count]
        for i, column in zip(count, transpose_lanes(builder, rows), strict=True):
            store_vector(builder, column, args[2], builder.mul(args[3], i))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen
