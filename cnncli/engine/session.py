"""A network in memory, ready to learn and to answer: the one object that tasks talk to."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from cnncli.engine.memory import Memory
from cnncli.engine.plan import Plan, Weights
from cnncli.engine.update import Update
from cnncli.errors import CancelledError
from cnncli.kernels.host import LANES
from cnncli.kernels.program import Chain, Op, Place, Program
from cnncli.layers.initialisers import spread

if TYPE_CHECKING:
    from cnncli.layers.base import Param
    from cnncli.layers.buffers import View
    from cnncli.model import Model


class Session:
    """A network with its parameters, and programs that train it, test it and use it.

    Nothing is allocated after construction. The results do not depend on the number of threads.

    Parameters
    ----------
    model : Model
        A chain of layers that ends in a vector of K classes.
    batch_size : int
        The most images of one training step, and how many are predicted at a time.
    threads : int
    optimizer : {"sgd", "momentum", "adam", "adamw"}, optional
        None: no training.
    momentum, weight_decay : float
    seed : int
        Of the first values of the parameters and of dropout, 0 .. 2**64 - 1.
    mean, std : sequence of float
        One a channel, or one for all: a pixel p in 0..255 enters the network as (p / 255 - mean) / std.
    dtype : {"float32", "float64"}
        float64 serves gradient checks.
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int,
        threads: int,
        optimizer: str | None = None,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = 0,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        dtype: str = "float32",
    ) -> None:
        self.model, self.batch_size, self.threads, self.seed = model, batch_size, threads, seed
        blocks = -(-batch_size // LANES)
        self._memory = Memory(blocks, threads, dtype)
        self._weights = Weights(model, self._memory)
        self._source = np.zeros(1, np.int64)  # address of the images
        self._picks = np.zeros(blocks * LANES, np.int64)
        self._labels = np.full(blocks * LANES, -1, np.int64)
        self._losses = np.zeros(blocks * LANES, np.float64)
        self._hits = np.zeros(blocks * LANES, np.int64)
        self._share = np.zeros(1, dtype)
        self._key = np.zeros(1, np.uint64)
        channels = model.input_shape[0]
        spread_out = np.broadcast_to(np.asarray(std, np.float64), channels)
        self._scale = (1 / (255 * spread_out)).astype(dtype)
        self._shift = (-np.broadcast_to(np.asarray(mean, np.float64), channels) / spread_out).astype(dtype)
        self.parameters[:] = initial_values(model, seed)
        self._prepare_answers(dtype)
        self._train: Program | None = None
        if optimizer is not None:
            self._update = Update(self._weights, self._memory, optimizer, momentum, weight_decay)
            self._prepare_training(dtype)

    @property
    def parameters(self) -> np.ndarray:
        """The flat vector of trainable parameters, in the order of ``model.slots``; assign in place."""
        return self._weights.values[: self.model.parameter_count]

    @property
    def gradients(self) -> np.ndarray:
        """The gradient of the mean loss of the last training batch, laid out as `parameters`."""
        return self._weights.gradients[: self.model.parameter_count]

    @property
    def memory_bytes(self) -> int:
        """Bytes of all buffers: parameters, gradients, optimizer state and feature maps."""
        return self._memory.size_bytes

    def named(self) -> dict[str, np.ndarray]:
        """Return views of the parameters by name, as in ``conv1/weight``."""
        return {s.name: self.parameters[s.offset : s.offset + s.size].reshape(s.shape) for s in self.model.slots}

    def optimizer_state(self) -> dict[str, np.ndarray]:
        """Return copies of the optimizer's vectors and its step counter."""
        return self._update.state()

    def load_optimizer_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue with what `optimizer_state` returned."""
        self._update.load(state)

    def train_batch(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, lr: float, key: tuple[int, int]
    ) -> tuple[float, int]:
        """Take one step on the images at `indices`.

        Parameters
        ----------
        images : uint8 (N, H, W, C), C-contiguous
        labels : int64 (N,), in 0 .. K-1
        indices : int64 (n,), 1 <= n <= batch_size
        lr : float
        key : (epoch, step)
            Together with the seed it decides what dropout drops.

        Returns
        -------
        loss, hits : float, int
            Sum of the losses of the batch before the step, NaN if a gradient is not finite; correct answers.

        Raises
        ------
        CancelledError
            If `cancel` was called; no parameter has changed.
        """
        if self._train is None:
            raise RuntimeError("this session was made without an optimizer")
        count = self._load(images, indices)
        self._labels[:count] = labels[indices]
        self._labels[count:] = -1
        self._share[0] = 1 / count
        text = f"{self.seed} {key[0]} {key[1]}".encode()
        self._key[0] = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        self._update.begin(lr)
        if not self._train.run():
            self._update.take_back()
            raise CancelledError
        loss = float(self._losses.sum())
        return loss if self._update.is_finite() else float("nan"), int(self._hits.sum())

    def predict(self, images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
        """Return the probabilities float (n, K) of the images uint8 (N, H, W, C), or of those at `indices`."""
        chosen = np.arange(len(images)) if indices is None else indices
        result = np.empty((len(chosen), self.model.output_shape[0]), self._memory.dtype)
        for first in range(0, len(chosen), self.batch_size):
            count = self._load(images, chosen[first : first + self.batch_size])
            _whole(self._answer)
            result[first : first + count] = self._probs.reshape(-1, result.shape[1])[:count]
        return result

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the mean loss and the share of correct answers on images uint8 (N, H, W, C) with labels int64 (N,)."""
        loss, hits = 0.0, 0
        for first in range(0, len(images), self.batch_size):
            chosen = np.arange(first, min(first + self.batch_size, len(images)))
            count = self._load(images, chosen)
            self._labels[:count] = labels[chosen]
            self._labels[count:] = -1
            _whole(self._test)
            loss += float(self._losses.sum())
            hits += int(self._hits.sum())
        return loss / len(images), hits / len(images)

    def cancel(self) -> None:
        """End what is running: it raises `CancelledError`, unless it is about to end; from any thread."""
        self._answer.cancel()

    def _load(self, images: np.ndarray, indices: np.ndarray) -> int:
        """Point the programs at the images; return how many are chosen."""
        channels, height, width = self.model.input_shape
        if images.dtype != np.uint8 or images.shape[1:] != (height, width, channels) or not images.flags.c_contiguous:
            raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (N, {height}, {width}, {channels})")
        count = len(indices)
        if not 0 < count <= self.batch_size or indices.min() < 0 or indices.max() >= len(images):
            raise ValueError(f"{count} indices for batches of {self.batch_size} of {len(images)} images")
        self._images = images  # the programs know only the address
        self._source[0] = images.ctypes.data
        self._picks[:count] = indices
        self._picks[count:] = indices[-1]
        return count

    def _gather(self, target: View) -> Op:
        scratch = self._memory.each_worker(LANES * LANES)
        places = Place(self._source), Place(self._picks, task_step=LANES), target.place
        return Op(
            "gather.gather_images",
            (*places, Place(self._scale), Place(self._shift), scratch, *target.shape, *target.steps),
        )

    def _loss(self, logits: View, gradient: Place) -> Op:
        each = (Place(array, task_step=LANES) for array in (self._labels, self._losses, self._hits))
        return Op("softmax.softmax_cross_entropy", (logits.place, gradient, *each, Place(self._share), logits.shape[0]))

    def _prepare_answers(self, dtype: str) -> None:
        plan = Plan(self.model, self._weights, self._memory, Place(self._key), is_training=False)
        forward = plan.forward()
        ops = (self._gather(plan.input.view(self.model.input_shape)), *forward.now)
        classes = forward.logits.shape[0]
        self._probs = self._memory.zeros(self._memory.blocks * LANES * classes)
        answer = Op("softmax.softmax", (forward.logits.place, Place(self._probs, task_step=LANES * classes), classes))
        unused = self._memory.each_worker(LANES * classes)
        self._answer = self._program(((*ops, answer),), dtype)
        self._test = self._program(((*ops, self._loss(forward.logits, unused)),), dtype)

    def _prepare_training(self, dtype: str) -> None:
        plan = Plan(self.model, self._weights, self._memory, Place(self._key), is_training=True)
        forward, backward = plan.forward(), plan.backward()
        gather = self._gather(plan.input.view(self.model.input_shape))
        loss = self._loss(forward.logits, backward.logits.place)
        blocks = Chain((gather, *forward.now, loss, *backward.now), self._memory.blocks)
        phases = [[blocks], backward.after, [self._update.chain]]
        self._train = Program(phases, self.threads, dtype, whole_from=2)

    def _program(self, chains: tuple[tuple[Op, ...], ...], dtype: str) -> Program:
        return Program([[Chain(ops, self._memory.blocks) for ops in chains]], self.threads, dtype)


def _whole(program: Program) -> None:
    if not program.run():
        raise CancelledError


def initial_values(model: Model, seed: int) -> np.ndarray:
    """Return the first values of all trainable parameters, float64: each array from the seed and its own number."""
    draws = [_draw(slot.param, np.random.default_rng([seed, i])) for i, slot in enumerate(model.slots)]
    return np.concatenate(draws) if draws else np.zeros(0)


def _draw(param: Param, generator: np.random.Generator) -> np.ndarray:
    kind, size = spread(param)
    if kind == "normal":
        return generator.normal(0.0, size, param.size)
    if kind == "uniform":
        return generator.uniform(-size, size, param.size)
    return np.full(param.size, size)
