"""From options to everything a training run needs, before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError, UsageError
from cnncli.io.datasets.dataset import Dataset, Split
from cnncli.language.document import Document, parse_document
from cnncli.language.tree import read_tree
from cnncli.model import Model, parse_model
from cnncli.model.sources import Source
from cnncli.model.vocabulary import vocabulary
from cnncli.optim.recipes import OPTIMIZERS, default_epochs
from cnncli.shapes import format_hwc
from cnncli.tasks.free_memory import free_memory
from cnncli.tasks.train.events import Prepared
from cnncli.tasks.train.splitting import stratified_split

_SHARE_OF_MEMORY = 0.8
_MOMENTUM = 0.9
_BLOCK = 16  # images that the engine handles together, at most


@dataclass(frozen=True)
class TrainingOptions:
    """What the user asked for; None stands for the recipe's choice.

    Attributes
    ----------
    warmup : float
        Epochs of linear warm-up.
    momentum : float or None
        Of the optimizer ``momentum``, 0.9 where none is given; the others take none.
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
    momentum: float | None = None
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

    @property
    def lower_lr(self) -> float:
        """Return the learning rate to try when this one diverged: a tenth, or the default where that is far away."""
        default = OPTIMIZERS[self.options.optimizer]
        return self.lr / 10 if self.lr <= 1000 * default else default

    @property
    def momentum(self) -> float:
        """Return the momentum."""
        return _MOMENTUM if self.options.momentum is None else self.options.momentum


def plan_training(options: TrainingOptions, source: Source, data: Dataset) -> TrainingPlan:
    """Fit options, network and data to each other.

    Input shape and number of classes of the architecture give way to those of the data, with a note.

    Raises
    ------
    InvalidInputError
        The network does not fit the images or the classes.
    UsageError
        The validation share leaves nothing, or an option that this run would ignore.
    CnnError
        More memory than this machine has.
    """
    _check_options(options)
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
    if len(set(train.labels[order].tolist())) == 1:
        label = data.classes[int(train.labels[order[0]])]
        notes.append(f"all {len(order)} training images are of class {label!r}: there is nothing to tell apart")
    epochs = options.epochs or default_epochs(steps)
    _check_warmup(options.warmup, epochs, steps)
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
        epochs=epochs,
        lr=OPTIMIZERS[options.optimizer] if options.lr is None else options.lr,
        steps=steps,
        memory_bytes=memory,
        notes=tuple(notes),
    )


def _check_options(options: TrainingOptions) -> None:
    """Refuse options that others make meaningless."""
    if options.momentum is not None and options.optimizer != "momentum":
        message = f"--momentum {options.momentum:g} is not used by --optimizer {options.optimizer}"
        raise UsageError(message, hint="leave it away, or use --optimizer momentum")
    if options.patience is not None and options.val_split == 0:
        message = f"--patience {options.patience} compares validation results, and --val-split 0 leaves none"
        raise UsageError(message, hint="leave one of them away")


def _check_warmup(warmup: float, epochs: int, steps: int) -> None:
    if warmup > epochs:
        raise UsageError(f"--warmup {warmup:g} is longer than the {epochs} epochs", hint="give fewer epochs of warm-up")
    if 0 < warmup * steps < 1:
        message = f"--warmup {warmup:g} of an epoch of {steps} steps is less than a step"
        raise UsageError(message, hint=f"give at least {1 / steps:.2g}")


def prepared(plan: TrainingPlan, run_dir: Path | None, *, is_dry_run: bool = False) -> Prepared:
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
        is_dry_run=is_dry_run,
    )


def forecast_memory(model: Model, data: Dataset, options: TrainingOptions) -> int:
    """Return what training needs [bytes], in Python integers that cannot wrap.

    Data as bytes; parameters, gradients and optimizer in float32; feature maps and their gradients once per thread for
    a block of images, vectors once per image. It is an estimate: halos and gradients kept apart come on top.
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
    free = free_memory()
    if needed > _SHARE_OF_MEMORY * free:
        message = f"training needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        raise CnnError(message, hint="use a smaller --batch-size or a smaller network")


def _fitted_model(source: Source, data: Dataset) -> tuple[Model, list[str]]:
    shape, count = data.image_shape, len(data.classes)
    written = _written(source)
    notes = []
    if written is not None and written.input_shape not in (None, shape):
        notes.append(f"input {format_hwc(shape)} of {data.name} in place of {format_hwc(written.input_shape or ())}")
    if written is not None and written.classes not in (None, count):
        notes.append(f"{count} classes of {data.name} in place of {written.classes}")
    try:
        model = parse_model(source.text, source.where, input_shape=shape, classes=count)
    except CnnError as error:
        message = f"{error.message} ({', '.join(notes)})" if notes else error.message
        raise InvalidInputError(message, where=error.where, hint=error.hint) from None
    if math.prod(model.output_shape) != count:
        message = f"{model.name} has {math.prod(model.output_shape)} outputs, {data.name} has {count} classes"
        raise InvalidInputError(message, where=source.where, hint="end with `dense: classes` and `softmax`")
    return model, [f"{model.name}: {note}" for note in notes]


def _written(source: Source) -> Document | None:
    """Return the file as a document; None where it is invalid, which `parse_model` reports better."""
    try:
        return parse_document(read_tree(source.text, source.where), vocabulary())
    except CnnError:
        return None
