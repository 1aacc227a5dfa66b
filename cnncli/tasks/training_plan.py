"""From options to everything a training run needs, before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.datasets import Dataset, Split
from cnncli.model import Model, parse_model
from cnncli.model.sources import Source
from cnncli.optim.recipes import OPTIMIZERS, default_epochs
from cnncli.shapes import format_hwc
from cnncli.tasks.splitting import stratified_split
from cnncli.tasks.training_events import Prepared

_SHARE_OF_MEMORY = 0.8
_BLOCK = 16  # images that the engine handles together, at most


class TrainingSession(Protocol):
    """The engine as training sees it: a network with its weights, gradients and optimizer on this machine."""

    @property
    def parameters(self) -> NDArray[np.float32]:
        """Return the flat vector of all trainable values, to be read and assigned in place."""
        ...

    def named(self) -> dict[str, NDArray[np.float32]]:
        """Return views of all parameters by name."""
        ...

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the optimizer."""
        ...

    def train_batch(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        indices: NDArray[np.int64],
        lr: float,
        key: tuple[int, int],
    ) -> tuple[float, int]:
        """Take one step; return the sum of the losses and the number of right answers."""
        ...

    def evaluate(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[float, float]:
        """Return mean loss and accuracy."""
        ...

    def cancel(self) -> None:
        """End what is running with a `CancelledError`, called from another thread; no weight is left half-changed."""
        ...


@dataclass(frozen=True)
class TrainingOptions:
    """What the user asked for; None stands for the recipe's choice.

    Attributes
    ----------
    warmup : float
        Epochs of linear warm-up.
    val_split : float
        Share of the training images kept for validation.
    patience : int or None
        Stop after so many epochs without a better validation.
    limit : int or None
        Use only the first images of the training and of the test set.
    """

    arch: str
    dataset: str
    epochs: int | None = None
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.0
    val_split: float = 0.1
    patience: int | None = None
    limit: int | None = None
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class TrainingPlan:
    """A run that can start.

    Attributes
    ----------
    options : TrainingOptions
        With every choice made.
    train, validation, test : Split
        Images in memory; validation may be empty.
    order : ndarray of int64
        Indices of the training images inside `train`, which also holds the validation images.
    steps : int
        Per epoch.
    memory_bytes : int
        A forecast: data, parameters, gradients, optimizer, activations and their gradients.
    """

    options: TrainingOptions
    model: Model
    data: Dataset
    train: Split
    order: NDArray[np.int64]
    validation: Split
    test: Split
    epochs: int
    lr: float
    steps: int
    memory_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def warmup_steps(self) -> int:
        """Return the steps of warm-up."""
        return round(self.options.warmup * self.steps)


def plan_training(options: TrainingOptions, source: Source, data: Dataset) -> TrainingPlan:
    """Fit options, network and data to each other.

    Input shape and number of classes of the architecture give way to those of the data, with a note.

    Raises
    ------
    InvalidInputError
        The network does not fit the images or the classes.
    UsageError
        The validation share leaves nothing.
    CnnError
        More memory than this machine has.
    """
    model, notes = _fitted_model(source, data)
    train, test = data.train, data.test
    if options.limit is not None:
        train, test = train.first(options.limit), test.first(options.limit)
    order, held_out = stratified_split(train.labels, options.val_split, options.seed)
    validation = Split(train.images[held_out], train.labels[held_out])
    steps = -(-len(order) // options.batch_size)
    notes += data.notes
    if options.batch_size > len(order):
        notes.append(f"the batch of {options.batch_size} is larger than the {len(order)} training images")
    memory = forecast_memory(model, data, options)
    check_memory(memory)
    return TrainingPlan(
        options=options,
        model=model,
        data=data,
        train=train,
        order=order,
        validation=validation,
        test=test,
        epochs=options.epochs or default_epochs(steps),
        lr=OPTIMIZERS[options.optimizer] if options.lr is None else options.lr,
        steps=steps,
        memory_bytes=memory,
        notes=tuple(notes),
    )


def prepared(plan: TrainingPlan, run_dir: Path | None) -> Prepared:
    """Return the event that says what will be trained on what, and how."""
    options = plan.options
    return Prepared(
        arch=plan.model.name,
        dataset=plan.data.name,
        parameters=plan.model.parameter_count,
        train_images=len(plan.order),
        val_images=len(plan.validation),
        test_images=len(plan.test),
        batch_size=options.batch_size,
        epochs=plan.epochs,
        optimizer=options.optimizer,
        lr=plan.lr,
        schedule=options.schedule,
        seed=options.seed,
        threads=options.threads,
        memory_bytes=plan.memory_bytes,
        run_dir=run_dir,
    )


def forecast_memory(model: Model, data: Dataset, options: TrainingOptions) -> int:
    """Return what training needs [bytes], in Python integers that cannot wrap.

    Data as bytes; parameters, gradients and optimizer in float32; feature maps and their gradients once a thread for a
    block of images, vectors once an image. It is an estimate: halos and gradients kept apart come on top.
    """
    copies = 4 if options.optimizer.startswith("adam") else 3
    shapes = [model.input_shape, *(node.out_shape for node in model.nodes)]
    values = 2 * sum(math.prod(shape) for shape in shapes)
    vectors = 2 * sum(math.prod(shape) for shape in shapes if len(shape) == 1)
    pixels = data.train.images.nbytes + data.test.images.nbytes
    blocks = options.threads * _BLOCK * values + options.batch_size * vectors
    return pixels + 4 * (copies * model.parameter_count + blocks)


def check_memory(needed: int) -> None:
    """Refuse work that needs more than 80 % of the memory that is free.

    Raises
    ------
    CnnError
        With both numbers.
    """
    free = _available_memory()
    if free is not None and needed > _SHARE_OF_MEMORY * free:
        message = f"training needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise CnnError(message, hint="use a smaller --batch-size or a smaller network")


def _available_memory() -> int | None:
    amounts: list[int] = []
    for path, key in (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", "")):
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key) and (digits := line.removeprefix(key).split())[:1] and digits[0].isdigit():
                amounts.append(int(digits[0]) * (1024 if key else 1))
    return min(amounts) if amounts else None


def _fitted_model(source: Source, data: Dataset) -> tuple[Model, list[str]]:
    model = parse_model(source.text, source.where)
    shape, count = data.image_shape, len(data.classes)
    notes = []
    if model.input_shape != shape:
        before, after = format_hwc(model.input_shape), format_hwc(shape)
        notes.append(f"{model.name}: input {after} of {data.name} in place of {before}")
    if model.classes not in (None, count):
        notes.append(f"{model.name}: {count} classes of {data.name} in place of {model.classes}")
    if notes or model.classes is None:
        model = parse_model(source.text, source.where, input_shape=shape, classes=count)
    if math.prod(model.output_shape) != count:
        message = f"{model.name} has {math.prod(model.output_shape)} outputs, {data.name} has {count} classes"
        raise InvalidInputError(message, where=source.where, hint="end with `dense: classes` and `softmax`")
    return model, notes
