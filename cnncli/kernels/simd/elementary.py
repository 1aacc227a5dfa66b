"""Elementary functions of NumPy arrays; of SIMD vectors, where compiled code calls them (vector_math.py).

A formula that is written with these and with operators holds for both. Importing this imports neither NumPy nor Numba.
"""

from __future__ import annotations

from typing import Any

#: (1 + a) * exp(a*a/2) * Phi(-a) as a polynomial in t = (a - 4) / (a + 4) for a >= 0, ascending powers.
#: Shepherd and Laframboise 1981, doi:10.1090/S0025-5718-1981-0595058-X, expand erfc in this way; these coefficients are
#: those of the Chebyshev series, computed with 60 digits and cut where what is left is below the rounding of the type.
TAIL_FLOAT32 = (
    0.4720532027, -0.09670347043, 0.01399991367, 0.02860016814, -0.03220116289, 0.01793769594,
    -0.00498771425, -0.0002912674952, 0.0006649886921, -8.455401787e-05, -5.809123526e-05, 1.25685467e-05,
)  # fmt: skip
TAIL_FLOAT64 = (
    0.47205320650984467, -0.09670347732652577, 0.013999634724424333, 0.02860036405354698, -0.03219783742802203,
    0.017936097479808313, -0.005002378592511494, -0.0002856231002340135, 0.0006948971219073166,
    -9.443023204456728e-05, -8.785330394797745e-05, 2.1249915729449347e-05, 1.3627395285352675e-05,
    -3.4316562688625695e-06, -2.6144101706596152e-06, 4.029912427574402e-07, 5.548340462207789e-07,
    4.242344418455244e-09, -1.1446850712758079e-07, -2.3315488161994288e-08, 2.0257667136861587e-08,
    8.858538843412724e-09, -2.6180348731255444e-09, -1.9068104342795306e-09, 1.7873545221852657e-10,
    1.968773941157256e-10,
)  # fmt: skip


def where(mask: Any, a: Any, b: Any) -> Any:
    """Return `a` where `mask`, else `b`."""
    import numpy as np

    return np.where(mask, a, b)


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of a and a number b; NaN stays NaN."""
    import numpy as np

    return np.maximum(a, b)


def minimum(a: Any, b: Any) -> Any:
    """Return the smaller of a and a number b; NaN stays NaN."""
    import numpy as np

    return np.minimum(a, b)


def exp(x: Any) -> Any:
    """Return e**x."""
    import numpy as np

    return np.exp(x)


def expm1(x: Any) -> Any:
    """Return e**x - 1 for x of at most 80, without cancellation near 0."""
    import numpy as np

    return np.expm1(x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    import numpy as np

    return np.tanh(x)


def leading_half(x: Any) -> Any:
    """Return x rounded to half as many binary digits, so that its square is exact (Dekker 1971).

    Source: doi:10.1007/BF01397083, section 5.
    """
    factor = 4097.0 if x.dtype.itemsize == 4 else 134217729.0
    scaled = x * factor
    return scaled - (scaled - x)


def tail_polynomial(t: Any) -> Any:
    """Return the polynomial of `normal_tail`."""
    total: Any = TAIL_FLOAT64[-1]
    for coefficient in TAIL_FLOAT64[-2::-1]:
        total = total * t + coefficient
    return total


def bell(a: Any) -> Any:
    """Return exp(-a*a/2) for 0 <= a <= 40; the rounding error of the square is taken into account."""
    head = leading_half(a)
    rest = (a - head) * (a + head) * 0.5
    return exp(head * head * -0.5) * (1.0 + rest * (rest * (0.5 - rest * (1.0 / 6.0 - rest * (1.0 / 24.0))) - 1.0))


def normal_tail(a: Any, bell_of_a: Any) -> Any:
    """Return Phi(-a), the normal distribution function, for 0 <= a <= 40, from ``bell(a)``."""
    return bell_of_a * tail_polynomial((a - 4.0) / (a + 4.0)) / (1.0 + a)
