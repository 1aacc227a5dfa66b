"""How long each step of a plan takes by itself, and the most multiply-adds that the machine does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from cnncli.compute.arguments import Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op, OpSequence, Program
from cnncli.engine.layout import Layout
from cnncli.engine.weights import initial_values
from cnncli.kernels.peak import CHAINS
from cnncli.layers.recording import Bound, Step, Value
from cnncli.model import Model
from cnncli.optim.optimizers import OPTIMIZERS, Recipe

_PEAK_ROUNDS = 500_000  # of the loop in registers: some milliseconds


@dataclass(frozen=True)
class StepTime:
    """One step, done for the whole batch.

    Parameters
    ----------
    node : int
        Index of the node it belongs to; -1: the images, the loss, the optimizer.
    name : str
        Node and what is done: ``conv1 dweight``.
    absorbed : tuple of str
        What the step does besides.
    seconds : float
        The median of the rounds, without the least that waking the threads took.
    bytes : int
        Of the feature maps that it reads and writes; the optimizer's of all its vectors.
    """

    node: int
    name: str
    absorbed: tuple[str, ...]
    seconds: float
    bytes: int


def time_steps(
    model: Model, *, batch_size: int, threads: int, recipe: Recipe | None, seconds: float = 1.0, fewest: int = 3
) -> list[StepTime]:
    """Return how long every step of training (or, without a recipe, of prediction) takes on random images.

    Each step runs for all blocks of images before the next one begins, so that it can be timed; its input then comes
    from memory where the batch is larger than the cache, so the sum is above what the steps take together.

    Parameters
    ----------
    seconds, fewest : float, int
        Rounds over all steps: for so long, and at least so many after one that does not count.
    """
    layout = Layout(model, batch_size, threads, recipe, "float32", is_stepwise=True)
    images = _prepare(layout, model, batch_size)
    bound = layout.answer if layout.training is None else layout.training
    for phase in bound.prologue:
        Program([phase], threads).run()
    programs = [(step, Program(bound.alone(step), threads)) for step in bound.steps()]
    if layout.update is not None:
        phases = [*([one] for one in layout.update.before), [layout.update.sequence]]
        programs.append((Step("optimizer", (), (), _nothing), Program(phases, threads)))
        layout.update.begin(1e-6)
    nothing = Program([[OpSequence((), threads)]], threads)
    times: list[list[float]] = [[] for _ in programs]
    idle: list[float] = []
    begin, rounds = time.perf_counter(), -1
    while rounds < fewest or time.perf_counter() - begin < seconds:
        idle.append(_timed(nothing))
        for found, (_, program) in zip(times, programs, strict=True):
            found.append(_timed(program))
        rounds += 1
    del images  # the programs know only the address
    waking = min(idle)
    size = -(-batch_size // LANES) * LANES * 4
    # the optimizer reads gradients, and reads and writes parameters and vectors of its own
    update = 4 * model.parameter_count * (3 + 2 * len(OPTIMIZERS[recipe.name].vectors)) if recipe else 0
    return [
        StepTime(
            node=step.node,
            name=step.name,
            absorbed=step.absorbed,
            seconds=max(0.0, statistics.median(found[1:]) - waking),
            bytes=update if step.name == "optimizer" else size * sum(map(_numbers, (*step.reads, *step.writes))),
        )
        for found, (step, _) in zip(times, programs, strict=True)
    ]


def _nothing(_: Bound) -> list[Op]:
    return []


def _numbers(value: Value) -> int:
    return prod(value.shape)


def _timed(program: Program) -> float:
    begin = time.perf_counter()
    program.run()
    return time.perf_counter() - begin


def _prepare(layout: Layout, model: Model, count: int) -> np.ndarray:
    """Fill in weights, images and labels; return the images, which have to stay."""
    random = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    layout.weights.values[: model.parameter_count] = initial_values(model.slots, 0)
    layout.weights.statistics[: model.non_trainable_count] = initial_values(model.state_slots, 0)
    layout.source[0] = images.ctypes.data
    layout.picks[:count], layout.picks[count:] = np.arange(count), count - 1
    layout.normalise((0.5,), (0.25,))
    layout.labels[:count] = 0
    layout.share[0], layout.signals.count[0] = 1 / count, count
    return images


def peak_gflops(threads: int, seconds: float = 0.2) -> float:
    """Return the most float32 GFLOP/s of multiply-adds that all threads together do in registers; one is two FLOP."""
    start = np.random.default_rng(0).uniform(0.1, 0.9, (2 + CHAINS) * LANES).astype(np.float32)
    out = np.zeros(threads * LANES, np.float32)
    operands = {"start": Operand(start), "out": Operand(out, task_step=LANES), "rounds": _PEAK_ROUNDS}
    program = Program([[OpSequence((Op("peak.multiply_add", operands),), threads)]], threads)
    return 2 * CHAINS * LANES * _PEAK_ROUNDS * threads / min(_rounds(program, seconds)) / 1e9


def _rounds(program: Program, seconds: float) -> Iterator[float]:
    begin = time.perf_counter()
    yield _timed(program)
    while time.perf_counter() - begin < seconds:
        yield _timed(program)
