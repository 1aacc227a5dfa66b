"""What a user may ask of a training run, and which options do not fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnncli.errors import UsageError
from cnncli.io.datasets.catalogue import is_own
from cnncli.optim.optimizers import OPTIMIZERS, Recipe
from cnncli.tasks.data.choice import parse_normalization
from cnncli.tasks.data.request import DataRequest
from cnncli.tasks.train.limits import parse_duration, parse_save_every, parse_target


@dataclass(frozen=True)
class TrainingOptions:
    """What the user asked for; None stands for the recipe's choice.

    Attributes
    ----------
    loss : str
        As an `Objective` names it.
    label_smoothing : float
    class_weights : {"balanced"} or None
        Weights of the classes in the loss: N / (K n) for a class of n of the N training images, K classes present.
    momentum, nesterov, weight_decay, decay_all, clip_norm
        As in a `Recipe`.
    warmup : float
        Epochs of warm-up.
    val_split : float
        Share of the training images kept for validation.
    patience : int or None
        Stop after so many epochs without a better validation.
    limit : int or None
        Use only the first images of the training and of the test set.
    shuffle : bool
        A new order of the training images in every epoch; otherwise theirs.
    init_from : str or None
        Run or checkpoint that gives the first weights.
    augment : str
        As `parse_augmentation` takes it, or ``auto``: what suits shuffled images of the data set.
    monitor : str or None
        Of `METRICS`, what makes an epoch the best one; by itself ``val_acc``, or ``val_loss`` where there is none.
    data_dir, resize, fit, channels, skip_bad, classes, normalize
        As in a `DataRequest`.
    target, max_time, save_every : str
        As `parse_target`, `parse_duration` and `parse_save_every` read them.
    keep : int
        How many of the last checkpoints stay.
    """

    arch: str
    dataset: str
    epochs: int | None = None
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float | None = None
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_all: bool = False
    clip_norm: float | None = None
    loss: str = "auto"
    label_smoothing: float = 0.0
    class_weights: str | None = None
    schedule: str = "cosine"
    warmup: float = 0.0
    val_split: float = 0.1
    patience: int | None = None
    limit: int | None = None
    shuffle: bool = True
    init_from: str | None = None
    augment: str = "auto"
    data_dir: Path | None = None
    resize: tuple[int, int] | None = None
    fit: str | None = None
    channels: int | None = None
    skip_bad: bool = False
    classes: tuple[str, ...] | None = None
    normalize: str = "auto"
    seed: int = 0
    monitor: str | None = None
    target: str | None = None
    max_time: str | None = None
    save_every: str = "epoch"
    keep: int = 3
    threads: int = 1

    @property
    def data(self) -> DataRequest:
        """Return what is asked of the data set."""
        return DataRequest(
            self.dataset, self.data_dir, self.resize, self.fit, self.channels, skip_bad=self.skip_bad, loss=self.loss,
            classes=self.classes or (), normalize=self.normalize,
        )  # fmt: skip

    @property
    def recipe(self) -> Recipe:
        """Return the numbers of the optimizer."""
        return Recipe(
            self.optimizer, self.momentum, self.nesterov, self.weight_decay, self.decay_all, clip_norm=self.clip_norm
        )


# they depend on the machine, or on how long one has time: two runs that differ in these train the same
MACHINE = ("threads", "data_dir", "save_every", "keep", "max_time")


def dataset_source(dataset: str) -> str:
    """Return a data set as a continued run finds it: a name as it is, a path from the root."""
    return str(Path(dataset).absolute()) if is_own(dataset) else dataset


def check_options(options: TrainingOptions) -> None:
    """Refuse options that others make meaningless.

    Raises
    ------
    UsageError
        With both options.
    """
    rule = OPTIMIZERS[options.optimizer]
    if options.momentum is not None and rule.momentum is None:
        takers = " or ".join(f"--optimizer {name}" for name, one in OPTIMIZERS.items() if one.momentum is not None)
        message = f"--momentum {options.momentum:g} is not used by --optimizer {options.optimizer}"
        raise UsageError(message, hint=f"leave it away, or use {takers}")
    if options.nesterov and (options.optimizer != "momentum" or options.momentum == 0):
        given = f"--optimizer {options.optimizer}" if options.optimizer != "momentum" else "--momentum 0"
        raise UsageError(f"--nesterov is not used by {given}", hint="leave it away, or use --optimizer momentum")
    if options.decay_all and not options.weight_decay:
        raise UsageError("--decay-all without --weight-decay decays nothing", hint="add --weight-decay, as in 0.0005")
    parse_normalization(options.normalize)
    check_limits(options)


def check_limits(options: TrainingOptions) -> None:
    """Refuse conditions for an early end, and times of saving, that are not understood or can never come.

    Raises
    ------
    UsageError
        With the option.
    """
    parse_save_every(options.save_every)
    if options.max_time is not None:
        parse_duration(options.max_time, "--max-time")
    if options.target is not None:
        parse_target(options.target, has_validation=options.val_split > 0)
    stops = {
        "--patience": options.patience,
        "--monitor": options.monitor,
        "--target": options.target,
        "--max-time": options.max_time,
    }
    if options.epochs == 0:
        for name, value in stops.items():
            if value is not None:
                message = f"{name} {value} is about epochs that are done, and --epochs 0 trains nothing"
                raise UsageError(message, hint="leave one of them away")
    if options.val_split == 0:
        for wanted, is_given in {
            f"--patience {options.patience}": options.patience is not None and options.monitor not in ("acc", "loss"),
            f"--monitor {options.monitor}": (options.monitor or "").startswith("val_"),
            "--schedule plateau": options.schedule == "plateau",
        }.items():
            if is_given:
                message = f"{wanted} compares validation results, and --val-split 0 leaves none"
                raise UsageError(message, hint="leave one of them away")


def check_metrics(options: TrainingOptions, targets: str) -> None:
    """Refuse an accuracy as a goal on data whose targets are numbers, which have none."""
    if targets != "numbers":
        return
    target = options.target and parse_target(options.target, has_validation=True).metric
    for option, value, metric in (("target", options.target, target), ("monitor", options.monitor, options.monitor)):
        if metric and metric.endswith("acc"):
            message = f"--{option} {value} is an accuracy, and targets that are numbers have none"
            example = "val_loss=0.05" if option == "target" else "val_loss"
            raise UsageError(message, hint=f"such as --{option} {example}")


def check_warmup(warmup: float, epochs: int, steps: int) -> None:
    """Refuse a warm-up longer than the run or shorter than a step."""
    if warmup > epochs:
        raise UsageError(f"--warmup {warmup:g} is longer than the {epochs} epochs", hint="give fewer epochs of warm-up")
    if 0 < warmup * steps < 1:
        message = f"--warmup {warmup:g} of an epoch of {steps} steps is less than a step"
        raise UsageError(message, hint=f"give at least {1 / steps:.2g}")
