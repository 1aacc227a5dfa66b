"""A register tile of minimal filtering in one dimension: sums of products, transformed in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from cnncli.kernels.simd.vectors import ELEMENTS, LANES, load_vector, multiply_add, splat, store_vector

Products = tuple[tuple[int, int], ...]
Results = tuple[tuple[tuple[int, int], ...], ...]


@cache
def make_product_tile(rows: int, products: Products, results: Results) -> Any:
    """Return the tile for `rows` rows of results as a function for compiled code.

    Its arguments, steps in elements::

        tile(A, B, OUT, count, a_step, b_step)

    In each of `count` passes, at least one, between which the numbers A and the vectors B move by their steps, product
    p = (v, s) of row r adds A[p * rows + r] * B[v] to the sum s of that row: a chain of fused multiply-adds from 0 on.
    OUT[r][j] is then the sum, in their order, of the ``results[j]``, pairs of a sum and a sign, the first being 1.
    """

    @intrinsic
    def tile(typingctx: Any, a: Any, b: Any, out: Any, count: Any, a_step: Any, b_step: Any) -> Any:
        signature = types.void(a, b, out, types.intp, types.intp, types.intp)
        element = ELEMENTS[out.dtype]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit(builder, element, rows, products, results, args)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _emit(builder: Any, element: Any, rows: int, products: Products, results: Results, args: Any) -> None:
    a, b, out, count, *steps = args
    vector = ir.VectorType(element, LANES)
    number = 1 + max(place for _, place in products)
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(number)] for _ in range(rows)]
    for row in sums:
        for one in row:
            builder.store(ir.Constant(vector, None), one)
    before, body = builder.block, builder.append_basic_block("products.loop")
    after = builder.append_basic_block("products.done")
    builder.branch(body)
    builder.position_at_end(body)
    left, a_here, b_here = builder.phi(count.type), builder.phi(a.type), builder.phi(b.type)
    for phi, start in ((left, count), (a_here, a), (b_here, b)):
        phi.add_incoming(start, before)
    vectors: dict[int, Any] = {}
    for p, (v, place) in enumerate(products):
        if v not in vectors:
            vectors[v] = load_vector(builder, b_here, _integer(v * LANES), element)
        for r, row in enumerate(sums):
            source = builder.gep(a_here, [_integer(p * rows + r)], source_etype=element)
            factor = splat(builder, builder.load(source, typ=element))
            builder.store(multiply_add(builder, factor, vectors[v], builder.load(row[place])), row[place])
    fewer = builder.sub(left, _integer(1))
    left.add_incoming(fewer, body)
    for phi, step in zip((a_here, b_here), steps, strict=True):
        phi.add_incoming(builder.gep(phi, [step], source_etype=element), body)
    builder.cbranch(builder.icmp_signed(">", fewer, _integer(0)), body, after)
    builder.position_at_end(after)
    for r, row in enumerate(sums):
        for j, terms in enumerate(results):
            value = builder.load(row[terms[0][0]])
            for place, sign in terms[1:]:
                add = builder.fadd if sign > 0 else builder.fsub
                value = add(value, builder.load(row[place]))
            store_vector(builder, value, out, _integer((r * len(results) + j) * LANES))


def _integer(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)
