"""Classify pictures with a checkpoint: a generator of predictions and failures that prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError, NumericError
from cnncli.io.checkpoint import Checkpoint, check_parameters, target_scale_of
from cnncli.io.images.image import Image
from cnncli.model import Model, parse_model
from cnncli.tasks.predict.fit_picture import fit_picture

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_AT_ONCE = 256  # pictures decoded before the network sees them


@dataclass(frozen=True)
class Prediction:
    """The answer of the network for one picture.

    Attributes
    ----------
    path : str
        As the user typed it.
    order : ndarray of int64, (K,)
        Classes from the most to the least probable.
    probs : ndarray of float, (K,)
        Probabilities by class.
    classes : tuple of str
        Names of the classes.
    notes : tuple of str
        What was done to the picture.
    targets : str
        As in a `Dataset`: the network chose among classes, or `probs` are those of labels that may apply together, or
        numbers that it estimates.
    logits : ndarray of float, (K,) or (1,), optional
        The values before the softmax or sigmoid.
    """

    path: str
    order: NDArray[np.int64]
    probs: NDArray[Any]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    targets: str = "classes"
    logits: NDArray[Any] | None = None

    @property
    def index(self) -> int:
        """Return the most probable class."""
        return int(self.order[0])

    @property
    def label(self) -> str:
        """Return the name of the most probable class."""
        return self.classes[self.index]

    def is_sure(self, threshold: float) -> bool:
        """Return whether the most probable class has a probability of `threshold` or more."""
        return bool(self.probs[self.index] >= threshold)

    def applying(self) -> list[str]:
        """Return the labels with a probability of one half or more."""
        return [name for name, prob in zip(self.classes, self.probs, strict=True) if prob >= 0.5]

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return names and probabilities of the most probable classes."""
        return [(self.classes[i], float(self.probs[i])) for i in self.order[:count]]


@dataclass(frozen=True)
class FailedPicture:
    """A picture that could not be read, or to which the network has no answer."""

    path: str
    error: CnnError


def checkpoint_model(checkpoint: Checkpoint, where: str) -> Model:
    """Return the network of a checkpoint whose weights are exactly those of its architecture.

    Raises
    ------
    InvalidInputError
        Architecture, input, class names and weights do not fit each other.
    """
    classes = len(checkpoint.classes)
    try:
        model = parse_model(checkpoint.architecture, where, input_shape=checkpoint.preprocessing.shape, classes=classes)
    except CnnError as error:
        hint = "take another copy, or the other checkpoint of the run"
        message = f"its architecture cannot be used ({error.message})"
        raise InvalidInputError(message, where=where, hint=hint) from None
    is_one_of_two = classes == 2 and model.output_shape == (1,)
    if model.output_shape != (classes,) and not is_one_of_two:
        message = f"{classes} class names for an output of {model.output_shape}"
        raise InvalidInputError(message, where=where, hint="take another copy of the checkpoint")
    slots = (*model.slots, *model.state_slots)
    check_parameters(checkpoint, {slot.name: slot.shape for slot in slots}, where)
    return model


def load_weights(session: Session, checkpoint: Checkpoint) -> None:
    """Copy the weights of a checkpoint into the engine; `checkpoint_model` has checked that they fit."""
    for name, view in session.named().items():
        view[...] = checkpoint.parameters[name]


def make_engine_session(model: Model, checkpoint: Checkpoint, *, batch_size: int, threads: int) -> Session:
    """Return the compiled engine for prediction, with the loss of the training."""
    from cnncli.engine.losses import Objective  # imports numba, so not before it is needed
    from cnncli.engine.session import Session

    mean, std = target_scale_of(checkpoint, model.name)
    prep, goal = checkpoint.preprocessing, Objective(loss_of(model, checkpoint), target_mean=mean, target_std=std)
    return Session(model, batch_size=batch_size, threads=threads, mean=prep.mean, std=prep.std, objective=goal)


def loss_of(model: Model, checkpoint: Checkpoint) -> str:
    """Return the name of the loss of a checkpoint: the one it says, or the one that suits the end of its network."""
    from cnncli.engine.losses import LOSSES, Objective, loss_name

    said = checkpoint.training.get("loss")
    return loss_name(model, Objective(said if said in LOSSES else "auto"))


def predict(
    checkpoint: Checkpoint,
    start: Callable[[], Session],
    paths: Sequence[str],
    read: Callable[[str], Image],
    *,
    invert: str = "auto",
) -> Iterator[Prediction | FailedPicture]:
    """Yield a prediction or a failure for every path, in order.

    Parameters
    ----------
    checkpoint : Checkpoint
        Class names and preprocessing.
    start : callable
        Returns the engine with the checkpoint's weights in it. Called when the first picture has been read, so that a
        wrong name is reported before anything is compiled.
    paths : sequence of str
        What `read` takes.
    read : callable
        Reads and decodes one picture, or raises CnnError.
    invert : str
        As in `fit_picture`.
    """
    session: Session | None = None
    for first in range(0, len(paths), _AT_ONCE):
        group: list[tuple[str, NDArray[np.uint8] | None, tuple[str, ...], CnnError | None]] = []
        for path in paths[first : first + _AT_ONCE]:
            try:
                fitted = fit_picture(read(path), checkpoint.preprocessing, invert, path)
                group.append((path, fitted.pixels, fitted.notes, None))
            except CnnError as error:
                group.append((path, None, (), error))
        pixels = [picture for _, picture, _, _ in group if picture is not None]
        if pixels and session is None:
            session = start()
        rows = zip(*session.answer(np.stack(pixels)), strict=True) if session is not None and pixels else iter(())
        for path, _, notes, failed in group:
            if failed is not None:
                yield FailedPicture(path, failed)
            else:
                yield _answer(path, *next(rows), checkpoint, notes)


def _answer(
    path: str, probs: NDArray[Any], logits: NDArray[Any], checkpoint: Checkpoint, notes: tuple[str, ...]
) -> Prediction | FailedPicture:
    if not np.isfinite(probs).all():
        hint = "its weights are too large for float32; train it again with a lower --lr"
        return FailedPicture(path, NumericError("the network answers with NaN", where=path, hint=hint))
    classes, targets = checkpoint.classes, str(checkpoint.training.get("targets", "classes"))
    if len(probs) < len(classes):  # one unit of binary cross-entropy: the probability of the second of two classes
        probs = np.array([1 - probs[0], probs[0]])
    # the order of the logits: probabilities of 1.0 may be equal where they are not
    order = np.argsort(-(logits if len(logits) == len(probs) else np.array([0, logits[0]])), kind="stable")
    return Prediction(path, order, probs, classes, notes, targets, logits)
