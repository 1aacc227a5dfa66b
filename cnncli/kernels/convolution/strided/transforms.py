"""Minimal filtering of 3x3 kernels with stride 2: the transforms.

A kernel of stride 2 sees even and odd pixels with taps of their own, and each of these is a convolution of stride 1
(Huang et al. 2020, arXiv:2002.00552). In one dimension taps 0 and 2 meet the even pixels: F(2, 2) of Winograd 1980
(doi:10.1137/1.9781611970364), 3 multiplications for two results; tap 1 meets the odd ones. Products that go into the
same results are added before they are transformed. Two results y of the pixels e o f p g, of which e f g are even:

    s = (e - f) a + o b    t = f (a + c)    u = (g - f) c + p b        y = s + t, t + u

The gradient of four pixels, two even ones x and two odd ones z, of d e f, neighbours in dy; where the first pixel is an
odd one, it is that of d, otherwise the last one is that of f:

    s = (d - e) c    t = e (a + c)    u = (f - e) a                    x = s + t, t + u    z = e b, and d b or f b

The gradient of the taps of two results, summed over tiles and images; d and e are these of dy:

    s = (e - f) d    t = f (d + e)    u = (g - f) e                    a = s + t, c = t + u    b = o d + p e

In two dimensions that makes 25 multiplications in place of 36, and no factor but 1. Weights are w = (a, b, a + c, c).
"""

from __future__ import annotations

from typing import Any

import numba

from cnncli.kernels.simd.vectors import LANES, offset, vadd, vload, vmax, vstore, vsub


@numba.njit(error_model="numpy")
def pixels(p: Any, step: Any, row: Any) -> Any:
    """Return value `row` of (e - f, o, f, p, g - f) of five vectors, `step` apart."""
    if row == 0:
        return vsub(vload(p, 0), vload(p, 2 * step))
    if row == 4:
        return vsub(vload(p, 4 * step), vload(p, 2 * step))
    return vload(p, row * step)


@numba.njit(error_model="numpy")
def pixel_values(p: Any, row_step: Any, row: Any) -> Any:
    """Return row `row` of the transformed tile of pixels at `p`: five vectors."""
    a = pixels(p, row_step, row)
    b = pixels(offset(p, LANES), row_step, row)
    c = pixels(offset(p, 2 * LANES), row_step, row)
    d = pixels(offset(p, 3 * LANES), row_step, row)
    e = pixels(offset(p, 4 * LANES), row_step, row)
    return vsub(a, c), b, c, d, vsub(e, c)


@numba.njit(error_model="numpy")
def _slopes(p: Any, step: Any, row: Any, is_odd: Any) -> Any:
    """Return value `row` of (d - e, e, f - e, d or f) of three vectors, `step` apart."""
    if row == 0:
        return vsub(vload(p, 0), vload(p, step))
    if row == 1:
        return vload(p, step)
    if row == 2:
        return vsub(vload(p, 2 * step), vload(p, step))
    return vload(p, 0 if is_odd else 2 * step)


@numba.njit(error_model="numpy")
def slope_values(p: Any, row_step: Any, row: Any, odd_row: Any, odd_column: Any) -> Any:
    """Return row `row` of the transformed tile of dy at `p` for the input gradient: four vectors."""
    a = _slopes(p, row_step, row, odd_row)
    b = _slopes(offset(p, LANES), row_step, row, odd_row)
    c = _slopes(offset(p, 2 * LANES), row_step, row, odd_row)
    return vsub(a, b), b, vsub(c, b), a if odd_column else c


@numba.njit(error_model="numpy")
def sides(p: Any, step: Any, row: Any) -> Any:
    """Return value `row` of (d, d + e, e) of two vectors of dy, `step` apart."""
    if row == 0:
        return vload(p, 0)
    if row == 1:
        return vadd(vload(p, 0), vload(p, step))
    return vload(p, step)


@numba.njit(error_model="numpy")
def taps4(a: Any, b: Any, c: Any) -> Any:
    """Return (a, b, a + c, c)."""
    return a, b, vadd(a, c), c


@numba.njit(error_model="numpy")
def write_results(s: Any, t: Any, step: Any, y: Any, bias: Any, low: Any, columns: Any) -> None:
    """Write one row of results, at least `low`: of sums `s` + `t`, both three vectors, and what is within `columns`."""
    a = vadd(vload(s, 0), vload(t, 0))
    b = vadd(vload(s, step), vload(t, step))
    vstore(y, 0, vmax(vadd(vadd(a, b), bias), low))
    if columns > 1:
        c = vadd(vload(s, 2 * step), vload(t, 2 * step))
        vstore(y, LANES, vmax(vadd(vadd(b, c), bias), low))


@numba.njit(error_model="numpy")
def write_pixels(five: Any, dx: Any, odd_column: Any, columns: Any) -> None:
    """Write one row of the input gradient from five sums: four pixels, and what is within `columns`."""
    s, t, u, z, last = five
    left, right = vadd(s, t), vadd(t, u)
    first, second, third, fourth = (last, left, z, right) if odd_column else (left, z, right, last)
    vstore(dx, 0, first)
    if columns > 1:
        vstore(dx, LANES, second)
    if columns > 2:
        vstore(dx, 2 * LANES, third)
    if columns > 3:
        vstore(dx, 3 * LANES, fourth)
