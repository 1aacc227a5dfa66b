"""Can the network learn one batch by heart? If not, something is wrong with the network, the labels or the rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cnncli.errors import MismatchError, NumericError
from cnncli.tasks.train.events import CheckRow
from cnncli.tasks.train.plan import TrainingPlan

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_STEPS = 500
_ROW_EVERY = 25
_SHARE_OF_LOSS = 0.05  # that is left of the first loss, where there is no accuracy


def overfit_batch(plan: TrainingPlan, make_session: Callable[[TrainingPlan], Session]) -> Iterator[CheckRow]:
    """Train on the first batch alone until every answer is right, with the learning rate as it is; write nothing.

    Targets that are numbers have no right answers: then a twentieth of the first loss is enough.

    Raises
    ------
    MismatchError
        500 steps were not enough.
    NumericError
        The loss is not finite.
    """
    session = make_session(plan)
    images, labels, places = plan.batch(plan.order[: plan.options.batch_size], 1)
    count, has_hits, first = len(places), plan.data.targets != "numbers", 0.0
    for step in range(1, _STEPS + 1):
        total, hits = session.train_batch(images, labels, places, plan.lr, (1, step))
        loss = total / count
        if not math.isfinite(loss):
            message = f"loss became {loss} at step {step} of one batch (lr {plan.lr:g})"
            raise NumericError(message, hint=f"try --lr {plan.lower_lr:g}")
        first = first or loss
        is_learnt = hits == count if has_hits else loss <= _SHARE_OF_LOSS * first
        if is_learnt or step == 1 or step % _ROW_EVERY == 0:
            right = {"right": hits} if has_hits else {}
            yield CheckRow("overfit", {"step": step, "loss": loss, **right, "images": count}, is_result=is_learnt)
        if is_learnt:
            return
    what = f"{hits} of {count} right, loss" if has_hits else "loss"
    message = f"one batch is not learnt by heart in {_STEPS} steps: {what} {first:.4g} -> {loss:.4g}"
    raise MismatchError(message, hint=f"try another --lr (now {plan.lr:g}); then look at the network and the labels")
