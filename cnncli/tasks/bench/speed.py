"""What a network does on this machine: images per second, and the time of every layer beside the processor's peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cnncli.errors import CnnError
from cnncli.model import Model, Node
from cnncli.optim.optimizers import Recipe
from cnncli.tasks.free_memory import free_memory

if TYPE_CHECKING:  # the engine imports Numba
    from cnncli.engine.session import Session
    from cnncli.engine.step_times import StepTime

_ROUNDS = 5
_SECONDS = 0.4  # per round, or one step
_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True)
class LayerTime:
    """One pass of a layer over a batch, every step of it by itself with all threads.

    Parameters
    ----------
    name, kind : str
        Of the node; ``images``, ``loss``, ``running statistics`` and ``optimizer`` are no layers.
    which : {"forward", "dweight", "dx", "update"}
        The output, the gradients of the parameters, that of the input, the optimizer and running statistics.
    absorbed : tuple of str
        Work of other layers that is done besides: ``relu``.
    ms : float
    gflops : float or None
        Multiply-adds that the layer's formula counts, two FLOP each [GFLOP/s]; None where there
        are none, or where they are too short to be timed.
    peak_share : float or None
        Of `peak_gflops`; above 1 where Winograd's convolution does fewer.
    bytes : int
        Of feature maps read and written by its steps, and of its parameters.
    """

    name: str
    kind: str
    which: str
    absorbed: tuple[str, ...]
    ms: float
    gflops: float | None
    peak_share: float | None
    bytes: int


@dataclass(frozen=True)
class Rate:
    """Images per second with a number of threads."""

    threads: int
    train_images_per_s: float
    infer_images_per_s: float


@dataclass(frozen=True)
class Speed:
    """Medians of five rounds after a warm-up [images/s], with all threads and with fewer; the time of every layer."""

    train_images_per_s: float
    infer_images_per_s: float
    peak_gflops: float
    scaling: tuple[Rate, ...]
    layers: tuple[LayerTime, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        layers = [
            {"pass" if name == "which" else name: v for name, v in asdict(layer).items()} for layer in self.layers
        ]
        return asdict(self) | {"layers": layers}


def measure_speed(model: Model, *, batch_size: int, threads: int, is_training: bool = True) -> Speed:
    """Return how fast a network is trained (Adam) and predicts, with whole batches of random images.

    Parameters
    ----------
    model : Model
    batch_size, threads : int
        Fewer threads are measured, too: 1, 2, 4, ...
    is_training : bool
        Time the layers of training; otherwise of prediction.

    Raises
    ------
    InvalidInputError
        A layer that cannot be run.
    CnnError
        More memory than this machine has.
    """
    from cnncli.engine.step_times import peak_gflops, time_steps

    recipe = Recipe("adam") if is_training else None
    _check_memory(model, batch_size, threads)
    scaling = tuple(_measured(model, batch_size, count) for count in _thread_counts(threads))
    peak = peak_gflops(threads)
    times = time_steps(model, batch_size=batch_size, threads=threads, recipe=recipe)
    peak = max(peak, peak_gflops(threads))  # before and after: another program may have been in the way
    layers = tuple(_layers(model, times, batch_size, peak))
    return Speed(scaling[-1].train_images_per_s, scaling[-1].infer_images_per_s, peak, scaling, layers)


def _thread_counts(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _check_memory(model: Model, batch_size: int, threads: int) -> None:
    from cnncli.engine.layout import session_bytes

    recipe = Recipe("adam")
    sizes = (
        session_bytes(model, batch_size=batch_size, threads=threads, recipe=recipe, is_stepwise=is_stepwise)
        for is_stepwise in (False, True)
    )
    needed, free = max(sizes) + batch_size * prod(model.input_shape), free_memory()
    if needed > _SHARE_OF_MEMORY * free:
        message = f"this needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise CnnError(message, hint="use a smaller --batch or a smaller network")


def _measured(model: Model, batch_size: int, threads: int) -> Rate:
    from cnncli.engine.session import Session

    session = Session(model, batch_size=batch_size, threads=threads, optimizer="adam")
    random = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (batch_size, height, width, channels), dtype=np.uint8)
    train = _rate(_training(session, images, random), batch_size)
    return Rate(threads, train, _rate(lambda: session.predict(images), batch_size))


def _training(session: Session, images: np.ndarray, random: np.random.Generator) -> Callable[[], object]:
    from cnncli.engine.losses import LOSSES, PLAIN, loss_name

    count, (classes,) = len(images), session.model.output_shape
    is_rows = LOSSES[loss_name(session.model, PLAIN)].has_rows
    labels = random.integers(0, 2, (count, classes)) if is_rows else random.integers(0, classes, count)
    picks = np.arange(count)
    return lambda: session.train_batch(images, labels, picks, 1e-4, (0, 0))


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


def _layers(model: Model, times: list[StepTime], batch_size: int, peak: float) -> Iterator[LayerTime]:
    """Yield one entry per layer and pass: forwards, backwards, what changes the parameters."""
    found: dict[tuple[int, str, str], list[StepTime]] = {}
    is_backward = False
    for step in times:
        is_backward |= step.name == "loss"
        which = _pass(step, is_backward)
        name = model.nodes[step.node].name if step.node >= 0 else step.name
        if step.node >= 0 and which == "update":
            name = "running statistics"
        found.setdefault((_place(step, which, len(model.nodes)), name, which), []).append(step)
    for (_, name, which), steps in sorted(found.items()):
        node = model.nodes[steps[0].node] if steps[0].node >= 0 and which != "update" else None
        seconds = sum(step.seconds for step in steps)
        flops = 2 * node.macs * batch_size if node else 0
        gflops = flops / seconds / 1e9 if flops and seconds else None
        absorbed = tuple(dict.fromkeys(other for step in steps for other in step.absorbed))
        yield LayerTime(
            name=name,
            kind=node.layer.kind if node else "",
            which=which,
            absorbed=absorbed,
            ms=1e3 * seconds,
            gflops=gflops,
            peak_share=gflops / peak if gflops else None,
            bytes=sum(step.bytes for step in steps) + (4 * _parameters(node) if node else 0),
        )


def _place(step: StepTime, which: str, nodes: int) -> int:
    """Return where a step stands among the others: steps that read parameters alone run earlier than their layer."""
    if which == "update":
        return 2 * nodes + 2 - (step.node >= 0)
    if step.node < 0:
        return -1 if step.name == "images" else nodes
    return step.node if which == "forward" else 2 * nodes - step.node


def _pass(step: StepTime, is_backward: bool) -> str:
    what = step.name.split()[-1]
    if step.node < 0:
        return "update" if what == "optimizer" else "forward"
    if step.name.endswith("running statistics"):
        return "update"
    if what in ("dx", "dy", "turned"):  # the last are weights that only dx reads
        return "dx"
    return "dweight" if is_backward else "forward"


def _parameters(node: Node) -> int:
    return sum(param.size for param in node.params.values())
