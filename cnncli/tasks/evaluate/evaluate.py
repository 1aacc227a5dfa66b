"""Measure a network on labelled images: a generator that prints nothing; its last event is the evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import NumericError
from cnncli.io.datasets.dataset import Split
from cnncli.tasks.evaluate import scores

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_BATCHES = 16  # of images between two reports of progress


@dataclass(frozen=True)
class Examining:
    """How many images are done."""

    done: int
    images: int


@dataclass(frozen=True)
class Mistake:
    """An image that got a wrong answer.

    Attributes
    ----------
    image : int
        Its place among the images, from 0.
    truth, answered : int
        Classes.
    prob, truth_prob : float
        What the network gave to its answer, and to the class of the image.
    loss : float
    """

    image: int
    truth: int
    answered: int
    prob: float
    truth_prob: float
    loss: float


@dataclass(frozen=True)
class Evaluation:
    """What a network makes of N labelled images.

    Attributes
    ----------
    classes : tuple of str
        One name per class, label or target number.
    loss_name : str
        As in `cnncli.engine.losses`.
    labels : ndarray of int64 (N,) or float64 (N, K)
        As in a `Split`.
    losses : ndarray of float64 (N,)
    hits : ndarray of int64 (N,)
        1 where the answer is correct; for several labels, where all of them are.
    answers, logits : ndarray (N, K)
        As `Session.answer` returns them.
    """

    classes: tuple[str, ...]
    loss_name: str
    labels: NDArray[Any]
    losses: NDArray[np.float64]
    hits: NDArray[np.int64]
    answers: NDArray[Any]
    logits: NDArray[Any]

    @property
    def kind(self) -> str:
        """Return ``classes``, ``labels`` (several of them may hold at once) or ``numbers``."""
        if self.loss_name == "mse":
            return "numbers"
        is_single = self.loss_name == "cross_entropy" or (self.answers.shape[1] == 1 and len(self.classes) == 2)
        return "classes" if is_single else "labels"

    @property
    def images(self) -> int:
        """Return how many images were measured."""
        return len(self.losses)

    @cached_property
    def loss(self) -> float:
        """The mean loss, from the exact sum, as training reports it."""
        return math.fsum(self.losses) / self.images

    @property
    def acc(self) -> float | None:
        """Return the share of correct answers; None for numbers, which are near or far but not right or wrong."""
        return None if self.kind == "numbers" else int(self.hits.sum()) / self.images

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """The class of each image, (N,)."""
        return np.asarray(self.labels).reshape(self.images).astype(np.int64)

    @cached_property
    def answered(self) -> NDArray[np.int64]:
        """The class that the network answers, (N,): of the largest logit, or the sign of the only one."""
        if self.logits.shape[1] == 1:
            return (self.logits[:, 0] > 0).astype(np.int64)
        largest: NDArray[np.int64] = self.logits.argmax(1)
        return largest

    @cached_property
    def probs(self) -> NDArray[Any]:
        """The probability of each class, (N, K), that of the second one alone being stored for a single unit."""
        if self.answers.shape[1] == 1:
            return np.concatenate([1 - self.answers, self.answers], axis=1)
        return self.answers

    @cached_property
    def confusion(self) -> NDArray[np.int64] | None:
        """Images by class (row) and answer (column), (K, K); None where an image has not exactly one class."""
        if self.kind != "classes":
            return None
        return scores.confusion_of(self.truth, self.answered, len(self.classes))

    @cached_property
    def per_class(self) -> list[scores.ClassScore]:
        """Counts of each class or label; empty for numbers."""
        if self.kind == "numbers":
            return []
        if self.confusion is not None:
            return scores.class_scores(self.confusion, self.classes)
        return scores.label_scores(self.labels > 0.5, self.logits > 0, self.classes)

    def top_k_acc(self, k: int) -> float:
        """Return the share of images whose class is among the `k` most probable ones."""
        return scores.top_k_hits(self.logits, self.truth, k) / self.images

    def worst(self, count: int) -> list[Mistake]:
        """Return the mistakes with the largest losses; none where an image has not exactly one class."""
        if self.kind != "classes":
            return []
        wrong = np.flatnonzero(self.hits == 0)
        order = wrong[np.argsort(-self.losses[wrong], kind="stable")][:count].tolist()
        found = []
        for image in order:
            truth, answered = int(self.truth[image]), int(self.answered[image])
            prob, truth_prob = (float(self.probs[image, which]) for which in (answered, truth))
            found.append(Mistake(image, truth, answered, prob, truth_prob, float(self.losses[image])))
        return found


def evaluate(
    session: Session, split: Split, classes: tuple[str, ...], loss_name: str, where: str
) -> Iterator[Examining | Evaluation]:
    """Yield progress, and at the end the evaluation of the images of a split.

    Parameters
    ----------
    session : Session
        With the weights in it.
    split : Split
        One image or more; labels are classes of `classes`, or rows of numbers.
    classes : tuple of str
    loss_name : str
        The loss of the session.
    where : str
        Name of the checkpoint, for messages.

    Raises
    ------
    NumericError
        The network answers with something that is no number.
    """
    parts = []
    size = _BATCHES * session.batch_size
    for start in range(0, len(split), size):
        yield Examining(start, len(split))
        found = session.examine(split.images[start : start + size], split.labels[start : start + size])
        bad = ~(np.isfinite(found.losses) & np.isfinite(found.answers).all(1))
        if bad.any():
            message = f"the network answers image {start + int(bad.argmax())} with NaN or infinity"
            raise NumericError(message, where=where, hint="train it again with a lower --lr")
        parts.append(found)
    yield Evaluation(
        classes,
        loss_name,
        split.labels,
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("losses", "hits", "answers", "logits")),
    )
