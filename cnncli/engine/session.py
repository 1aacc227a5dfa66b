"""A network in memory, ready to learn and to answer: the one object that tasks talk to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np

from cnncli.compute.program import Program
from cnncli.compute.team import team_of
from cnncli.engine.few.changes import Prepared, Watched, run_whole
from cnncli.engine.few.images import FewImages
from cnncli.engine.layout import Layout
from cnncli.engine.losses import LOSSES, PLAIN, Objective
from cnncli.engine.update import Update, recipe_of
from cnncli.engine.weights import begin_drawing, initial_values
from cnncli.errors import CancelledError
from cnncli.model import Model
from cnncli.optim.optimizers import Recipe

_BYTES = np.dtype(np.uint8)


@dataclass(frozen=True)
class Examined:
    """What a network makes of N labelled images.

    Attributes
    ----------
    losses : ndarray of float64 (N,)
    hits : ndarray of int64 (N,)
        1 where the answer is correct.
    answers, logits : ndarray (N, K)
        As `Session.answer` returns them.
    """

    losses: np.ndarray
    hits: np.ndarray
    answers: np.ndarray
    logits: np.ndarray

    @property
    def loss(self) -> float:
        """Return the mean loss, from the exact sum: no order of the images changes it."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def acc(self) -> float:
        """Return the share of correct answers."""
        return int(self.hits.sum()) / len(self.hits)


class Session:
    """A network with its parameters, and programs that train it, test it and use it.

    Buffers are allocated on construction, but for those that predict few images one at a time: these when they are
    first needed. The results do not depend on the number of threads.

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
    objective : Objective
        The loss; by itself the one that suits the end of the network.
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int,
        threads: int,
        optimizer: str | Recipe | None = None,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        dtype: str = "float32",
        objective: Objective = PLAIN,
    ) -> None:
        self.model, self.batch_size, self.threads, self.seed = model, batch_size, threads, seed
        recipe = recipe_of(optimizer, momentum, weight_decay)
        drawn = begin_drawing(model.slots, seed, threads)
        self._layout = layout = Layout(model, batch_size, threads, recipe, dtype, objective=objective)
        self._class_weights = np.asarray(objective.class_weights or (), np.float64)
        is_scaled = layout.loss == "mse" and bool(objective.target_std)
        self._target_scale = tuple(map(np.array, (objective.target_mean, objective.target_std))) if is_scaled else None
        layout.normalise(mean, std)
        self._watched = Watched()
        self._few = FewImages(layout, self._watched)
        self._train: Program | None = None
        if layout.training is not None and layout.update is not None:
            phases = [*layout.training.phases, *([one] for one in layout.update.before)]
            last = [layout.update.sequence, *layout.training.updates]
            self._train = Program([*phases, last], threads, dtype, whole_from=len(phases))
        self.parameters[:] = drawn()
        self.statistics[:] = initial_values(model.state_slots, seed)

    # made, and their kernels compiled, when they are first needed: a prediction of one image needs none of them

    @cached_property
    def _prepare(self) -> Prepared:
        prologue = [*self._layout.answer.prologue, *self._layout.test.prologue]
        return Prepared(Program(prologue, self.threads, self._layout.dtype), self._watched)

    @cached_property
    def _answer(self) -> Program:
        return Program(self._layout.answer.phases, self.threads, self._layout.dtype)

    @cached_property
    def _test(self) -> Program:
        return Program(self._layout.test.phases, self.threads, self._layout.dtype)

    def compile(self) -> None:
        """Compile all that `train_batch` and `examine` run, so that no later call does."""
        for name in ("_prepare", "_test"):
            getattr(self, name)

    @property
    def parameters(self) -> np.ndarray:
        """The flat vector of trainable parameters, in the order of ``model.slots``; assign in place."""
        return self._watched.lend(self._layout.weights.values[: self.model.parameter_count])

    @property
    def gradients(self) -> np.ndarray:
        """The gradient of the mean loss of the last training batch, laid out as `parameters`."""
        return self._layout.weights.gradients[: self.model.parameter_count]

    @property
    def memory_bytes(self) -> int:
        """Bytes of all buffers there are: parameters, gradients, optimizer state and feature maps."""
        return self._layout.memory.size_bytes

    def named(self) -> dict[str, np.ndarray]:
        """Return views of parameters and running statistics by name, as in ``conv1/weight`` and ``bn1/mean``."""
        return {name: self._watched.lend(array) for name, array in self._layout.weights.named().items()}

    @property
    def statistics(self) -> np.ndarray:
        """The flat vector of running means and variances, in the order of ``model.state_slots``; assign in place."""
        return self._watched.lend(self._layout.weights.statistics[: self.model.non_trainable_count])

    def optimizer_state(self) -> dict[str, np.ndarray]:
        """Return the optimizer's vectors, which the next step changes, and its step counter."""
        return self._optimizer.state()

    def load_optimizer_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue with what `optimizer_state` returned."""
        self._optimizer.load(state)

    @property
    def _optimizer(self) -> Update:
        if self._layout.update is None:
            raise RuntimeError("this session was made without an optimizer")
        return self._layout.update

    def train_batch(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, lr: float, key: tuple[int, int]
    ) -> tuple[float, int]:
        """Take one step on the images at `indices`.

        Parameters
        ----------
        images : uint8 (N, H, W, C), C-contiguous
        labels : ndarray (N,) or (N, K)
            Classes int64 in 0 .. K-1; for binary cross-entropy numbers from 0 to 1, for the mean squared error any,
            a row of K per image ((N,) will do for one unit).
        indices : int64 (n,), 1 <= n <= batch_size
        lr : float
        key : (epoch, step)
            Together with the seed it decides what dropout drops.

        Returns
        -------
        loss, hits : float, int
            Sum of the losses of the batch before the step, NaN if a gradient is not finite; correct answers, which for
            several units of binary cross-entropy are those with every unit right.

        Raises
        ------
        CancelledError
            If `cancel` was called; no parameter has changed.
        """
        if self._train is None:
            raise RuntimeError("this session was made without an optimizer")
        count = self._load(images, indices)
        self._set_labels(labels[indices])
        weights = self._class_weights[labels[indices]].sum() if len(self._class_weights) else count
        self._layout.share[0] = 1 / weights if weights else 0
        text = f"{self.seed} {key[0]} {key[1]}".encode()
        self._layout.signals.key[0] = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        self._optimizer.begin(lr)
        self._watched.changed()
        if not self._train.run():
            self._optimizer.undo()
            raise CancelledError
        loss = float(self._layout.losses.sum())
        return loss if self._optimizer.is_finite() else float("nan"), int(self._layout.hits.sum())

    def predict(self, images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
        """Return the answers float (n, K) to the images uint8 (N, H, W, C), or to those at `indices`.

        Probabilities of classes, or of each unit of binary cross-entropy; for the mean squared error the output.
        """
        return self.answer(images, indices)[0]

    def answer(self, images: np.ndarray, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return answers as `predict` does, and the values before the softmax or sigmoid, both float (n, K).

        The bits of each row depend on its image alone.
        """
        chosen = np.arange(len(images)) if indices is None else indices
        answers, logits = self._rows(len(chosen))
        first, count = 0, len(chosen)
        while first < count:
            last = min(first + self.batch_size, count)
            if self._few.serves(last - first, is_all=last - first == count):
                self._load(images, chosen[first:last])
                self._few.answer(chosen[first:last], answers[first:last], logits[first:last])
            else:
                self._prepare.bring_up_to_date()
                self._load(images, chosen[first:last])
                run_whole(self._answer)
                self._copy_rows(answers, logits, slice(first, last))
            first = last
        self._in_units_of_targets(answers)
        return answers, logits

    def examine(self, images: np.ndarray, labels: np.ndarray) -> Examined:
        """Return answer and loss of each of the images uint8 (N, H, W, C), N >= 1, with labels.

        Labels and correct answers as in `train_batch`; label smoothing and class weights are for training alone. The
        bits of each row depend on its image and label alone.
        """
        if not len(images):
            raise ValueError("there are no images to evaluate")
        count, layout = len(images), self._layout
        found = Examined(np.empty(count), np.empty(count, np.int64), *self._rows(count))
        self._prepare.bring_up_to_date()
        for first in range(0, count, self.batch_size):
            chosen = np.arange(first, min(first + self.batch_size, count))
            part = slice(first, first + self._load(images, chosen))
            self._set_labels(labels[chosen])
            run_whole(self._test)
            found.losses[part] = layout.losses[: len(chosen)]
            found.hits[part] = layout.hits[: len(chosen)]
            self._copy_rows(found.answers, found.logits, part)
        self._in_units_of_targets(found.answers)
        return found

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the mean loss and the share of correct answers on images uint8 (N, H, W, C) with labels.

        The mean is that of the exact sum of all losses (`math.fsum`), so neither the batch size nor the order of the
        images changes a bit of it. Labels and correct answers as in `train_batch`.
        """
        found = self.examine(images, labels)
        return found.loss, found.acc

    def _rows(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        shape = count, self.model.output_shape[0]
        return np.empty(shape, self._layout.memory.dtype), np.empty(shape, self._layout.memory.dtype)

    def _copy_rows(self, answers: np.ndarray, logits: np.ndarray, part: slice) -> None:
        for rows, source in ((answers, self._layout.probs), (logits, self._layout.logits)):
            rows[part] = source.reshape(-1, rows.shape[1])[: part.stop - part.start]

    def _in_units_of_targets(self, answers: np.ndarray) -> None:
        """Turn what the network says of standardised targets into their units, in place."""
        if self._target_scale:
            mean, std = self._target_scale
            answers[:] = answers.astype(np.float64) * std + mean

    def cancel(self) -> None:
        """End what is running: it raises `CancelledError`, unless it is about to end; from any thread."""
        team_of(self.threads).cancel()

    def forget_cancel(self) -> None:
        """Undo a `cancel` that came too late to end anything."""
        team_of(self.threads).forget_cancel()

    def _set_labels(self, labels: np.ndarray) -> None:
        classes, layout = self.model.output_shape[0], self._layout
        if LOSSES[layout.loss].has_rows:
            rows = np.asarray(labels, np.float64).reshape(len(labels), -1)
            is_binary = layout.loss == "binary_cross_entropy"
            if rows.shape[1] != classes or not np.isfinite(rows).all():
                raise ValueError(f"targets {rows.shape}, not finite ({len(labels)}, {classes})")
            if is_binary and (rows.min() < 0 or rows.max() > 1):
                raise ValueError(f"targets from {rows.min():g} to {rows.max():g}, not from 0 to 1")
            if self._target_scale:
                mean, std = self._target_scale
                rows = (rows - mean) / std
            layout.rows[: rows.size] = rows.ravel()
            layout.labels[: len(rows)] = 0
            layout.labels[len(rows) :] = -1  # padding
            return
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels from {labels.min()} to {labels.max()}, not from 0 to {classes - 1}")
        self._layout.labels[: len(labels)] = labels
        self._layout.labels[len(labels) :] = -1  # padding

    def _load(self, images: np.ndarray, indices: np.ndarray) -> int:
        """Point the programs at the images; return how many are chosen."""
        channels, height, width = self.model.input_shape
        if images.dtype != _BYTES or images.shape[1:] != (height, width, channels) or not images.flags.c_contiguous:
            raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (N, {height}, {width}, {channels})")
        chosen = indices.tolist()  # sooner than NumPy's minimum and maximum, which matters for one image
        count = len(chosen)
        if not 0 < count <= self.batch_size or min(chosen) < 0 or max(chosen) >= len(images):
            raise ValueError(f"{count} indices for batches of {self.batch_size} of {len(images)} images")
        self._images = images  # the programs know only the address
        self._layout.source[0] = images.ctypes.data
        self._layout.picks[:count] = indices
        self._layout.picks[count:] = chosen[-1]
        self._layout.signals.count[0] = count
        return count
