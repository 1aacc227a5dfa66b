"""The taps of many small kernels, which lie one after the other, into the lanes of vectors."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, Vector, load_vector, store_vector, transpose_lanes


@cache
def make_taps(taps: int, rows: int) -> Any:
    """Return the function that reads LANES kernels of so many taps, for compiled code.

    ``load(p, row_step, depth_step)`` returns a vector for each tap; lane i holds the tap of the kernel that begins at
    p[i % rows * row_step + i // rows * depth_step]. Nothing beyond these kernels is read.
    """

    @intrinsic
    def load(typingctx: Any, p: Any, row_step: Any, depth_step: Any) -> Any:
        signature = types.UniTuple(Vector(p.dtype), taps)(p, types.intp, types.intp)  # type: ignore[attr-defined]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = _emit(builder, ELEMENTS[p.dtype], taps, rows, *args)
            return context.make_tuple(builder, signature.return_type, values)

        return signature, codegen

    return load


def _emit(builder: Any, element: Any, taps: int, rows: int, p: Any, row_step: Any, depth_step: Any) -> list[Any]:
    integer = ir.IntType(64)
    kernels = []
    for lane in range(LANES):
        row = builder.mul(row_step, ir.Constant(integer, lane % rows))
        place = builder.add(row, builder.mul(depth_step, ir.Constant(integer, lane // rows)))
        kernels.append(builder.gep(p, [place], source_etype=element))
    found: list[Any] = []
    while len(found) < taps:
        # the last taps are read again with those before, where there are enough
        first = max(0, min(len(found), taps - LANES))
        read = min(taps, LANES)
        vectors = [_load(builder, one, first, read, element) for one in kernels]
        found += transpose_lanes(builder, vectors)[len(found) - first : read]
    return found


@cache
def make_taps_store(taps: int) -> Any:
    """Return the function that writes LANES kernels of so many taps, one after the other, for compiled code.

    ``store(p, vectors)`` writes vectors[tap] with a kernel in each lane: p[lane * taps + tap]; nothing beyond.
    """

    @intrinsic
    def store(typingctx: Any, p: Any, vectors: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows = [builder.extract_value(args[1], tap) for tap in range(taps)]
            _emit_store(builder, ELEMENTS[p.dtype], args[0], rows)
            return context.get_dummy_value()

        return types.void(p, vectors), codegen

    return store


def _emit_store(builder: Any, element: Any, p: Any, rows: list[Any]) -> None:
    taps, done = len(rows), 0
    while done < taps:
        # the last taps are written again with those before, where there are enough
        first = max(0, min(done, taps - LANES))
        count = min(taps, LANES)
        blank = [ir.Constant(rows[0].type, ir.Undefined)] * (LANES - count)
        kernels = transpose_lanes(builder, [*rows[first : first + count], *blank])
        for lane, kernel in enumerate(kernels):
            place = ir.Constant(ir.IntType(64), lane * taps + first)
            if count == LANES or lane < LANES - 1:
                # what lies beyond the taps of a kernel is written over with the next one
                store_vector(builder, kernel, p, place)
            else:
                _store(builder, kernel, builder.gep(p, [place], source_etype=element), count)
        done = first + count


def _masked(builder: Any, verb: str, vector: Any, arguments: Any, count: int) -> tuple[Any, Any, Any]:
    """Return the function of LLVM that loads or stores under a mask, the alignment, and a mask of `count` lanes."""
    is_float = vector.element == ir.FloatType()
    kind = ir.FunctionType(*arguments)
    name = f"llvm.masked.{verb}.v{LANES}f{32 if is_float else 64}.p0"
    mask = [ir.Constant(ir.IntType(1), int(lane < count)) for lane in range(LANES)]
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return function, ir.IntType(32)(4 if is_float else 8), ir.Constant(ir.VectorType(ir.IntType(1), LANES), mask)


def _store(builder: Any, value: Any, p: Any, count: int) -> None:
    """Emit a store of the first `count` lanes."""
    vector, bits = value.type, ir.VectorType(ir.IntType(1), LANES)
    arguments = ir.VoidType(), [vector, vector.as_pointer(), ir.IntType(32), bits]
    function, alignment, mask = _masked(builder, "store", vector, arguments, count)
    builder.call(function, [value, builder.bitcast(p, vector.as_pointer()), alignment, mask])


def _load(builder: Any, p: Any, first: int, count: int, element: Any) -> Any:
    """Emit a load of `count` numbers from p[first] on, zeros in the other lanes."""
    if count == LANES:
        return load_vector(builder, p, ir.Constant(ir.IntType(64), first), element)
    vector, bits = ir.VectorType(element, LANES), ir.VectorType(ir.IntType(1), LANES)
    arguments = vector, [vector.as_pointer(), ir.IntType(32), bits, vector]
    function, alignment, mask = _masked(builder, "load", vector, arguments, count)
    place = builder.gep(p, [ir.Constant(ir.IntType(64), first)], source_etype=element)
    place = builder.bitcast(place, vector.as_pointer())
    return builder.call(function, [place, alignment, mask, ir.Constant(vector, None)])
