"""Softmax of vectors of images as rows of probabilities, and softmax with cross-entropy and its gradient."""

from __future__ import annotations

import math

from cnncli.kernels.arguments import Float64s, Int64s, Real, Reals
from cnncli.kernels.kernel import kernel
from cnncli.kernels.simd import LANES


@kernel
def softmax_rows(z: Reals, rows: Reals, classes: int, real: Real) -> None:
    """Write rows[lane, k] = exp(z[k] - max z) / sum of them."""
    for lane in range(LANES):
        largest = z[lane]
        for k in range(1, classes):
            largest = max(largest, z[k * LANES + lane])
        total = type(real)(0)
        for k in range(classes):
            power = math.exp(z[k * LANES + lane] - largest)
            rows[lane * classes + k] = power
            total += power
        for k in range(classes):
            rows[lane * classes + k] /= total


@kernel
def softmax_cross_entropy(
    z: Reals, dz: Reals, labels: Int64s, losses: Float64s, hits: Int64s, share: Reals, classes: int, real: Real
) -> None:
    """Write the loss of each image, whether its largest logit is its label's, and dz = (softmax(z) - onehot) * share.

    loss = log(sum exp(z - max z)) - (z[label] - max z): no logarithm of a small probability (Goodfellow et al. 2016,
    Deep Learning, section 6.2.2.3). Lanes whose label is negative are padding: loss 0, gradient 0.
    """
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
        # a NaN is no answer: it compares as larger than nothing
        hits[lane] = 1 if winner == label and not math.isnan(total) else 0
        for k in range(classes):
            target = type(real)(1) if k == label else type(real)(0)
            dz[k * LANES + lane] = (dz[k * LANES + lane] / total - target) * share[0]
