"""ReLU, dropout and copies between buffers, number by number."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from cnncli.kernels.kernel import at, kernel
from cnncli.kernels.simd import LANES, pointer, vgreater, vload, vmax, vselect, vset, vstore


@kernel
def copy(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write y = x. Words: x (3), y (3), C, H, W, channel and row stride of x, of y."""
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    for c in range(d[6]):
        for h in range(d[7]):
            for w in range(d[8]):
                vstore(y, c * d[11] + h * d[12] + w * LANES, vload(x, c * d[9] + h * d[10] + w * LANES))


@kernel
def relu_forward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write y = max(x, 0); NaN stays NaN. Words: as copy; y may be x."""
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    zero = vset(type(real)(0))
    for c in range(d[6]):
        for h in range(d[7]):
            for w in range(d[8]):
                vstore(y, c * d[11] + h * d[12] + w * LANES, vmax(vload(x, c * d[9] + h * d[10] + w * LANES), zero))


@kernel
def relu_backward(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write dx = dy where y > 0, else 0.

    Words: y (3), dy (3), dx (3), C, H, W, channel and row stride of y, of dy, of dx; dx may be dy.
    """
    y = pointer(at(d, 0, task, worker), real)
    dy = pointer(at(d, 3, task, worker), real)
    dx = pointer(at(d, 6, task, worker), real)
    zero = vset(type(real)(0))
    for c in range(d[9]):
        for h in range(d[10]):
            for w in range(d[11]):
                alive = vgreater(vload(y, c * d[12] + h * d[13] + w * LANES), zero)
                gain = vload(dy, c * d[14] + h * d[15] + w * LANES)
                vstore(dx, c * d[16] + h * d[17] + w * LANES, vselect(alive, gain, zero))


@numba.njit(error_model="numpy")
def _mixed(number: Any) -> Any:
    """Scramble 64 bits (the finaliser of SplitMix64: Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@kernel
def dropout(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write y = x / (1 - rate), or 0 with probability `rate` (inverted dropout; the gradient is the same operation).

    Whether a number is dropped depends on the key, the image's position in the batch and the number's position in the
    image alone, so forward and backward agree without a stored mask, whatever the threads do.

    Words: as copy, then key uint64 (3), 1 / (1 - rate) as float64 (3), the rate in units of 2**-32; y may be x.
    """
    x = pointer(at(d, 0, task, worker), real)
    y = pointer(at(d, 3, task, worker), real)
    key = pointer(at(d, 13, task, worker), types.uint64(0))[0]
    keep = type(real)(pointer(at(d, 16, task, worker), types.float64(0))[0])
    limit = d[19]
    element = np.uint64(0)
    for c in range(d[6]):
        for h in range(d[7]):
            for w in range(d[8]):
                for lane in range(LANES):
                    image = np.uint64(task * LANES + lane)
                    draw = _mixed(key + _mixed((image << np.uint64(40)) + element)) >> np.uint64(32)
                    value = x[c * d[9] + h * d[10] + w * LANES + lane]
                    y[c * d[11] + h * d[12] + w * LANES + lane] = (
                        type(real)(0) if np.int64(draw) < limit else value * keep
                    )
                element += np.uint64(1)
