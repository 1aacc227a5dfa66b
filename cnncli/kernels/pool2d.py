"""Max and average pooling of vectors of images, and their gradients."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from cnncli.compute.arguments import Maps, Real, Window
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import (
    LANES,
    mask_or,
    mask_without,
    offset,
    vadd,
    vequal,
    vgreater,
    vload,
    vmax,
    vmul,
    vselect,
    vset,
    vstore,
)


@numba.njit(error_model="numpy")
def _is_four(x: Any, y: Any, window: Any) -> Any:
    """Return whether every window is four pixels of the image that no other window holds."""
    is_two = window.rows == window.row_stride == 2 and window.columns == window.column_stride == 2
    return is_two and window.top == window.left == 0 and 2 * y.height <= x.height and 2 * y.width <= x.width


@numba.njit(error_model="numpy")
def _largest_of_four(x: Any, y: Any, real: Any) -> None:
    lowest = vset(type(real)(-np.inf))
    for c in range(y.channels):
        for oh in range(y.height):
            upper = offset(x.data, c * x.channel_step + 2 * oh * x.row_step)
            lower, target = offset(upper, x.row_step), offset(y.data, c * y.channel_step + oh * y.row_step)
            for ow in range(y.width):
                best = vmax(vmax(lowest, vload(upper, 2 * ow * LANES)), vload(upper, (2 * ow + 1) * LANES))
                best = vmax(vmax(best, vload(lower, 2 * ow * LANES)), vload(lower, (2 * ow + 1) * LANES))
                vstore(target, ow * LANES, best)


@numba.njit(error_model="numpy")
def _first_of_four(x: Any, y: Any, dy: Any, dx: Any, relu_gradient: Any, real: Any) -> None:
    zero = vset(type(real)(0))
    for c in range(y.channels):
        for oh in range(y.height):
            upper = offset(x.data, c * x.channel_step + 2 * oh * x.row_step)
            lower = offset(upper, x.row_step)
            top = offset(dx.data, c * dx.channel_step + 2 * oh * dx.row_step)
            bottom = offset(top, dx.row_step)
            largest = offset(y.data, c * y.channel_step + oh * y.row_step)
            flow = offset(dy.data, c * dy.channel_step + oh * dy.row_step)
            for ow in range(y.width):
                left, right = 2 * ow * LANES, (2 * ow + 1) * LANES
                best, gain = vload(largest, ow * LANES), vload(flow, ow * LANES)
                if relu_gradient:
                    gain = vselect(vgreater(best, zero), gain, zero)
                is_a, is_b = vequal(vload(upper, left), best), vequal(vload(upper, right), best)
                is_c, is_d = vequal(vload(lower, left), best), vequal(vload(lower, right), best)
                before = mask_or(is_a, is_b)
                vstore(top, left, vselect(is_a, gain, zero))
                vstore(top, right, vselect(mask_without(is_b, is_a), gain, zero))
                vstore(bottom, left, vselect(mask_without(is_c, before), gain, zero))
                vstore(bottom, right, vselect(mask_without(is_d, mask_or(before, is_c)), gain, zero))


@kernel(splits_channels=True)
def maxpool_forward(x: Maps, y: Maps, window: Window, real: Real) -> None:
    """Write y = the largest value of each window; padding never wins."""
    if _is_four(x, y, window):
        _largest_of_four(x, y, real)
        return
    for c in range(y.channels):
        for oh in range(y.height):
            first_row = oh * window.row_stride - window.top
            for ow in range(y.width):
                first_column = ow * window.column_stride - window.left
                best = vset(type(real)(-np.inf))
                for h in range(max(first_row, 0), min(first_row + window.rows, x.height)):
                    for w in range(max(first_column, 0), min(first_column + window.columns, x.width)):
                        best = vmax(best, vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
                vstore(y.data, c * y.channel_step + oh * y.row_step + ow * LANES, best)


@kernel(splits_channels=True)
def maxpool_backward(
    x: Maps, y: Maps, dy: Maps, dx: Maps, window: Window, relu_gradient: int, disjoint: int, real: Real
) -> None:
    """Add dy to dx at the first largest value of each window, as PyTorch does.

    With `relu_gradient`, x is the output of a ReLU and windows whose maximum is 0 pass nothing on (the ReLU's
    gradient). With `disjoint`, the stride is the size and there is no padding: dx is assigned and may be the same
    memory as x.
    """
    zero = vset(type(real)(0))
    # disjoint windows leave only the rows and columns beyond the last window to be cleared
    covered_rows = y.height * window.row_stride if disjoint else 0
    covered_columns = y.width * window.column_stride if disjoint else 0
    for c in range(x.channels):
        for h in range(x.height):
            for w in range(covered_columns if h < covered_rows else 0, x.width):
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, zero)
    if disjoint and _is_four(x, y, window):
        _first_of_four(x, y, dy, dx, relu_gradient, real)
        return
    for c in range(x.channels):
        for oh in range(y.height):
            first_row = oh * window.row_stride - window.top
            for ow in range(y.width):
                first_column = ow * window.column_stride - window.left
                best = vload(y.data, c * y.channel_step + oh * y.row_step + ow * LANES)
                gain = vload(dy.data, c * dy.channel_step + oh * dy.row_step + ow * LANES)
                if relu_gradient:
                    gain = vselect(vgreater(best, zero), gain, zero)
                taken = vgreater(zero, zero)
                for h in range(max(first_row, 0), min(first_row + window.rows, x.height)):
                    for w in range(max(first_column, 0), min(first_column + window.columns, x.width)):
                        equal = vequal(vload(x.data, c * x.channel_step + h * x.row_step + w * LANES), best)
                        part = vselect(mask_without(equal, taken), gain, zero)
                        taken = mask_or(taken, equal)
                        place = c * dx.channel_step + h * dx.row_step + w * LANES
                        vstore(dx.data, place, part if disjoint else vadd(vload(dx.data, place), part))


@kernel(splits_channels=True)
def avgpool_forward(x: Maps, y: Maps, window: Window, real: Real) -> None:
    """Write y = the mean of each window over the pixels inside the image (padding is not counted, as in Keras)."""
    for c in range(y.channels):
        for oh in range(y.height):
            first_row = oh * window.row_stride - window.top
            top, bottom = max(first_row, 0), min(first_row + window.rows, x.height)
            for ow in range(y.width):
                first_column = ow * window.column_stride - window.left
                left, right = max(first_column, 0), min(first_column + window.columns, x.width)
                total = vset(type(real)(0))
                for h in range(top, bottom):
                    for w in range(left, right):
                        total = vadd(total, vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                vstore(y.data, c * y.channel_step + oh * y.row_step + ow * LANES, vmul(total, vset(share)))


@kernel(splits_channels=True)
def avgpool_backward(dy: Maps, dx: Maps, window: Window, real: Real) -> None:
    """Write dx: each output's gradient shared among the pixels of its window."""
    for c in range(dx.channels):
        for h in range(dx.height):
            for w in range(dx.width):
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, vset(type(real)(0)))
        for oh in range(dy.height):
            first_row = oh * window.row_stride - window.top
            top, bottom = max(first_row, 0), min(first_row + window.rows, dx.height)
            for ow in range(dy.width):
                first_column = ow * window.column_stride - window.left
                left, right = max(first_column, 0), min(first_column + window.columns, dx.width)
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                gain = vmul(vload(dy.data, c * dy.channel_step + oh * dy.row_step + ow * LANES), vset(share))
                for h in range(top, bottom):
                    for w in range(left, right):
                        place = c * dx.channel_step + h * dx.row_step + w * LANES
                        vstore(dx.data, place, vadd(vload(dx.data, place), gain))


@kernel(splits_channels=True)
def adaptive_average_forward(x: Maps, y: Maps, real: Real) -> None:
    """Write y = the mean of each bin; output i of m takes the rows floor(i*n/m) .. ceil((i+1)*n/m) - 1 of n."""
    for c in range(y.channels):
        for oh in range(y.height):
            top, bottom = oh * x.height // y.height, -(-(oh + 1) * x.height // y.height)
            for ow in range(y.width):
                left, right = ow * x.width // y.width, -(-(ow + 1) * x.width // y.width)
                total = vset(type(real)(0))
                for h in range(top, bottom):
                    for w in range(left, right):
                        total = vadd(total, vload(x.data, c * x.channel_step + h * x.row_step + w * LANES))
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                vstore(y.data, c * y.channel_step + oh * y.row_step + ow * LANES, vmul(total, vset(share)))


@kernel(splits_channels=True)
def adaptive_average_backward(dy: Maps, dx: Maps, real: Real) -> None:
    """Write dx: each output's gradient shared among the pixels of its bin; bins may overlap."""
    for c in range(dx.channels):
        for h in range(dx.height):
            for w in range(dx.width):
                vstore(dx.data, c * dx.channel_step + h * dx.row_step + w * LANES, vset(type(real)(0)))
        for oh in range(dy.height):
            top, bottom = oh * dx.height // dy.height, -(-(oh + 1) * dx.height // dy.height)
            for ow in range(dy.width):
                left, right = ow * dx.width // dy.width, -(-(ow + 1) * dx.width // dy.width)
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                gain = vmul(vload(dy.data, c * dy.channel_step + oh * dy.row_step + ow * LANES), vset(share))
                for h in range(top, bottom):
                    for w in range(left, right):
                        place = c * dx.channel_step + h * dx.row_step + w * LANES
                        vstore(dx.data, place, vadd(vload(dx.data, place), gain))
