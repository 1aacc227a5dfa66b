"""What a training will take, measured on its first steps: speed, time and memory."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cnncli.tasks.train.events import Forecast
from cnncli.tasks.train.plan import TrainingPlan

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_STEPS = 3


def forecast(plan: TrainingPlan, make_session: Callable[[TrainingPlan], Session], epochs_done: float = 0.0) -> Forecast:
    """Take one step to warm up and three that are timed, evaluate one batch, and write nothing.

    The time is that of the epochs that are not done. The memory is the most that this process has held until then: all
    buffers are in use after a step.
    """
    session = make_session(plan)
    best = [array.copy() for array in session.named().values()]  # as a run keeps them
    size, times = plan.options.batch_size, []
    for step in range(1 + _STEPS):
        chosen = plan.order[:size]
        begun = time.perf_counter()
        images, labels, places = plan.batch(chosen, 1)
        session.train_batch(images, labels, places, plan.lr, (1, step))
        times.append(time.perf_counter() - begun)
    step_s = statistics.median(times[1:])
    speed = len(chosen) / step_s
    part = plan.train.first(size)
    session.evaluate(part.images, part.labels)
    begun = time.perf_counter()
    session.evaluate(part.images, part.labels)
    evaluation_s = (time.perf_counter() - begun) / len(part)
    epoch_s = plan.steps * step_s + len(plan.validation) * evaluation_s
    del best
    return Forecast(
        images_per_s=speed,
        epoch_s=epoch_s,
        total_s=max(plan.epochs - epochs_done, 0) * epoch_s + len(plan.test) * evaluation_s,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    )
