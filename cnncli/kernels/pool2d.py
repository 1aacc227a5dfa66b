"""Max and average pooling of vectors of images, and their gradients."""

from __future__ import annotations

import numpy as np

from cnncli.compute.arguments import Maps, Real, Window
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import (
    LANES,
    mask_or,
    mask_without,
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


@kernel(splits_channels=True)
def maxpool_forward(x: Maps, y: Maps, window: Window, real: Real) -> None:
    """Write y = the largest value of each window; padding never wins."""
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
