"""Images per second of a network on this machine, training and predicting, on random images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cnncli.model import Model

_ROUNDS = 5
_SECONDS = 1.0  # per round, or one step


@dataclass(frozen=True)
class Speed:
    """Medians of five rounds after a warm-up [images/s]."""

    train_images_per_s: float
    infer_images_per_s: float


def measure_speed(model: Model, *, batch_size: int, threads: int) -> Speed:
    """Return how many images per second are trained on (Adam) and predicted, with whole batches of random images."""
    from cnncli.engine.session import Session

    session = Session(model, batch_size=batch_size, threads=threads, optimizer="adam")
    random = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (batch_size, height, width, channels), dtype=np.uint8)
    labels = random.integers(0, model.output_shape[0], batch_size)
    picks = np.arange(batch_size)
    train = _rate(lambda: session.train_batch(images, labels, picks, 1e-4, (0, 0)), batch_size)
    return Speed(train, _rate(lambda: session.predict(images), batch_size))


def _rate(work: Callable[[], object], images: int) -> float:
    work()
    rates = []
    for _ in range(_ROUNDS):
        steps, begin = 0, time.perf_counter()
        while not steps or time.perf_counter() - begin < _SECONDS:
            work()
            steps += 1
        rates.append(steps * images / (time.perf_counter() - begin))
    return statistics.median(rates)
