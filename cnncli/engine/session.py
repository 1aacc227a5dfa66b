"""A network in memory, ready to learn and to answer: the one object that tasks talk to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from cnncli.engine.losses import LOSSES, Loss, Targets, record_answers, record_loss
from cnncli.engine.memory import Memory
from cnncli.engine.plan import Plan, Signals
from cnncli.engine.record import Record, record
from cnncli.engine.update import Recipe, Update
from cnncli.engine.weights import Weights, initial_values
from cnncli.errors import CancelledError, InvalidInputError
from cnncli.kernels.arguments import Operand
from cnncli.kernels.host import LANES
from cnncli.kernels.program import Op, Program
from cnncli.layers.recording import Bound, Graph, Step, Value
from cnncli.model import Model


class Session:
    """A network with its parameters, and programs that train it, test it and use it.

    All buffers are allocated on construction. The results do not depend on the number of threads.

    Parameters
    ----------
    model : Model
        It ends in a vector of K classes.
    batch_size : int
        The most images of one training step, and how many are predicted at a time.
    threads : int
    optimizer : str or Recipe, optional
        Name of an optimizer, or all of its numbers; None: no training.
    momentum, weight_decay : float
        Of an optimizer given by name.
    seed : int
        Of the first values of the parameters and of dropout, 0 .. 2**64 - 1.
    mean, std : sequence of float
        One per channel, or one for all: a pixel p in 0..255 enters the network as (p / 255 - mean) / std.
    dtype : {"float32", "float64"}
        float64 serves gradient checks.
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int,
        threads: int,
        optimizer: str | Recipe | None = None,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = 0,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        dtype: str = "float32",
    ) -> None:
        self.model, self.batch_size, self.threads, self.seed = model, batch_size, threads, seed
        self._loss = _loss_of(model)
        self._blocks = blocks = -(-batch_size // LANES)
        self._memory = Memory(dtype)
        self._weights = Weights(model, self._memory, with_gradients=optimizer is not None)
        self._source = np.zeros(1, np.int64)  # address of the images
        self._picks = np.zeros(blocks * LANES, np.int64)
        self._labels = np.full(blocks * LANES, -1, np.int64)
        self._losses = np.zeros(blocks * LANES, np.float64)
        self._hits = np.zeros(blocks * LANES, np.int64)
        self._share = np.zeros(1, dtype)
        self._signals = Signals(np.zeros(1, np.int64), np.zeros(1, np.uint64))
        channels = model.input_shape[0]
        deviations = np.broadcast_to(np.asarray(std, np.float64), channels)
        self._scale = (1 / (255 * deviations)).astype(dtype)
        self._shift = (-np.broadcast_to(np.asarray(mean, np.float64), channels) / deviations).astype(dtype)
        self._scratch = self._memory.zeros(threads * LANES * LANES)
        self.parameters[:] = initial_values(model.slots, seed)
        self._weights.statistics[: model.non_trainable_count] = initial_values(model.state_slots, seed)
        self._prepare_answers(dtype)
        self._train: Program | None = None
        if optimizer is not None:
            recipe = Recipe(optimizer, momentum, weight_decay=weight_decay) if isinstance(optimizer, str) else optimizer
            self._update = Update(self._weights, self._memory, recipe)
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
        """Return views of parameters and running statistics by name, as in ``conv1/weight`` and ``bn1/mean``."""
        return self._weights.named()

    @property
    def statistics(self) -> np.ndarray:
        """The flat vector of running means and variances, in the order of ``model.state_slots``; assign in place."""
        return self._weights.statistics[: self.model.non_trainable_count]

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
        self._signals.key[0] = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        self._update.begin(lr)
        if not self._train.run():
            self._update.undo()
            raise CancelledError
        loss = float(self._losses.sum())
        return loss if self._update.is_finite() else float("nan"), int(self._hits.sum())

    def predict(self, images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
        """Return the probabilities float (n, K) of the images uint8 (N, H, W, C), or of those at `indices`."""
        chosen = np.arange(len(images)) if indices is None else indices
        result = np.empty((len(chosen), self.model.output_shape[0]), self._memory.dtype)
        _whole(self._prepare)
        for first in range(0, len(chosen), self.batch_size):
            count = self._load(images, chosen[first : first + self.batch_size])
            _whole(self._answer)
            result[first : first + count] = self._probs.reshape(-1, result.shape[1])[:count]
        return result

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the mean loss and the share of correct answers on images uint8 (N, H, W, C) with labels int64 (N,)."""
        loss, hits = 0.0, 0
        _whole(self._prepare)
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
        self._signals.count[0] = count
        return count

    def _record(self, *, is_training: bool, loss: Callable[[Graph, Value, Value], None]) -> Record:
        """Return the steps of the network between the images and what `loss` records."""
        fused = bool(self.model.nodes) and self.model.nodes[-1].layer.loss == self._loss.name
        recorded = record(self.model, blocks=self._blocks, is_training=is_training, loss=loss, fused_activation=fused)
        places = {"source": self._source, "scale": self._scale, "shift": self._shift}
        operands = {name: Operand(array) for name, array in places.items()}
        operands["picks"] = Operand(self._picks, task_step=LANES)
        operands["scratch"] = Operand(self._scratch, worker_step=LANES * LANES)

        def emit(b: Bound) -> list[Op]:
            return [Op("gather.gather_images", {"x": b.writes[0], **operands})]

        recorded.graph.steps.insert(0, Step("images", (), (recorded.input,), emit))
        return recorded

    def _targets(self) -> Targets:
        labels, losses, hits = (Operand(array, task_step=LANES) for array in (self._labels, self._losses, self._hits))
        return Targets(labels, losses, hits, Operand(self._share))

    def _prepare_answers(self, dtype: str) -> None:
        classes = self.model.output_shape[0]
        self._probs = self._memory.zeros(self._blocks * LANES * classes)
        unused = Operand(self._memory.zeros(self.threads * LANES * classes), worker_step=LANES * classes)
        answers = record_answers(self._loss, Operand(self._probs, task_step=LANES * classes))
        losses = record_loss(self._loss, self._targets(), unused)
        graphs = [self._record(is_training=False, loss=loss) for loss in (answers, losses)]
        answer, test = (
            Plan(one, self.threads, dtype).bind(self._memory, self._weights, self._signals) for one in graphs
        )
        self._prepare = Program([*answer.prologue, *test.prologue], self.threads, dtype)
        self._answer = Program(answer.phases, self.threads, dtype)
        self._test = Program(test.phases, self.threads, dtype)

    def _prepare_training(self, dtype: str) -> None:
        recorded = self._record(is_training=True, loss=record_loss(self._loss, self._targets()))
        plan = Plan(recorded, self.threads, dtype).bind(self._memory, self._weights, self._signals)
        update = self._update
        phases = [*plan.phases, *([one] for one in update.before)]
        self._train = Program([*phases, [update.sequence, *plan.updates]], self.threads, dtype, whole_from=len(phases))


def _whole(program: Program) -> None:
    if not program.run():
        raise CancelledError


def _loss_of(model: Model) -> Loss:
    """Return the loss that suits the end of a network."""
    shape = model.output_shape
    if not model.nodes or len(shape) != 1 or shape[0] < 2:
        raise InvalidInputError(
            f"{model.name} does not end in a vector of 2 or more classes",
            where=model.nodes[-1].where if model.nodes else "",
            hint="end it with flatten, dense: classes, softmax",
        )
    return LOSSES["cross_entropy"]
