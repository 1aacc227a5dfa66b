"""How a fused tile sums: in float32, or in integers of 16 or 32 bits over pairs of image rows.

Each class emits LLVM code for one vector of sums: what is loaded from rows, how a tap is added, how sums compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from cnncli.compute.host import has_feature
from cnncli.kernels.image_filter.arguments import FLOATS, NARROW, WIDE
from cnncli.kernels.simd.vectors import LANES, multiply_add, splat

BYTE, SHORT, INT, WORD = (ir.IntType(bits) for bits in (8, 16, 32, 64))
REAL = ir.FloatType()
#: prefix of the names of LLVM's intrinsics for this width, where the processor has them
_X86 = {16: ("avx512bw", "avx512.{}.512"), 8: ("avx2", "avx2.{}"), 4: ("sse4.1", "sse{}.128")}[LANES]
HAS_PAIRS = has_feature(_X86[0])
_NAMES = {
    "pmaddubs": {16: "avx512.pmaddubs.w.512", 8: "avx2.pmadd.ub.sw", 4: "ssse3.pmadd.ub.sw.128"},
    "pmaddw": {16: "avx512.pmaddw.d.512", 8: "avx2.pmadd.wd", 4: "sse2.pmadd.wd"},
    "packssdw": {16: "avx512.packssdw.512", 8: "avx2.packssdw", 4: "sse2.packssdw.128"},
    "packuswb": {16: "avx512.packuswb.512", 8: "avx2.packuswb", 4: "sse2.packuswb.128"},
    "packusdw": {16: "avx512.packusdw.512", 8: "avx2.packusdw", 4: "sse41.packusdw"},
}


def vector(element: Any, count: int = LANES) -> Any:
    """Return the LLVM type of `count` elements."""
    return ir.VectorType(element, count)


def fill(element: Any, value: float, count: int = LANES) -> Any:
    """Return the constant vector of `count` times `value`."""
    return ir.Constant(vector(element, count), [value] * count)


def spread(builder: Any, scalar: Any, count: int) -> Any:
    """Emit a vector of `count` times `scalar`."""
    kind = vector(scalar.type, count)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(vector(INT, count), [0] * count))


def at(builder: Any, pointer: Any, index: Any, kind: Any) -> Any:
    """Emit pointer[index]."""
    place = ir.Constant(WORD, index) if isinstance(index, int) else index
    return builder.load(builder.gep(pointer, [place], source_etype=kind), typ=kind)


def _native(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [one.type for one in arguments])
    name = f"llvm.x86.{_NAMES[name][LANES]}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _in_order(builder: Any, value: Any, element: Any) -> Any:
    """Emit the parts of `element` size in memory order, which packing takes 128 bits by 128 bits."""
    parts, per = LANES // 4, 128 // element.width
    order = [per * part + j for j in range(per) for part in range(parts)]
    kind = vector(element, parts * per)
    value = builder.bitcast(value, kind)
    return builder.shuffle_vector(value, value, ir.Constant(vector(INT, parts * per), order))


def halve(builder: Any, values: list[Any], element: Any) -> list[Any]:
    """Emit vectors of 16 bits from twice as many of 32, limited to those of `element` (16 bits) or with sign (8 bits).

    The order is that of the instruction: 128 bits by 128 bits.
    """
    name = "packssdw" if element is BYTE else "packusdw"
    half = vector(SHORT, 2 * LANES)
    return [_native(builder, name, half, values[i : i + 2]) for i in range(0, len(values), 2)]


def pack_halves(builder: Any, halves: list[Any], part: Any) -> list[Any]:
    """Emit vectors of 8 bits in order from those of 16, limited; `part`: what lies side by side in each 128 bits."""
    full = vector(BYTE, 4 * LANES)
    packed = [_native(builder, "packuswb", full, halves[i : i + 2]) for i in range(0, len(halves), 2)]
    return [builder.bitcast(_in_order(builder, one, part), full) for one in packed]


def pack(builder: Any, values: list[Any], element: Any) -> list[Any]:
    """Emit vectors of `element` (8 or 16 bits, without sign) from vectors of whole numbers that fit it."""
    if not HAS_PAIRS:
        return [builder.trunc(value, vector(element, value.type.count)) for value in values]
    halves = halve(builder, values, element)
    if element is BYTE:
        return pack_halves(builder, halves, INT)
    return [builder.bitcast(_in_order(builder, one, WORD), vector(SHORT, 2 * LANES)) for one in halves]


class FloatSums:
    """float32 lanes, one image row per unit."""

    lane, tap = REAL, REAL
    lanes = LANES
    unit_bytes = 4  # of one element of a row
    reads_two = False  # units for each tap

    def values(self, builder: Any, here: Any, below: Any, columns: int) -> Iterator[Any]:
        """Emit the loads of what one tap needs, vector by vector."""
        for j in range(columns):
            yield self.load(builder, builder.add(here, ir.Constant(WORD, j * self.lanes * self.unit_bytes)))

    def load(self, builder: Any, place: Any) -> Any:
        """Emit the load of one vector."""
        return _load(builder, place, vector(REAL))

    def column_numbers(self, columns: int) -> list[list[int]]:
        """Return the column within the tile of each lane of each vector."""
        return [list(range(j * self.lanes, (j + 1) * self.lanes)) for j in range(columns)]

    def weight(self, builder: Any, scalar: Any) -> Any:
        """Emit the vector of a weight."""
        return splat(builder, scalar)

    def add(self, builder: Any, weight: Any, value: Any, total: Any) -> Any:
        """Emit total + weight * value."""
        return multiply_add(builder, weight, value, total)

    def smaller(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit the minimum."""
        return builder.select(builder.fcmp_ordered(">", a, b), b, a)

    def larger(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit the maximum."""
        return builder.select(builder.fcmp_ordered("<", a, b), b, a)

    def below(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit a < b."""
        return builder.fcmp_ordered("<", a, b)


class NarrowSums(FloatSums):
    """16-bit lanes over pairs of 8-bit image rows, read where they are; weights are pairs of 8-bit integers.

    Two vectors of sums belong to 4*LANES columns: of every 16 of them, the first one holds the first 8.
    """

    lane, tap = SHORT, INT
    lanes = 2 * LANES
    unit_bytes = 1
    reads_two = True

    def values(self, builder: Any, here: Any, below: Any, columns: int) -> Iterator[Any]:
        """Emit pairs of bytes, one of each row."""
        for j in range(0, columns, 2):
            place = builder.add(here, ir.Constant(WORD, j * self.lanes))
            rows = [_load(builder, spot, vector(BYTE, 4 * LANES)) for spot in (place, builder.add(place, below))]
            for half in range(2):
                order = [16 * (i // 16) + 8 * half + i % 16 // 2 + 4 * LANES * (i % 2) for i in range(4 * LANES)]
                yield builder.shuffle_vector(*rows, ir.Constant(vector(INT, 4 * LANES), order))

    def column_numbers(self, columns: int) -> list[list[int]]:
        """Return the column within the tile of each lane of each vector."""
        return [
            [4 * LANES * (j // 2) + 16 * (i // 8) + 8 * (j % 2) + i % 8 for i in range(2 * LANES)]
            for j in range(columns)
        ]

    def weight(self, builder: Any, scalar: Any) -> Any:
        """Emit the vector of a pair of weights, which `scalar` holds twice."""
        return builder.bitcast(splat(builder, scalar), vector(BYTE, 4 * LANES))

    def add(self, builder: Any, weight: Any, value: Any, total: Any) -> Any:
        """Emit total + the product sums of pairs, which the caller has proved to fit 16 bits."""
        if HAS_PAIRS:
            return builder.add(total, _native(builder, "pmaddubs", vector(SHORT, self.lanes), [value, weight]))
        products = _products(builder, value, weight, SHORT, builder.zext)
        return builder.add(total, products)

    def smaller(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit the minimum."""
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    def larger(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit the maximum."""
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    def below(self, builder: Any, a: Any, b: Any) -> Any:
        """Emit a < b."""
        return builder.icmp_signed("<", a, b)


class WideSums(NarrowSums):
    """32-bit lanes over pairs of 8-bit image rows, interleaved as 16-bit numbers; weights are pairs of such, too."""

    lane, tap = INT, INT
    lanes = LANES
    unit_bytes = 4
    reads_two = False
    values, column_numbers = FloatSums.values, FloatSums.column_numbers

    def load(self, builder: Any, place: Any) -> Any:
        """Emit the load of LANES pairs."""
        return _load(builder, place, vector(SHORT, 2 * LANES))

    def weight(self, builder: Any, scalar: Any) -> Any:
        """Emit the vector of a pair of weights."""
        return builder.bitcast(splat(builder, scalar), vector(SHORT, 2 * LANES))

    def add(self, builder: Any, weight: Any, value: Any, total: Any) -> Any:
        """Emit total + the product sums of pairs, which the caller has proved to fit 32 bits."""
        if HAS_PAIRS:
            return builder.add(total, _native(builder, "pmaddw", vector(INT), [value, weight]))
        return builder.add(total, _products(builder, value, weight, INT, builder.sext))


def _products(builder: Any, value: Any, weight: Any, wide: Any, widen: Any) -> Any:
    """Emit value[2i]*weight[2i] + value[2i+1]*weight[2i+1] as `wide` integers."""
    count = value.type.count
    product = builder.mul(widen(value, vector(wide, count)), builder.sext(weight, vector(wide, count)))
    halves = []
    for first in (0, 1):
        order = ir.Constant(vector(INT, count // 2), list(range(first, count, 2)))
        halves.append(builder.shuffle_vector(product, product, order))
    return builder.add(*halves)


def _load(builder: Any, place: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(place, kind.as_pointer()), align=1, typ=kind)


def narrow_pixels(builder: Any, values: list[Any]) -> list[Any]:
    """Emit the bytes of sums of `NarrowSums`, limited to 0..255."""
    found = []
    for first, second in zip(values[::2], values[1::2], strict=True):
        if HAS_PAIRS:
            found.append(_native(builder, "packuswb", vector(BYTE, 4 * LANES), [first, second]))
            continue
        halves = []
        for value in (first, second):
            value = NarrowSums().smaller(builder, value, fill(SHORT, 255, 2 * LANES))
            value = NarrowSums().larger(builder, value, fill(SHORT, 0, 2 * LANES))
            halves.append(builder.trunc(value, vector(BYTE, 2 * LANES)))
        order = [2 * LANES * (i % 16 // 8) + 8 * (i // 16) + i % 8 for i in range(4 * LANES)]
        found.append(builder.shuffle_vector(*halves, ir.Constant(vector(INT, 4 * LANES), order)))
    return found


SUMS = {FLOATS: FloatSums(), NARROW: NarrowSums(), WIDE: WideSums()}
