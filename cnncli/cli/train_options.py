"""The options of `cnn train`, in groups, and which of them do not go together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cnncli.cli.options import ChannelsType, ClassesType, SizeType, refuse_unused_data_dir
from cnncli.cli.train_config import take_config
from cnncli.errors import UsageError
from cnncli.io.datasets.catalogue import DATASETS
from cnncli.optim.optimizers import OPTIMIZERS
from cnncli.optim.schedules import SCHEDULES
from cnncli.tasks.train.limits import METRICS

_SEEDS = click.IntRange(0, 2**64 - 1)

_OPTIONS = (
    click.option(
        "--arch", "arch_option", metavar="ARCH", help="Preset of `cnn new --list`, or YAML file [suits the data]."
    ),
    click.option(
        "-d",
        "--dataset",
        metavar="NAME|PATH",
        help="A data set below; or a folder with the pictures of each class in a folder (or train/, val/, test/), a "
        "zip or tar of one, .npz arrays, a .csv table of path,label.",
    ),
    click.option(
        "--data-dir",
        metavar="DIR",
        envvar="CNN_DATA_DIR",
        help="Where its files are, or are fetched to [the user's cache].",
    ),
    click.option(
        "--val-split",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.1,
        show_default=True,
        metavar="SHARE",
        help="Training images kept for validation; 0: none.",
    ),
    click.option(
        "--resize",
        type=SizeType(),
        metavar="HxW",
        help="Input size for pictures of your own [the network's; else theirs; else 64x64].",
    ),
    click.option(
        "--fit",
        type=click.Choice(["pad", "crop", "stretch"]),
        help="How pictures of your own are brought to that size [pad].",
    ),
    click.option(
        "--channels", type=ChannelsType(), help="Gray or colour, of your own pictures [the network's; else theirs]."
    ),
    click.option("--skip-bad", is_flag=True, help="Leave out pictures that cannot be read."),
    click.option(
        "--augment",
        default="auto",
        metavar="A,B:N",
        help="Random changes of training images: flip, shift:N, crop:N, cutout:N [px], rotate:N [degrees], "
        "brightness:N; none [photographs: flip,crop; MNIST: shift:2; with --no-shuffle: none].",
    ),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Use only the first N images."),
    click.option("--classes", type=ClassesType(), metavar="A,B", help="Use only these classes, in this order."),
    click.option(
        "--normalize",
        default="auto",
        metavar="MEAN,STD",
        help="Pixels enter as (pixel / 255 - MEAN) / STD; none: as pixel / 255; of colours MEAN,MEAN,MEAN,STD,STD,STD, "
        "too [the training images' own].",
    ),
    click.option(
        "-e",
        "--epochs",
        type=click.IntRange(0, 10**6),
        metavar="N",
        help="Passes over the images [10; small sets: more]; 0 writes the first weights.",
    ),
    click.option(
        "-b",
        "--batch-size",
        type=click.IntRange(1, 65_536),
        default=64,
        show_default=True,
        metavar="N",
        help="Images per step.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(list(OPTIMIZERS)),
        default="adam",
        show_default=True,
        help="Update rule.",
    ),
    click.option(
        "--lr",
        type=click.FloatRange(0, min_open=True),
        metavar="X",
        help=f"Learning rate [{', '.join(f'{name} {rule.lr:g}' for name, rule in OPTIMIZERS.items())}].",
    ),
    click.option(
        "--momentum",
        type=click.FloatRange(0, 1, max_open=True),
        metavar="X",
        help="Of the optimizers momentum [0.9] and rmsprop [0].",
    ),
    click.option("--nesterov", is_flag=True, help="Nesterov's form of --optimizer momentum."),
    click.option(
        "--weight-decay",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        metavar="X",
        help="L2 penalty; with adamw decoupled from the gradient.",
    ),
    click.option("--decay-all", is_flag=True, help="--weight-decay of biases and normalisations, too."),
    click.option(
        "--clip-norm",
        type=click.FloatRange(0, min_open=True),
        metavar="X",
        help="Largest Euclidean norm of all gradients together.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["auto", "cross-entropy", "binary-cross-entropy", "mse"]),
        default="auto",
        show_default=True,
        help="auto: binary for one output, else cross-entropy; mse for targets that are numbers, which the network "
        "learns standardised.",
    ),
    click.option(
        "--label-smoothing",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        show_default=True,
        metavar="S",
        help="Targets of cross-entropy in training: 1 - S + S/K and S/K.",
    ),
    click.option(
        "--class-weights",
        type=click.Choice(["balanced"]),
        help="Rare classes count more in training: N / (K n).",
    ),
    click.option(
        "--schedule",
        type=click.Choice(list(SCHEDULES)),
        default="cosine",
        show_default=True,
        help="; ".join(f"{name} {text}" for name, text in SCHEDULES.items()) + ".",
    ),
    click.option(
        "--warmup",
        type=click.FloatRange(0, 1000),
        default=0.0,
        metavar="EPOCHS",
        help="Rise to --lr first [0; one-cycle: 30 % of the run].",
    ),
    click.option("--shuffle/--no-shuffle", default=True, help="A new order of the images in each epoch [shuffle]."),
    click.option("--init-from", metavar="RUN|FILE", help="Begin with its weights, where name and shape are the same."),
    click.option(
        "--seed", type=_SEEDS, default=0, show_default=True, metavar="N", help="Of weights, split, order, dropout."
    ),
    click.option(
        "--patience", type=click.IntRange(1), metavar="N", help="Stop after N epochs without better validation."
    ),
    click.option(
        "--monitor",
        type=click.Choice(METRICS),
        help="Which figure makes an epoch the best one, also for --patience [val_acc; for numbers val_loss].",
    ),
    click.option("--target", metavar="[NAME=]X", help="Stop at this result: 0.99, 99%, val_acc=0.99, val_loss=0.05."),
    click.option("--max-time", metavar="TIME", help="Stop after 90s, 30m, 2h; --resume goes on for as long again."),
    click.option("-o", "--run-dir", metavar="DIR", help="Where the run is written [runs/ARCH-DATASET-N]."),
    click.option("-f", "--force", is_flag=True, help="Replace the run that is in --run-dir."),
    click.option("--resume", metavar="RUN", help="Continue this run where it was saved; needs no other option."),
    click.option("--override", is_flag=True, help="Let --resume change options such as --lr; the run notes them."),
    click.option(
        "--save-every",
        default="epoch",
        show_default=True,
        metavar="WHEN",
        help="Checkpoints: epoch, 500steps, 10min.",
    ),
    click.option(
        "--keep",
        type=click.IntRange(1, 1000),
        default=3,
        show_default=True,
        metavar="N",
        help="How many last checkpoints stay.",
    ),
    click.option(
        "-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", metavar="N", help="[all processors]"
    ),
    click.option(
        "--report/--no-report",
        default=True,
        help="curves.png, confusion.png, report.html at the end  [report].",
    ),
    click.option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=take_config,
        help="Train as RUN/config.yaml says, or as --print-config wrote; what is typed wins.",
    ),
    click.option("--print-config", is_flag=True, help="Print all options as they were resolved, train nothing."),
    click.option(
        "-n", "--dry-run", is_flag=True, help="Take 3 steps, say plan, speed, time and memory; write nothing."
    ),
    click.option("--overfit-batch", is_flag=True, help="Learn one batch by heart, write nothing; exit 4 if it cannot."),
    click.option(
        "--gradcheck", is_flag=True, help="Gradients against differences, write nothing; exit 6 if they differ."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Only the result."),
    click.option("--plain", is_flag=True, help="One line per epoch on a terminal too."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object per event on standard output: see below."),
)


# what checks that train nothing do not use, and what --gradcheck does not use besides
_OF_A_RUN = (
    "epochs", "schedule", "warmup", "patience", "monitor", "target", "max_time", "run_dir", "force", "resume",
    "save_every", "keep", "report",
)  # fmt: skip
_OF_STEPS = ("optimizer", "lr", "momentum", "nesterov", "weight_decay", "decay_all", "clip_norm")


@dataclass(frozen=True)
class TrainArguments:
    """What was typed: one field for each argument and option of the command, by its name there."""

    arch: str | None
    arch_option: str | None
    dataset: str | None
    data_dir: str | None
    val_split: float
    limit: int | None
    epochs: int | None
    batch_size: int
    optimizer: str
    lr: float | None
    momentum: float | None
    nesterov: bool
    weight_decay: float
    decay_all: bool
    clip_norm: float | None
    loss: str
    label_smoothing: float
    class_weights: str | None
    schedule: str
    warmup: float
    patience: int | None
    monitor: str | None
    classes: tuple[str, ...] | None
    normalize: str
    shuffle: bool
    init_from: str | None
    augment: str
    resize: tuple[int, int] | None
    fit: str | None
    channels: int | None
    skip_bad: bool
    seed: int
    run_dir: str | None
    force: bool
    resume: str | None
    override: bool
    save_every: str
    keep: int
    target: str | None
    max_time: str | None
    threads: int | None
    report: bool
    config: str | None
    print_config: bool
    dry_run: bool
    overfit_batch: bool
    gradcheck: bool
    quiet: bool
    plain: bool
    as_json: bool

    @property
    def run_path(self) -> Path | None:
        """Return where the run is written."""
        return None if self.run_dir is None else Path(self.run_dir)


def train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in their order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_arguments(given: TrainArguments) -> None:
    """Refuse texts, numbers and pairs of options that cannot be meant.

    Raises
    ------
    UsageError
        With what to do.
    """
    _check_texts(given)
    _check_numbers(given)
    _check_pairs(given)
    if given.arch is not None:
        _check_is_no_run(Path(given.arch))


def _check_texts(given: TrainArguments) -> None:
    # "$NAME" of a shell variable that is not set
    for name, value in {
        "ARCH": given.arch,
        "--run-dir": given.run_dir,
        "--data-dir": given.data_dir,
        "--init-from": given.init_from,
        "--dataset": given.dataset,
        "--resume": given.resume,
        "--config": given.config,
    }.items():
        if value == "":
            raise UsageError(f"{name} is empty", hint="name one, or leave it away")


def _check_numbers(given: TrainArguments) -> None:
    # Click's ranges let nan and inf through
    for name in ("lr", "momentum", "weight_decay", "clip_norm", "label_smoothing", "val_split", "warmup"):
        value = getattr(given, name)
        if value is not None and not abs(value) < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value} is not a finite number", hint="try 0.001")


def _check_pairs(given: TrainArguments) -> None:
    """Refuse options that another one makes meaningless."""
    if given.force and given.run_dir is None:
        raise UsageError("--force replaces the run in --run-dir, and none is named", hint="add --run-dir DIR")
    styles = [name for name in ("quiet", "plain", "as_json") if getattr(given, name)]
    if len(styles) > 1:
        first, second = (f"--{name.removeprefix('as_')}" for name in styles[:2])
        raise UsageError(f"{first} and {second} exclude each other", hint="give one of them")
    _check_checks(given)
    if given.resume is None:
        _check_new_run(given)
    else:
        unused = {
            "--run-dir": given.run_dir is not None,
            "--force": given.force,
            "--config": given.config is not None,
        }
        for name, is_given in unused.items():
            if is_given:
                raise UsageError(f"{name} is not used: --resume goes on in {given.resume}", hint="leave it away")


def _check_checks(given: TrainArguments) -> None:
    """Refuse what a check that trains nothing does not use."""
    modes = {
        "--print-config": given.print_config,
        "--dry-run": given.dry_run,
        "--overfit-batch": given.overfit_batch,
        "--gradcheck": given.gradcheck,
    }
    chosen = [name for name, is_given in modes.items() if is_given]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} exclude each other", hint="give one of them")
    if not chosen or given.dry_run:
        return
    unused = [*_OF_A_RUN, *(_OF_STEPS if given.gradcheck else ())]
    if given.print_config:
        unused = ["run_dir", "force", "resume", "report"]
    context = click.get_current_context()
    for name in unused:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is not used by {chosen[0]}", hint="leave it away")


def _check_new_run(given: TrainArguments) -> None:
    if given.dataset is None:
        hint = f"one of {', '.join(DATASETS)}; or --resume RUN, --config FILE"
        raise UsageError("missing option '--dataset'", hint=hint)
    if given.override:
        raise UsageError("--override changes a run that is continued, and none is named", hint="add --resume RUN")
    if given.dataset is not None:
        refuse_unused_data_dir(given.dataset)


def _check_is_no_run(path: Path) -> None:
    """Refuse weights in place of a network: a training that begins with new ones would not be what was asked for."""
    is_run = path.is_dir() and any((path / name).exists() for name in ("best.safetensors", "last.safetensors"))
    if not is_run and path.suffix != ".safetensors":
        return
    text = (path if is_run else path.parent) / "model.yaml"
    network = text if text.is_file() else "ARCH"
    hint = f"`cnn train {network} --init-from {path}` begins with its weights"
    what = "holds a run" if is_run else "is a checkpoint"
    raise UsageError(f"{what}, not a network", where=str(path), hint=hint)


def typed_options(given: TrainArguments) -> dict[str, Any]:
    """Return the fields of TrainingOptions that were typed or set in the environment."""
    from cnncli.tasks.train.augmentation import parse_augmentation
    from cnncli.tasks.train.options import TrainingOptions, dataset_source

    context = click.get_current_context()
    unset = (click.core.ParameterSource.DEFAULT, click.core.ParameterSource.DEFAULT_MAP, None)
    names = [name for name in TrainingOptions.__dataclass_fields__ if name != "arch"]
    values = {name: getattr(given, name) for name in names if context.get_parameter_source(name) not in unset}
    if values.get("loss") == "auto":
        del values["loss"]
    if "dataset" in values:
        values["dataset"] = dataset_source(values["dataset"])
    if values.get("augment") == "auto":
        del values["augment"]
    if "augment" in values:
        values["augment"] = parse_augmentation(values["augment"]).text
    return values


def reporting_style(given: TrainArguments) -> str:
    """Return how the events are written: a style of `training_reporter`."""
    if given.as_json:
        return "json"
    if given.quiet:
        return "quiet"
    return "terminal" if sys.stdout.isatty() and not given.plain else "plain"
