"""A register tile of Winograd's products: sums over channels of four planes, transformed in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, Vector, ask_for_line, load_vector, multiply_add, splat


@cache
def make_plane_tile(rows: int) -> Any:
    """Return the tile for `rows` filters as a function for compiled code.

    ``tile(u, plane, step, v, depth, soon, soon_step)`` makes m[i] = sum over c < depth of
    u[i * plane + c * step + row] * v[c][i] for the planes i = 0 .. 3 and each row: a chain of fused multiply-adds from
    0 on. v holds four vectors for a channel. Returned are the vectors m[0] + (m[1] + m[2]) and (m[1] - m[2]) - m[3],
    both for each row in turn. For each channel the line of the cache at soon[c * soon_step] is asked for: what is going
    to be read or written next.
    """

    @intrinsic
    def tile(typingctx: Any, u: Any, plane: Any, step: Any, v: Any, depth: Any, soon: Any, soon_step: Any) -> Any:
        integer = types.intp
        signature = types.UniTuple(Vector(u.dtype), 2 * rows)(  # type: ignore[attr-defined]
            u, integer, integer, v, integer, soon, integer
        )
        element = ELEMENTS[u.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = _emit(builder, element, rows, *args)
            return context.make_tuple(builder, signature.return_type, values)

        return signature, codegen

    return tile


def _emit(
    builder: Any, element: Any, rows: int, u: Any, plane: Any, step: Any, v: Any, depth: Any, soon: Any, soon_step: Any
) -> list[Any]:
    integer, vector = ir.IntType(64), ir.VectorType(element, LANES)
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(4)] for _ in range(rows)]
    for row in sums:
        for one in row:
            builder.store(ir.Constant(vector, None), one)
    planes = [builder.mul(plane, ir.Constant(integer, i)) for i in range(4)]
    before, body = builder.block, builder.append_basic_block("planes.loop")
    after = builder.append_basic_block("planes.done")
    builder.branch(body)
    builder.position_at_end(body)
    left, u_here, v_here = builder.phi(integer), builder.phi(u.type), builder.phi(v.type)
    line = builder.phi(soon.type)
    for phi, start in ((left, depth), (u_here, u), (v_here, v), (line, soon)):
        phi.add_incoming(start, before)
    ask_for_line(builder, line, ir.Constant(integer, 0), element)
    pixels = [load_vector(builder, v_here, ir.Constant(integer, i * LANES), element) for i in range(4)]
    for number, row in enumerate(sums):
        for i, one in enumerate(row):
            place = builder.gep(u_here, [builder.add(planes[i], ir.Constant(integer, number))], source_etype=element)
            factor = splat(builder, builder.load(place, typ=element))
            builder.store(multiply_add(builder, factor, pixels[i], builder.load(one)), one)
    fewer = builder.sub(left, ir.Constant(integer, 1))
    left.add_incoming(fewer, body)
    line.add_incoming(builder.gep(line, [soon_step], source_etype=element), body)
    u_here.add_incoming(builder.gep(u_here, [step], source_etype=element), body)
    v_here.add_incoming(builder.gep(v_here, [ir.Constant(integer, 4 * LANES)], source_etype=element), body)
    builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(integer, 0)), body, after)
    builder.position_at_end(after)
    values = []
    for row in sums:
        a, b, c, d = (builder.load(one) for one in row)
        values.append(builder.fadd(a, builder.fadd(b, c)))
        values.append(builder.fsub(builder.fsub(b, c), d))
    return values
