"""The least, the largest and the middle value of every window, in two ways: by exchanges of vectors, and by counting.

All pick one of the values of the window, so they give the same for every value that is no NaN. Exchanges of a k x k
window cost about k^2 log(k)^2 for whole vectors of pixels, counting about k for each pixel.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from cnncli.compute.arguments import Int64s
from cnncli.compute.kernel import CompiledKernel, kernel
from cnncli.kernels.simd.networks import Network, middle_of_sorted_columns, sorting
from cnncli.kernels.simd.vectors import ELEMENTS, LANES, load_vector, pointer, store_vector

_NUMBERS = (types.uint8, types.uint16, types.float32, types.float64)  # by kind


def middle(window_rows: int, window_columns: int, kind: int) -> CompiledKernel:
    """Return the kernel of `_sweep` for the value of rank n//2, counted from 0, of n = window_rows * window_columns."""
    of_column, joined = sorting(window_rows), middle_of_sorted_columns(window_rows, window_columns)
    lanes = _lanes(kind)
    columns = _exchanges(of_column, (window_rows, 1), lanes, kind)
    select = _exchanges(joined, (window_columns, window_rows), lanes, kind)
    return _sweep(columns, select, kind, f"middle{window_rows}x{window_columns}x{kind}")


def extreme(is_largest: int, kind: int) -> CompiledKernel:
    """Return the kernel of `_sweep` for the least or the largest value of windows of any size."""
    fold = _fold("<" if is_largest else ">", _lanes(kind), kind)
    return _sweep(fold, fold, kind, f"extreme{is_largest}x{kind}")


def _lanes(kind: int) -> int:
    return int(4 * LANES * 8 // _NUMBERS[kind].bitwidth)


def _sweep(columns: Any, select: Any, kind: int, name: str) -> CompiledKernel:
    """Return a kernel that picks a value of each window.

    Each column of a window is sorted, or reduced to its extreme, once for all windows that it belongs to; then the
    columns are joined. table[r] is the address of padded row r, with `length` numbers in `channels` per pixel; padded
    pixel p is pixel columns[p] of it, and `left` of them come before the first. Of -1 all numbers are `constant`. The
    kernel writes `out_length` numbers to each of `rows` rows from `y` on, and both lengths have at least the size of a
    register. `scratch` has room for `planes` padded rows.

    Parameters
    ----------
    columns, select : intrinsic
        As `_exchanges` and `_fold` return them: from the table to `scratch`, and from there to `y`.
    kind : int
        0 uint8, 1 uint16, 2 float32, 3 float64.
    """
    number, lanes = _NUMBERS[kind], _lanes(kind)

    def body(
        table: Int64s,
        places: Int64s,
        padded: int,
        left: int,
        constant: float,
        y: int,
        scratch: int,
        planes: int,
        rows: int,
        length: int,
        out_length: int,
        channels: int,
        window_rows: int,
        window_columns: int,
        row_step: int,
        column_step: int,
    ) -> None:
        target, kept, value = pointer(y, number(0)), pointer(scratch, number(0)), number(constant)
        plane, inside, width = padded * channels, left * channels, length // channels
        for r in range(rows):
            for e in range(0, length, lanes):
                at = min(e, length - lanes)  # the last vector repeats some of what the one before did
                columns(table, r, row_step, at, window_rows, kept, inside + at, plane)
            for p in range(padded - width):
                outside = p if p < left else p + width
                place = places[outside]
                for q in range(planes):
                    for c in range(q * plane, q * plane + channels):
                        pixel = kept[inside + place * channels + c] if place >= 0 else value
                        kept[outside * channels + c] = pixel
            for e in range(0, out_length, lanes):
                at = min(e, out_length - lanes)
                select(kept, at, column_step, plane, window_columns, target, r * out_length + at, 0)

    return CompiledKernel(body, name)


def _exchanges(network: Network, inputs: tuple[int, int], lanes: int, kind: int) -> Any:
    """Return an intrinsic of a network on vectors in registers.

    It takes (x, first, outer, inner, count, y, target, step). Where x points at numbers, value a * inputs[1] + b is at
    x[first + a * outer + b * inner]; where it is a table of addresses, it is number `inner` from x[first + a * outer]
    on. `count` is inputs[0], result i goes to y[target + i * step].
    """

    def emit(builder: Any, load: Any, count: Any, store: Any) -> None:
        values = [load(ir.Constant(count.type, a), b) for a in range(inputs[0]) for b in range(inputs[1])]
        for i, j, wants_least, wants_largest in network.exchanges:
            a, b = values[i], values[j]
            if wants_least:
                values[i] = _chosen(builder, ">", a, b)
            if wants_largest:
                values[j] = _chosen(builder, "<", a, b)
        for number, wire in enumerate(network.outputs):
            store(values[wire], number)

    return _intrinsic(emit, lanes, kind)


def _fold(relation: str, lanes: int, kind: int) -> Any:
    """Return an intrinsic as `_exchanges` for the extreme of `count` values."""

    def emit(builder: Any, load: Any, count: Any, store: Any) -> None:
        one = ir.Constant(count.type, 1)
        first = load(ir.Constant(count.type, 0), 0)
        kept = cgutils.alloca_once_value(builder, first)
        with cgutils.for_range(builder, builder.sub(count, one)) as loop:
            value = load(builder.add(loop.index, one), 0)
            builder.store(_chosen(builder, relation, builder.load(kept, typ=first.type), value), kept)
        store(builder.load(kept, typ=first.type), 0)

    return _intrinsic(emit, lanes, kind)


def _intrinsic(emit: Any, lanes: int, kind: int) -> Any:
    element, number = ELEMENTS[_NUMBERS[kind]], _NUMBERS[kind]

    @intrinsic
    def run(
        typingctx: Any, x: Any, first: Any, outer: Any, inner: Any, count: Any, y: Any, target: Any, step: Any
    ) -> Any:
        is_table = x.dtype == types.int64

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, start, outer_step, inner_step, counted, out, place, out_step = args

            def load(a: Any, b: int) -> Any:
                at = builder.add(start, builder.mul(outer_step, a))
                if is_table:
                    word = ir.IntType(64)
                    address = builder.load(builder.gep(source, [at], source_etype=word), typ=word)
                    row = builder.inttoptr(address, context.get_value_type(types.CPointer(number)))
                    return load_vector(builder, row, inner_step, element, lanes)
                at = builder.add(at, builder.mul(inner_step, ir.Constant(at.type, b)))
                return load_vector(builder, source, at, element, lanes)

            def store(value: Any, i: int) -> None:
                at = builder.add(place, builder.mul(out_step, ir.Constant(place.type, i)))
                store_vector(builder, value, out, at)

            emit(builder, load, counted, store)
            return context.get_dummy_value()

        return types.void(x, *[types.int64] * 4, y, types.int64, types.int64), codegen

    return run


def _chosen(builder: Any, relation: str, a: Any, b: Any) -> Any:
    """Emit b where a is larger (or less, by the relation) than b, else a."""
    whole = isinstance(a.type.element, ir.IntType)
    return builder.select(
        builder.icmp_unsigned(relation, a, b) if whole else builder.fcmp_ordered(relation, a, b), b, a
    )


@njit(error_model="numpy")
def _add(counts: Any, levels: int, rank: int, weight: int) -> None:
    """Add the weight of a rank on every level."""
    first = 0
    for level in range(levels):
        counts[first + (rank >> (4 * (levels - 1 - level)))] += weight
        first += 16 << (4 * level)


@njit(error_model="numpy")
def _middle(counts: Any, levels: int, total: int) -> int:
    """Return the least rank up to which more than half of the total lies."""
    if total == 0:
        return -1
    below, node, first = 0, 0, 0
    for level in range(levels):
        node *= 16
        while below + counts[first + node] <= total // 2:
            below += counts[first + node]
            node += 1
        first += 16 << (4 * level)
    return node


@kernel
def middle_by_counting(
    ranks: Int64s,
    weights: Int64s,
    y: Int64s,
    counts: Int64s,
    levels: int,
    rows: int,
    columns: int,
    channels: int,
    window_rows: int,
    window_columns: int,
    weight_step: int,
) -> None:
    """Write y[r, c, k] = the least rank up to which more than half of the weight of a window lies, -1 without weight.

    ranks has shape (rows + window_rows - 1, columns + window_columns - 1, channels) and holds numbers below 16^levels.
    weights[p * weight_step] belongs to pixel p of it. `counts` is all 0 and is left so; it holds the weight of every
    rank, and above it, level by level, that of every 16 of the level below, so that the window moves by one column with
    2 * window_rows * levels additions (Huang, Yang and Tang 1979, doi:10.1109/TASSP.1979.1163188).
    """
    width = columns + window_columns - 1
    for r in range(rows):
        for k in range(channels):
            total = 0
            for c in range(1 - window_columns, columns):
                joins = c + window_columns - 1
                for i in range(r, r + window_rows):
                    pixel = i * width + joins
                    weight = weights[pixel * weight_step]
                    _add(counts, levels, ranks[pixel * channels + k], weight)
                    total += weight
                    if c > 0:
                        pixel = i * width + c - 1
                        weight = weights[pixel * weight_step]
                        _add(counts, levels, ranks[pixel * channels + k], -weight)
                        total -= weight
                if c >= 0:
                    y[(r * columns + c) * channels + k] = _middle(counts, levels, total)
            for c in range(columns - 1, width):
                for i in range(r, r + window_rows):
                    pixel = i * width + c
                    _add(counts, levels, ranks[pixel * channels + k], -weights[pixel * weight_step])
