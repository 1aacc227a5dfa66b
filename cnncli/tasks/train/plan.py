"""From options to everything a training run needs, before anything is written."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli import __version__
from cnncli.errors import CnnError, InterruptedRunError, InvalidInputError, UsageError
from cnncli.io.datasets.dataset import Dataset, Split
from cnncli.io.preprocessing import Preprocessing
from cnncli.language.document import Document, parse_document
from cnncli.language.restate import without_last_layer
from cnncli.language.tree import read_tree
from cnncli.model import Model, parse_model
from cnncli.model.sources import Source
from cnncli.model.vocabulary import vocabulary
from cnncli.optim.optimizers import OPTIMIZERS, momentum_of
from cnncli.optim.recipes import default_epochs
from cnncli.shapes import Shape, format_hwc
from cnncli.tasks.free_memory import free_memory
from cnncli.tasks.train.augmentation import UNCHANGED, Augmentation, parse_augmentation
from cnncli.tasks.train.events import Forecast, Prepared
from cnncli.tasks.train.initial import initial_weights
from cnncli.tasks.train.options import TrainingOptions, check_metrics, check_options, check_warmup
from cnncli.tasks.train.splitting import balanced_weights, stratified_split, target_scale

if TYPE_CHECKING:
    from cnncli.engine.losses import Objective
    from cnncli.tasks.train.resume import SavedRun

_SHARE_OF_MEMORY = 0.8
_SMALLEST_AUGMENTED = 24  # shorter side of images that are augmented without being asked [px]


@dataclass(frozen=True)
class TrainingPlan:
    """A run that can start.

    Attributes
    ----------
    options : TrainingOptions
        With every choice made.
    train, validation, test : Split
        Images in memory; validation and test may be empty.
    order : ndarray of int64
        Indices of the training images inside `train`, which also holds the validation images that were split off.
    augmentation : Augmentation
        Random changes of the training images.
    steps : int
        Per epoch.
    loss : str
        Name of the loss.
    class_weights : tuple of float or None
    target_scale : (tuple of float, tuple of float)
        Mean and deviation by which targets that are numbers are standardised, one of each per target; empty: as they
        are.
    initial : mapping of str to ndarray
        First weights and running statistics by name, in place of the seed's.
    memory_bytes : int
        Of the images and all buffers of the engine.
    versions : mapping
        What the last digits of a result may depend on: libraries, and how many numbers the processor works on at once.
    overrides : tuple of mapping
        Options that were changed when the run was continued: where, and from what to what.
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
    loss: str
    class_weights: tuple[float, ...] | None
    memory_bytes: int
    versions: Mapping[str, str | int]
    notes: tuple[str, ...] = ()
    overrides: tuple[Mapping[str, Any], ...] = ()
    initial: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    augmentation: Augmentation = UNCHANGED
    target_scale: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def batch(
        self, indices: NDArray[np.int64], epoch: int
    ) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.int64]]:
        """Return images, labels and places: a step trains on the images and labels at these places.

        Parameters
        ----------
        indices : ndarray of int64
            Chosen among `train`.
        epoch : int
            From 1. Together with the seed it decides what is random, so that a run can be continued anywhere.
        """
        images, labels = self.train.images, self.train.labels
        if not self.augmentation.amounts:
            return images, labels, indices
        ground, seed = Preprocessing.of(self.data).ground, self.options.seed
        changed = self.augmentation.apply(images[indices], indices, seed=seed, epoch=epoch, ground=ground)
        return changed, labels[indices], np.arange(len(indices))

    @property
    def objective(self) -> Objective:
        """Return the loss with all that belongs to it."""
        from cnncli.engine.losses import Objective  # imports numba, so not before it is needed

        return Objective(self.loss, self.options.label_smoothing, self.class_weights, *self.target_scale)

    @property
    def warmup_steps(self) -> int:
        """Return the steps of warm-up."""
        return round(self.options.warmup * self.steps)

    @property
    def lower_lr(self) -> float:
        """Return the learning rate to try when this one diverged: a tenth, or the default where that is far away."""
        default = OPTIMIZERS[self.options.optimizer].lr
        return self.lr / 10 if self.lr <= 1000 * default else default

    @property
    def momentum(self) -> float:
        """Return the momentum, 0 for an optimizer without one."""
        return momentum_of(self.options.recipe)


def plan_training(
    options: TrainingOptions, source: Source, data: Dataset, saved: SavedRun | None = None
) -> TrainingPlan:
    """Fit options, network and data to each other.

    Input shape and number of classes of the architecture give way to those of the data, with a note. Network and data
    must be those of `saved`, the run that is continued.

    Raises
    ------
    InvalidInputError
        The network does not fit the images or the classes.
    UsageError
        The validation share leaves nothing, or an option that this run would ignore.
    CnnError
        More memory than this machine has.
    """
    check_options(options)
    augmentation, said = _augmentation(options, data)
    model, loss, notes = _fitted_model(source, data, options)
    notes += said
    is_fresh = saved is None and options.init_from is not None
    initial, told = initial_weights(options.init_from or "", model, data) if is_fresh else ({}, [])
    notes += told
    check_metrics(options, data.targets)
    train, test = (part if options.limit is None else part.first(options.limit) for part in (data.train, data.test))
    order, validation = held_out(data, train, options)
    steps = -(-len(order) // options.batch_size)
    notes += data.notes + _notes_on(train.labels[order], data, options.batch_size)
    epochs = default_epochs(steps) if options.epochs is None else options.epochs
    check_warmup(options.warmup, epochs, steps)
    parts = data.train, data.test, validation
    pixels = sum(part.images.nbytes for part in parts if not isinstance(part.images, np.memmap))
    check_memory(memory := pixels + forecast_memory(model, options))
    used = versions()
    if saved is not None:
        saved.check(model, data)
        notes += saved.differences(used)
    return TrainingPlan(
        options=options,
        model=model,
        data=data,
        train=train,
        order=order,
        validation=validation,
        test=test,
        epochs=epochs,
        lr=OPTIMIZERS[options.optimizer].lr if options.lr is None else options.lr,
        steps=steps,
        loss=loss,
        class_weights=balanced_weights(train.labels[order], len(data.classes)) if options.class_weights else None,
        memory_bytes=memory,
        versions=used,
        notes=tuple(notes),
        overrides=saved.overrides if saved else (),
        initial=initial,
        augmentation=augmentation,
        target_scale=saved.target_scale if saved else target_scale(train.labels[order], model, loss),
    )


def _notes_on(labels: NDArray[Any], data: Dataset, batch_size: int) -> tuple[str, ...]:
    notes = []
    if batch_size > len(labels):
        notes.append(f"the batch of {batch_size} is larger than the {len(labels)} training images")
    if data.targets == "classes" and len(set(labels.tolist())) == 1:
        label = data.classes[int(labels[0])]
        notes.append(f"all {len(labels)} training images are of class {label!r}: there is nothing to tell apart")
    return tuple(notes)


def _augmentation(options: TrainingOptions, data: Dataset) -> tuple[Augmentation, tuple[str, ...]]:
    """Return the random changes of training images that were asked for, or those that suit the data set, with a note.

    Photographs to be classified are turned left to right and cropped, as is usual for CIFAR (He et al. 2015, section
    4.2). Digits that their makers put into the middle are moved a little. A number that is estimated may depend on
    where things are, and of other gray images nothing is known: they stay as they are, and so do all images that are
    taken in their order.
    """
    channels, height, width = data.image_shape
    if options.augment != "auto":
        augmentation = parse_augmentation(options.augment)
        augmentation.check(height, width)
        return augmentation, ()
    is_photograph = channels == 3 and not data.light_on_dark and data.targets != "numbers"
    # whoever wants the images in their order wants steps that can be repeated elsewhere
    is_small = min(height, width) < _SMALLEST_AUGMENTED
    if is_small or not options.shuffle or not (is_photograph or data.placement):
        return UNCHANGED, ()
    text = f"flip,crop:{min(height, width) // 8}" if is_photograph else "shift:2"
    note = f"training images are changed at random by --augment {text}; --augment none leaves them as they are"
    return parse_augmentation(text), (note,)


def held_out(data: Dataset, train: Split, options: TrainingOptions) -> tuple[NDArray[np.int64], Split]:
    """Return the indices of the images for training, and the validation images: the data set's own or a share."""
    if data.validation is not None:
        validation = data.validation if options.limit is None else data.validation.first(options.limit)
        return np.arange(len(train)), validation
    labels = train.labels if data.targets == "classes" else np.zeros(len(train), np.int64)
    order, held_out = stratified_split(labels, options.val_split, options.seed)
    return order, train.chosen(held_out)


def prepared(plan: TrainingPlan, run_dir: Path | None, forecast: Forecast | None = None) -> Prepared:
    """Return the event that says what will be trained on what, and how; with a forecast nothing will be trained."""
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
        is_dry_run=forecast is not None,
        forecast=forecast,
    )


def forecast_memory(model: Model, options: TrainingOptions) -> int:
    """Return the bytes of the engine's buffers, exactly, and of a copy of the best weights; nothing is allocated.

    Raises
    ------
    InvalidInputError
        A layer that cannot be trained.
    """
    from cnncli.engine.layout import session_bytes  # imports numba, so not before it is needed

    try:
        size = session_bytes(model, batch_size=options.batch_size, threads=options.threads, recipe=options.recipe)
    except InvalidInputError as error:  # a layer that cannot be run knows its kind, not its network
        raise error.located(model.name) from None
    return size + 4 * (model.parameter_count + model.non_trainable_count)


def versions() -> dict[str, str | int]:
    """Return the versions of the libraries and the width of the processor's vectors [float32 numbers]."""
    from cnncli.compute.host import LANES

    libraries = {name: version(name) for name in ("numpy", "numba", "llvmlite")}
    return {"cnncli": __version__, "python": platform.python_version(), **libraries, "simd": LANES}


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


def _fitted_model(source: Source, data: Dataset, options: TrainingOptions) -> tuple[Model, str, list[str]]:
    """Return the network for the data, the name of its loss, and notes."""
    from cnncli.engine.losses import Objective, loss_name

    source, asked, said = _for_targets(source, data, options)
    shape, count = data.image_shape, len(data.classes)
    written = _written(source)
    notes = []
    if written is not None and written.input_shape not in (None, shape):
        notes.append(f"input {format_hwc(shape)} of {data.name} in place of {format_hwc(written.input_shape or ())}")
    if written is not None and written.classes not in (None, count):
        what = "classes" if data.targets == "classes" else "outputs"
        notes.append(f"{count} {what} of {data.name} in place of {written.classes}")
    try:
        model = parse_model(source.text, source.where, input_shape=shape, classes=count)
    except InterruptedRunError:
        raise
    except CnnError as error:
        message = f"{error.message} ({', '.join(notes)})" if notes else error.message
        raise InvalidInputError(message, where=error.where, hint=error.hint) from None
    outputs = math.prod(model.output_shape)
    if outputs != count and not (outputs == 1 and count == 2 and data.targets == "classes"):
        message = f"{model.name} has {outputs} outputs, {data.name} has {count} {data.targets}"
        raise InvalidInputError(message, where=source.where, hint="end with `dense: classes` and `softmax`")
    loss = loss_name(model, Objective(asked, options.label_smoothing))
    if data.targets == "classes" and loss == "binary_cross_entropy" and (options.class_weights or outputs != 1):
        what = "has no class weights" if outputs == 1 else f"of {count} classes needs one output, not {outputs}"
        raise InvalidInputError(f"binary cross-entropy {what}", where=source.where, hint="end with softmax")
    return model, loss, [f"{model.name}: {note}" for note in (*notes, *said)]


def _for_targets(source: Source, data: Dataset, options: TrainingOptions) -> tuple[Source, str, list[str]]:
    """Return the network without the softmax that the targets have no use for, the loss that they need, and notes."""
    kinds = {"labels": ("binary_cross_entropy", "labels that may apply together"), "numbers": ("mse", "numbers")}
    if data.targets == "classes":
        if options.loss == "mse":
            message = f"--loss mse needs numbers for targets, those of {data.name} are classes"
            raise UsageError(message, hint="leave it away, or give a table or arrays with numbers")
        return source, options.loss, []
    loss, words = kinds[data.targets]
    if options.loss not in ("auto", loss):
        message = f"--loss {options.loss.replace('_', '-')} needs classes, the targets of {data.name} are {words}"
        raise UsageError(message, hint=f"use --loss {loss.replace('_', '-')}")
    for option in ("class_weights", "label_smoothing"):
        if getattr(options, option):
            message = f"--{option.replace('_', '-')} needs classes, the targets of {data.name} are {words}"
            raise UsageError(message, hint="leave it away")
    notes = [f"the targets of {data.name} are {words}: loss {loss.replace('_', '-')}"]
    try:
        text = without_last_layer(source.text, read_tree(source.text, source.where), "softmax")
    except CnnError:  # `parse_model` reports it better
        return source, loss, notes
    if text != source.text:
        notes.append("its softmax is left out")
    return replace(source, text=text), loss, notes


def written_input(source: Source) -> Shape | None:
    """Return the input (C, H, W) that an architecture file names; None where it names none or cannot be read."""
    written = _written(source)
    shape = None if written is None else written.input_shape
    return shape if shape is not None and len(shape) == 3 else None


def _written(source: Source) -> Document | None:
    """Return the file as a document; None where it is invalid, which `parse_model` reports better."""
    try:
        return parse_document(read_tree(source.text, source.where), vocabulary())
    except InterruptedRunError:
        raise
    except CnnError:
        return None
