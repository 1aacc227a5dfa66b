"""Softmax, and softmax with cross-entropy and its gradient, for vectors of images."""

from __future__ import annotations

import math
from typing import Any

from numba import types

from cnncli.kernels.kernel import at, kernel
from cnncli.kernels.simd import LANES, pointer


@kernel
def softmax(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write probs[lane, k] = exp(z[k] - max z) / sum of them.

    Words: z (3), probs (3) as rows of K numbers, K.
    """
    z = pointer(at(d, 0, task, worker), real)
    probs = pointer(at(d, 3, task, worker), real)
    classes = d[6]
    for lane in range(LANES):
        largest = z[lane]
        for k in range(1, classes):
            largest = max(largest, z[k * LANES + lane])
        total = type(real)(0)
        for k in range(classes):
            power = math.exp(z[k * LANES + lane] - largest)
            probs[lane * classes + k] = power
            total += power
        for k in range(classes):
            probs[lane * classes + k] /= total


@kernel
def softmax_cross_entropy(d: Any, task: Any, worker: Any, real: Any) -> None:
    """Write the loss of each image, whether its largest logit is its label's, and dz = (softmax(z) - onehot) * share.

    loss = log(sum exp(z - max z)) - (z[label] - max z): no logarithm of a small probability (Goodfellow et al. 2016,
    Deep Learning, section 6.2.2.3). Lanes whose label is negative are padding: loss 0, gradient 0.

    Words: z (3), dz (3), labels int64 (3), losses float64 (3), hits int64 (3), share (3), K.
    """
    z = pointer(at(d, 0, task, worker), real)
    dz = pointer(at(d, 3, task, worker), real)
    labels = pointer(at(d, 6, task, worker), types.int64(0))
    losses = pointer(at(d, 9, task, worker), types.float64(0))
    hits = pointer(at(d, 12, task, worker), types.int64(0))
    share = pointer(at(d, 15, task, worker), real)[0]
    classes = d[18]
    for lane in range(LANES):
        label = labels[lane]
        if label < 0:
            losses[lane] = 0.0
            hits[lane] = 0
            for k in range(classes):
                dz[k * LANES + lane] = type(real)(0)
            continue
        winner = 0
        largest = z[lane]
        for k in range(1, classes):
            if z[k * LANES + lane] > largest:
                largest = z[k * LANES + lane]
                winner = k
        own = z[label * LANES + lane] - largest
        total = type(real)(0)
        for k in range(classes):
            power = math.exp(z[k * LANES + lane] - largest)
            dz[k * LANES + lane] = power
            total += power
        losses[lane] = math.log(total) - own
        hits[lane] = 1 if winner == label else 0
        for k in range(classes):
            target = type(real)(1) if k == label else type(real)(0)
            dz[k * LANES + lane] = (dz[k * LANES + lane] / total - target) * share
