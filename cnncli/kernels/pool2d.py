"""Max and average pooling of vectors of images, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnncli.kernels.kernel import at, kernel
from cnncli.kernels.simd import (
    LANES,
    mask_or,
    mask_without,
    pointer,
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


@kernel
def maxpool_forward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write y = the largest value of each window; padding never wins.

    Words: x (3), y (3), C, H, W, OH, OW, channel and row stride of x, of y, KH, KW, SH, SW, top, left.
    """
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    for c in range(d[6]):
        for oh in range(d[9]):
            first_row = oh * d[17] - d[19]
            for ow in range(d[10]):
                first_column = ow * d[18] - d[20]
                best = vset(type(real)(-np.inf))
                for h in range(max(first_row, 0), min(first_row + d[15], d[7])):
                    for w in range(max(first_column, 0), min(first_column + d[16], d[8])):
                        best = vmax(best, vload(x, c * d[11] + h * d[12] + w * LANES))
                vstore(y, c * d[13] + oh * d[14] + ow * LANES, best)


@kernel
def maxpool_backward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Add dy to dx at the first largest value of each window, as PyTorch does.

    Words: x (3), y (3), dy (3), dx (3), C, H, W, OH, OW, channel and row stride of x, of y, of dy, of dx, KH, KW, SH,
    SW, top, left, rectified, disjoint.
    With `rectified`, x is the output of a ReLU and windows whose maximum is 0 pass nothing on (the ReLU's gradient).
    With `disjoint`, the stride is the size and there is no padding: dx is assigned and may be the same memory as x.
    """
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    dy = pointer(at(d, 6, task, worker), real)
    dx = pointer(at(d, 9, task, worker), real)
    zero = vset(type(real)(0))
    rows, columns = d[13], d[14]
    # disjoint windows leave only the rows and columns beyond the last window to be cleared
    covered_rows = d[15] * d[27] if d[32] else 0
    covered_columns = d[16] * d[28] if d[32] else 0
    for c in range(d[12]):
        for h in range(rows):
            for w in range(covered_columns if h < covered_rows else 0, columns):
                vstore(dx, c * d[23] + h * d[24] + w * LANES, zero)
        for oh in range(d[15]):
            first_row = oh * d[27] - d[29]
            for ow in range(d[16]):
                first_column = ow * d[28] - d[30]
                best = vload(y, c * d[19] + oh * d[20] + ow * LANES)
                gain = vload(dy, c * d[21] + oh * d[22] + ow * LANES)
                if d[31]:
                    gain = vselect(vgreater(best, zero), gain, zero)
                taken = vgreater(zero, zero)
                for h in range(max(first_row, 0), min(first_row + d[25], rows)):
                    for w in range(max(first_column, 0), min(first_column + d[26], columns)):
                        equal = vequal(vload(x, c * d[17] + h * d[18] + w * LANES), best)
                        part = vselect(mask_without(equal, taken), gain, zero)
                        taken = mask_or(taken, equal)
                        place = c * d[23] + h * d[24] + w * LANES
                        vstore(dx, place, part if d[32] else vadd(vload(dx, place), part))


@kernel
def avgpool_forward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write y = the mean of each window over the pixels inside the image (padding is not counted, as in Keras).

    Words: as maxpool_forward.
    """
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    for c in range(d[6]):
        for oh in range(d[9]):
            top, bottom = max(oh * d[17] - d[19], 0), min(oh * d[17] - d[19] + d[15], d[7])
            for ow in range(d[10]):
                left, right = max(ow * d[18] - d[20], 0), min(ow * d[18] - d[20] + d[16], d[8])
                total = vset(type(real)(0))
                for h in range(top, bottom):
                    for w in range(left, right):
                        total = vadd(total, vload(x, c * d[11] + h * d[12] + w * LANES))
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                vstore(y, c * d[13] + oh * d[14] + ow * LANES, vmul(total, vset(share)))


@kernel
def avgpool_backward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write dx: each output's gradient shared among the pixels of its window.

    Words: dy (3), dx (3), C, H, W, OH, OW, channel and row stride of dx, of dy, KH, KW, SH, SW, top, left.
    """
    dy = pointer(at(d, 0, task, worker), real)
    dx = pointer(at(d, 3, task, worker), real)
    for c in range(d[6]):
        for h in range(d[7]):
            for w in range(d[8]):
                vstore(dx, c * d[11] + h * d[12] + w * LANES, vset(type(real)(0)))
        for oh in range(d[9]):
            top, bottom = max(oh * d[17] - d[19], 0), min(oh * d[17] - d[19] + d[15], d[7])
            for ow in range(d[10]):
                left, right = max(ow * d[18] - d[20], 0), min(ow * d[18] - d[20] + d[16], d[8])
                share = type(real)(1) / type(real)((bottom - top) * (right - left))
                gain = vmul(vload(dy, c * d[13] + oh * d[14] + ow * LANES), vset(share))
                for h in range(top, bottom):
                    for w in range(left, right):
                        place = c * d[11] + h * d[12] + w * LANES
                        vstore(dx, place, vadd(vload(dx, place), gain))
