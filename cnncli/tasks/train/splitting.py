"""What follows from seed and labels: the validation images, the order of the others, weights and scale of targets."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import UsageError
from cnncli.model import Model

# Every random number of a run is drawn from (seed, purpose, ...): no state is carried, so a run can resume anywhere.
_SPLIT, _ORDER = 1, 2


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split indices into training and validation with the same share of every class.

    Parameters
    ----------
    labels : ndarray of int64, (N,)
        Read only.
    fraction : float
        Share for validation, 0 <= fraction < 1; ``floor(N * (1 - fraction))`` images stay for training, as with Keras'
        `validation_split`, and the largest remainders of the classes decide who gives one more.
    seed : int
        Of the run.

    Returns
    -------
    training, validation : ndarray of int64
        Ascending indices.

    Raises
    ------
    UsageError
        The fraction is less than half an image, or so large that every image is for validation.
    """
    # the small number keeps 10 * (1 - 0.9) from being 0.9999999999999998
    total = len(labels) - int(len(labels) * (1 - fraction) + 1e-9)
    is_empty = fraction * len(labels) < 0.5
    if fraction > 0 and (is_empty or total == len(labels)):
        left = "0 for validation" if is_empty else "none for training"
        message = f"--val-split {fraction:g} of {len(labels)} images leaves {left}"
        raise UsageError(message, hint="give more images or another fraction; 0 trains without validation")
    classes, counts = np.unique(labels, return_counts=True)
    wanted = counts * (total / max(len(labels), 1))
    take = np.floor(wanted).astype(np.int64)
    rest = np.argsort(take - wanted, kind="stable")[: total - int(take.sum())]
    take[rest] += 1
    chosen = np.zeros(len(labels), np.bool_)
    random = np.random.default_rng([seed, _SPLIT])
    for label, count in zip(classes, take, strict=True):
        chosen[random.permutation(np.flatnonzero(labels == label))[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def epoch_order(indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the training indices in the order of one epoch."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(indices)


def balanced_weights(labels: NDArray[np.int64], classes: int) -> tuple[float, ...]:
    """Return N / (K n) for each class of n of the N labels, K classes being present; 0 for those that are not.

    The weights of all labels add to N, so that the loss keeps its size (scikit-learn's `compute_class_weight`).
    """
    counts = np.bincount(labels, minlength=classes)
    present = int((counts > 0).sum())
    return tuple(len(labels) / (present * int(n)) if n else 0.0 for n in counts)


def target_scale(labels: NDArray, model: Model, loss: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each of K targets (N, K); nothing where they are not to be standardised.

    A network whose last layer has no activation can reach any number, and learns targets of any size alike when they
    are standardised. Behind another last layer, such as a sigmoid, they stay as they are. A target that is the same
    for all images has the deviation 1. The sums are exact: no order of the images changes them.
    """
    if loss != "mse" or not model.nodes or model.nodes[-1].layer.kind != "dense":
        return (), ()
    means, deviations = [], []
    for column in labels.reshape(len(labels), -1).T.astype(np.float64).tolist():
        mean = math.fsum(column) / len(column)
        means.append(mean)
        deviations.append(
            math.sqrt(math.fsum((value - mean) * (value - mean) for value in column) / len(column)) or 1.0
        )
    # numbers beyond float32 end the training with its own message
    return (tuple(means), tuple(deviations)) if all(map(math.isfinite, deviations)) else ((), ())
