"""Operators and elementary functions of SIMD vectors: what formulas that also serve NumPy arrays become when compiled.

Constants are rounded to the type of the vector. exp and expm1 reduce x to r = x - n*ln(2) with two parts of ln(2) (Cody
and Waite 1980, Software Manual for the Elementary Functions, chapter 6) and evaluate the Taylor polynomial of
exp(r) - 1, |r| <= ln(2)/2, whose remainder is below a quarter of the last place.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types import unliteral  # type: ignore[attr-defined]
from numba.extending import intrinsic, overload, register_jitable

from cnncli.compute.host import LANES
from cnncli.kernels.simd import elementary
from cnncli.kernels.simd.vectors import Vector, multiply_add, splat

_MASK = Vector(types.boolean)


@dataclass(frozen=True)
class _Format:
    """What exp needs to know of a type.

    Parameters
    ----------
    digits, bias : int
        Binary digits after the point; bias of the exponent.
    high, low : float
        Two parts of ln(2); n * high is exact.
    least, largest : float
        Below and above, exp is 0 and infinity.
    degree : int
        Of the polynomial.
    faint : float
        Below, exp(x) - 1 is -1.
    """

    digits: int
    bias: int
    high: float
    low: float
    least: float
    largest: float
    degree: int
    faint: float

    @property
    def magic(self) -> float:
        """Return a number that, added and subtracted, rounds to whole numbers."""
        return 1.5 * 2.0**self.digits


_FLOAT32 = _Format(23, 127, 0.693359375, -2.12194440e-4, -104.0, 89.0, 7, -30.0)
_FLOAT64 = _Format(52, 1023, 0.693145751953125, 1.42860682030941723212e-6, -746.0, 710.0, 13, -50.0)


def _constant(vector: Any, number: float) -> Any:
    return ir.Constant(vector, [ir.Constant(vector.element, number)] * LANES)


def _lifted(context: Any, builder: Any, value: Any, kind: Any, dtype: Any) -> Any:
    """Emit a vector from a vector or from one number."""
    if isinstance(kind, Vector):
        return value
    return splat(builder, context.cast(builder, value, unliteral(kind), dtype))


def _binary(emit: Any, result: Any = None) -> Any:
    """Make an intrinsic of two vectors, or of a vector and a number."""

    @intrinsic
    def both(typingctx: Any, a: Any, b: Any) -> Any:
        kind = a if isinstance(a, Vector) else b

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x, y = (
                _lifted(context, builder, value, one, kind.dtype)
                for value, one in zip(args, signature.args, strict=True)
            )
            return emit(builder, x, y)

        return (result or kind)(unliteral(a), unliteral(b)), codegen

    return both


def _overload_binary(function: Callable[..., Any], emit: Any, result: Any = None) -> None:
    both = _binary(emit, result)

    @overload(function, strict=False)
    def typed(a: Any, b: Any) -> Any:
        if isinstance(a, Vector) or isinstance(b, Vector):
            return lambda a, b: both(a, b)
        return None


def _overload_unary(function: Callable[..., Any], emit: Any) -> None:
    @intrinsic
    def one(typingctx: Any, a: Any) -> Any:
        return a(a), lambda context, builder, signature, args: emit(builder, args[0])

    @overload(function, strict=False)
    def typed(a: Any) -> Any:
        return (lambda a: one(a)) if isinstance(a, Vector) else None


def _magnitude(builder: Any, x: Any) -> Any:
    name = f"llvm.fabs.v{LANES}f{32 if x.type.element == ir.FloatType() else 64}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type]), name), [x])


_overload_binary(operator.add, lambda b, x, y: b.fadd(x, y))
_overload_binary(operator.sub, lambda b, x, y: b.fsub(x, y))
_overload_binary(operator.mul, lambda b, x, y: b.fmul(x, y))
_overload_binary(operator.truediv, lambda b, x, y: b.fdiv(x, y))
_overload_binary(operator.and_, lambda b, x, y: b.and_(x, y), _MASK)
for _sign, _compare in (
    (">", operator.gt),
    (">=", operator.ge),
    ("<", operator.lt),
    ("<=", operator.le),
):
    _overload_binary(_compare, lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y), _MASK)
# a comparison with NaN is false: NaN in the first operand stays
_overload_binary(elementary.maximum, lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), y, x))
_overload_binary(elementary.minimum, lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), y, x))
_overload_unary(operator.neg, lambda b, x: b.fneg(x))
_overload_unary(abs, _magnitude)


@intrinsic
def _chosen(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    kind = a if isinstance(a, Vector) else b

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y = (_lifted(context, builder, args[i], signature.args[i], kind.dtype) for i in (1, 2))
        return builder.select(args[0], x, y)

    return kind(mask, unliteral(a), unliteral(b)), codegen


@overload(elementary.where, strict=False)
def _where(mask: Any, a: Any, b: Any) -> Any:
    return (lambda mask, a, b: _chosen(mask, a, b)) if isinstance(mask, Vector) else None


def _polynomial(coefficients: tuple[float, ...]) -> Any:
    """Return an intrinsic that evaluates a polynomial (ascending powers) by Horner's rule."""

    @intrinsic
    def horner(typingctx: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = args[0].type
            total = _constant(vector, coefficients[-1])
            for coefficient in coefficients[-2::-1]:
                total = multiply_add(builder, total, args[0], _constant(vector, coefficient))
            return total

        return x(x), codegen

    return horner


def _power_of_two(form: _Format) -> Any:
    """Return an intrinsic that emits 2**n for whole n between the exponents of the least and largest normal number."""

    @intrinsic
    def power(typingctx: Any, n: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = args[0].type
            bits = ir.VectorType(ir.IntType(32 if form is _FLOAT32 else 64), LANES)
            # the last bits of n + magic are those of n: no conversion, whose result for NaN is not defined
            number = builder.bitcast(builder.fadd(args[0], _constant(vector, form.magic)), bits)
            exponent = builder.add(number, _constant(bits, form.bias))
            return builder.bitcast(builder.shl(exponent, _constant(bits, form.digits)), vector)

        return n(n), codegen

    return power


def _exponentials(form: _Format) -> tuple[Any, Any]:
    """Return exp and expm1 for vectors of a type."""
    magic, high, low, inverse = form.magic, form.high, form.low, 1 / math.log(2)
    least, largest, faint = form.least, form.largest, form.faint
    higher = _polynomial(tuple(1 / math.factorial(k) for k in range(2, form.degree + 1)))
    power = _power_of_two(form)
    maximum, minimum = elementary.maximum, elementary.minimum

    @numba.njit(error_model="numpy")
    def reduced(x: Any) -> Any:
        """Return exp(r) - 1 and n for x = r + n * ln(2)."""
        n = (x * inverse + magic) - magic
        r = (x - n * high) - n * low
        return r + r * r * higher(r), n

    def exp(x: Any) -> Any:
        rest, n = reduced(minimum(maximum(x, least), largest))
        half = (n * 0.5 + magic) - magic  # two factors: 2**n itself may be too small or too large for the type
        return ((rest + 1.0) * power(half)) * power(n - half)

    def expm1(x: Any) -> Any:
        rest, n = reduced(maximum(x, faint))
        scale = power(n)
        return rest * scale + (scale - 1.0)

    return exp, expm1


_EXP_FLOAT32, _EXPM1_FLOAT32 = _exponentials(_FLOAT32)
_EXP_FLOAT64, _EXPM1_FLOAT64 = _exponentials(_FLOAT64)
_TAIL_FLOAT32, _TAIL_FLOAT64 = _polynomial(elementary.TAIL_FLOAT32), _polynomial(elementary.TAIL_FLOAT64)


@overload(elementary.exp, strict=False)
def _exp(x: Any) -> Any:
    if isinstance(x, Vector):
        return _EXP_FLOAT32 if x.dtype == types.float32 else _EXP_FLOAT64
    return None


@overload(elementary.expm1, strict=False)
def _expm1(x: Any) -> Any:
    if isinstance(x, Vector):
        return _EXPM1_FLOAT32 if x.dtype == types.float32 else _EXPM1_FLOAT64
    return None


@overload(elementary.tanh, strict=False)
def _tanh(x: Any) -> Any:
    """Return (exp(2|x|) - 1) / (exp(2|x|) + 1) with the sign of x."""
    if not isinstance(x, Vector):
        return None
    expm1, minimum, where = elementary.expm1, elementary.minimum, elementary.where

    def tanh(x: Any) -> Any:
        grown = expm1(minimum(abs(x), 20.0) * 2.0)
        size = grown / (grown + 2.0)
        return where(x < 0, -size, size)

    return tanh


@overload(elementary.leading_half, strict=False)
def _leading_half(x: Any) -> Any:
    if not isinstance(x, Vector):
        return None
    factor = 4097.0 if x.dtype == types.float32 else 134217729.0

    def leading_half(x: Any) -> Any:
        scaled = x * factor
        return scaled - (scaled - x)

    return leading_half


@overload(elementary.tail_polynomial, strict=False)
def _tail_polynomial(t: Any) -> Any:
    if not isinstance(t, Vector):
        return None
    return (lambda t: _TAIL_FLOAT32(t)) if t.dtype == types.float32 else (lambda t: _TAIL_FLOAT64(t))


def compiled(formula: Callable[..., Any]) -> Any:
    """Return a formula that is written with these functions for kernels to call with vectors."""
    return numba.njit(formula, error_model="numpy")


for _formula in (elementary.bell, elementary.normal_tail):
    register_jitable(_formula)
