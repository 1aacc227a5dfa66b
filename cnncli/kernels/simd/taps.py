"""The taps of many small kernels, which lie one after the other, into the lanes of vectors."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, Vector, load_vector, transpose_lanes


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


def _load(builder: Any, p: Any, first: int, count: int, element: Any) -> Any:
    """Emit a load of `count` numbers from p[first] on, zeros in the other lanes."""
    if count == LANES:
        return load_vector(builder, p, ir.Constant(ir.IntType(64), first), element)
    vector, bits = ir.VectorType(element, LANES), ir.VectorType(ir.IntType(1), LANES)
    word = ir.IntType(32)
    suffix = f"v{LANES}f{32 if element == ir.FloatType() else 64}.p0"
    kind = ir.FunctionType(vector, [vector.as_pointer(), word, bits, vector])
    load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{suffix}")
    mask = ir.Constant(bits, [ir.Constant(ir.IntType(1), int(lane < count)) for lane in range(LANES)])
    place = builder.gep(p, [ir.Constant(ir.IntType(64), first)], source_etype=element)
    place = builder.bitcast(place, vector.as_pointer())
    return builder.call(load, [place, word(4 if element == ir.FloatType() else 8), mask, ir.Constant(vector, None)])
