"""Losses with the activation that belongs to them, and answers as rows of numbers, one row per image.

Every loss is computed from logits in float64, without a logarithm of a probability (Goodfellow et al. 2016, Deep
Learning, section 6.2.2.3), so that it is finite for all finite logits whose difference a float64 holds. Lanes whose
label is negative are padding: loss 0, gradient 0. `share` is the factor of the gradients.
"""

from __future__ import annotations

import math

import numpy as np

from cnncli.compute.arguments import Float64s, Int64s, Real, Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES


@kernel
def softmax_rows(z: Reals, rows: Reals, classes: int, lanes: int, real: Real) -> None:
    """Write rows[lane, k] = exp(z[k] - max z) / sum of them, z[k] in so many lanes."""
    for lane in range(lanes):
        largest = z[lane]
        for k in range(1, classes):
            largest = max(largest, z[k * lanes + lane])
        total = type(real)(0)
        for k in range(classes):
            power = math.exp(z[k * lanes + lane] - largest)
            rows[lane * classes + k] = power
            total += power
        for k in range(classes):
            rows[lane * classes + k] /= total


@kernel
def sigmoid_rows(z: Reals, rows: Reals, classes: int, lanes: int, real: Real) -> None:
    """Write rows[lane, k] = 1 / (1 + exp(-z[k])), by way of exp(-|z[k]|), which cannot overflow."""
    one = type(real)(1)
    for lane in range(lanes):
        for k in range(classes):
            logit = z[k * lanes + lane]
            power = math.exp(-abs(logit))
            rows[lane * classes + k] = (one if logit >= 0 else power) / (one + power)


@kernel
def value_rows(z: Reals, rows: Reals, classes: int, lanes: int) -> None:
    """Write rows[lane, k] = z[k]."""
    for lane in range(lanes):
        for k in range(classes):
            rows[lane * classes + k] = z[k * lanes + lane]


@kernel
def softmax_cross_entropy(
    z: Reals,
    dz: Reals,
    labels: Int64s,
    weights: Float64s,
    losses: Float64s,
    hits: Int64s,
    share: Reals,
    classes: int,
    smoothing: float,
    real: Real,
) -> None:
    """Write the loss of each image, whether its largest logit is its label's, and dz = (sum(t) softmax(z) - t) * share.

    loss = -sum over c of t_c log softmax(z)_c with t_c = weights[c] * (smoothing / K + (1 - smoothing) [c = label]),
    K classes: PyTorch's CrossEntropyLoss before the mean. Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
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
        total = type(real)(0)
        mass = linear = 0.0
        for k in range(classes):
            below = z[k * LANES + lane] - largest
            power = math.exp(below)
            dz[k * LANES + lane] = power
            total += power
            target = weights[k] * (smoothing / classes + ((1.0 - smoothing) if k == label else 0.0))
            mass += target
            if target != 0.0:
                linear += target * (np.float64(z[k * LANES + lane]) - np.float64(largest))
        losses[lane] = mass * math.log(np.float64(total)) - linear
        # a NaN is no answer: it compares as larger than nothing
        hits[lane] = 1 if winner == label and not math.isnan(total) else 0
        for k in range(classes):
            target = weights[k] * (smoothing / classes + ((1.0 - smoothing) if k == label else 0.0))
            dz[k * LANES + lane] = (type(real)(mass) * (dz[k * LANES + lane] / total) - type(real)(target)) * share[0]


@kernel
def sigmoid_cross_entropy(
    z: Reals,
    dz: Reals,
    labels: Int64s,
    targets: Reals,
    losses: Float64s,
    hits: Int64s,
    share: Reals,
    classes: int,
    real: Real,
) -> None:
    """Write the loss of each image, whether every unit is right, and dz = (sigmoid(z) - target) / units * share.

    loss = mean over units of max(z, 0) - z * target + log(1 + exp(-|z|)): PyTorch's BCEWithLogitsLoss before the mean
    over images. `targets` are rows of numbers from 0 to 1, (LANES, classes). A unit says 1 where sigmoid(z) > 0.5.
    """
    for lane in range(LANES):
        loss = 0.0
        right = 1 if labels[lane] >= 0 else 0
        for k in range(classes):
            logit, target = z[k * LANES + lane], targets[lane * classes + k]
            power = math.exp(-abs(logit))
            probability = (type(real)(1) if logit >= 0 else power) / (type(real)(1) + power)
            if labels[lane] < 0:
                dz[k * LANES + lane] = type(real)(0)
                continue
            wide = np.float64(logit)
            loss += max(wide, 0.0) - wide * np.float64(target) + math.log1p(math.exp(-abs(wide)))
            if math.isnan(wide) or (logit > 0) != (target > type(real)(0.5)):
                right = 0
            dz[k * LANES + lane] = (probability - target) * (share[0] / type(real)(classes))
        losses[lane] = loss / classes
        hits[lane] = right


@kernel
def squared_error(
    z: Reals,
    dz: Reals,
    labels: Int64s,
    targets: Reals,
    scale: Float64s,
    losses: Float64s,
    hits: Int64s,
    share: Reals,
    classes: int,
    real: Real,
) -> None:
    """Write the loss of each image, mean over units of (scale (z - target))^2, and dz = 2 (z - target) / units * share.

    `targets` are rows (LANES, classes), `scale` (classes,) is the unit in which they are measured: the loss is in the
    units of the data, the gradient that of scale 1. No answer is right or wrong: hits are 0.
    """
    for lane in range(LANES):
        loss = 0.0
        for k in range(classes):
            error = z[k * LANES + lane] - targets[lane * classes + k]
            if labels[lane] < 0:
                error = type(real)(0)
            dz[k * LANES + lane] = error * (type(real)(2) * share[0] / type(real)(classes))
            if labels[lane] >= 0:
                wide = scale[k] * (np.float64(z[k * LANES + lane]) - np.float64(targets[lane * classes + k]))
                loss += wide * wide
        losses[lane] = loss / classes
        hits[lane] = 0
