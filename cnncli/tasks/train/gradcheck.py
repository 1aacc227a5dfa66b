"""Gradients of a network against differences of its loss, in float64, on its own data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import NumericError
from cnncli.tasks.train.events import CheckRow
from cnncli.tasks.train.plan import TrainingPlan

_IMAGES = 8
_DIRECTIONS = 2
_STEPS = (1e-6, 1e-7, 1e-8)  # a smaller one where a kink of ReLU or of a maximum lies between the two points
_LIMIT = 1e-4
_SMALLEST = 1e-6  # derivatives below it are compared as if they were of this size


def check_gradients(plan: TrainingPlan) -> Iterator[CheckRow]:
    r"""Compare the gradient of each parameter array with central differences along random directions.

    For a direction :math:`v` of signs, :math:`g \cdot v` with
    :math:`(L(\theta + h v) - L(\theta - h v)) / 2 h`; dropout keeps its mask, and batch normalisation normalises with
    the batch, as in training. The error is relative to the larger of both.

    Raises
    ------
    NumericError
        An error above 1e-4; the rows before it name the array.
    """
    loss_of, values, gradients = _engine(plan)
    random, failed = np.random.default_rng(plan.options.seed), []
    worst, loss_of_all = 0.0, loss_of()
    analytic = gradients.copy()
    for slot in plan.model.slots:
        place = slice(slot.offset, slot.offset + slot.size)
        error = 0.0
        for _ in range(_DIRECTIONS):
            signs = random.choice((-1.0, 1.0), slot.size)
            error = max(error, _error(loss_of, values[place], signs, float(analytic[place] @ signs)))
        worst = max(worst, error)
        if error > _LIMIT:
            failed.append(slot.name)
        yield CheckRow("gradient", {"array": slot.name, "numbers": slot.size, "error": error})
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        message = f"gradients differ from differences of the loss by up to {worst:.1e}: {', '.join(failed[:3])}{more}"
        raise NumericError(message, where=plan.model.name, hint=f"the limit is {_LIMIT:g}; report it as a fault of cnn")
    figures = {"arrays": len(plan.model.slots), "loss": loss_of_all, "largest_error": worst, "limit": _LIMIT}
    yield CheckRow("gradients agree", figures, is_result=True)


def _engine(plan: TrainingPlan) -> tuple[Callable[[], float], NDArray[np.float64], NDArray[np.float64]]:
    """Return a function for the mean loss of a few images, the parameters, and the gradient of its last call."""
    from cnncli.engine.session import Session

    options, data = plan.options, plan.data
    images, labels, places = plan.batch(plan.order[: min(_IMAGES, options.batch_size)], 1)
    mean, std = plan.target_scale
    if std:  # by hand: gradients are those of the loss of what is learnt
        labels = (labels - np.array(mean)) / np.array(std)
    session = Session(
        plan.model,
        batch_size=len(places),
        threads=options.threads,
        optimizer="sgd",
        objective=replace(plan.objective, target_mean=(), target_std=()),
        seed=options.seed,
        mean=data.mean,
        std=data.std,
        dtype="float64",
    )
    for name, array in session.named().items():
        if name in plan.initial:
            array[...] = plan.initial[name]
    weights = len(places) if plan.class_weights is None else sum(plan.class_weights[k] for k in labels[places])

    def loss_of() -> float:
        return session.train_batch(images, labels, places, 0.0, (1, 0))[0] / weights  # a rate of 0 changes nothing

    return loss_of, session.parameters, session.gradients


def _error(
    loss_of: Callable[[], float], values: NDArray[np.float64], signs: NDArray[np.float64], exact: float
) -> float:
    before, errors = values.copy(), []
    for step in _STEPS:
        values[:] = before + step * signs
        above = loss_of()
        values[:] = before - step * signs
        difference = (above - loss_of()) / (2 * step)
        values[:] = before
        errors.append(abs(difference - exact) / max(abs(difference), abs(exact), _SMALLEST))
        if errors[-1] <= _LIMIT:
            break
    return min(errors)
