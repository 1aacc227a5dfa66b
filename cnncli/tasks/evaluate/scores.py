"""Figures of merit from answers and labels: counts first, shares of counts after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


@dataclass(frozen=True)
class ClassScore:
    """One class, or one label of several.

    Attributes
    ----------
    name : str
    images : int
        Of this class.
    correct : int
        Of them found.
    answered : int
        Images for which the network said this class.
    """

    name: str
    images: int
    correct: int
    answered: int

    @property
    def precision(self) -> float | None:
        """Return the share of the answers with this class that are right; None without such answers."""
        return self.correct / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        """Return the share of the images of this class that were found; None without such images."""
        return self.correct / self.images if self.images else None

    @property
    def f1(self) -> float | None:
        """Return the harmonic mean of precision and recall; None where there are neither images nor answers."""
        both = self.images + self.answered
        return 2 * self.correct / both if both else None


def confusion_of(truth: NDArray[np.int64], answered: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the counts int64 (K, K) of images by class (row) and answer (column)."""
    return np.bincount(truth * classes + answered, minlength=classes * classes).reshape(classes, classes)


def class_scores(confusion: NDArray[np.int64], names: Sequence[str]) -> list[ClassScore]:
    """Return one score per class of a confusion matrix."""
    rows, columns, found = confusion.sum(1).tolist(), confusion.sum(0).tolist(), confusion.diagonal().tolist()
    return [ClassScore(*one) for one in zip(names, rows, found, columns, strict=True)]


def label_scores(truth: NDArray[np.bool_], answered: NDArray[np.bool_], names: Sequence[str]) -> list[ClassScore]:
    """Return one score per label of images that may have several; both arrays are (N, K)."""
    counts = (truth.sum(0).tolist(), (truth & answered).sum(0).tolist(), answered.sum(0).tolist())
    return [ClassScore(*one) for one in zip(names, *counts, strict=True)]


def macro(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that exist, every class counting the same; None without any."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def top_k_hits(logits: NDArray, truth: NDArray[np.int64], k: int) -> int:
    """Return for how many rows the true class is among the `k` with the largest logits.

    Among equal logits the class with the smaller number comes first, as everywhere in cnn.
    """
    own = logits[np.arange(len(truth)), truth][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < truth[:, None]))
    return int((before.sum(1) < k).sum())


def interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share from `hits` of `count` independent images.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> [round(bound, 4) for bound in interval(95, 100)]
    [0.8882, 0.9785]
    """
    share, z2 = hits / count, _Z * _Z / count
    middle = share + z2 / 2
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    # at both ends the bound is exact, which rounding would miss
    low = (middle - half) / (1 + z2) if hits else 0.0
    return low, (middle + half) / (1 + z2) if hits < count else 1.0


def area_under_roc(scores: NDArray, truth: NDArray[np.bool_]) -> float | None:
    """Return the share of pairs of a positive and a negative image in which the positive one has the larger score.

    Equal scores count one half (Mann and Whitney 1947, doi:10.1214/aoms/1177730491). None where one kind is missing.
    """
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
