"""The events that a training run yields; reporters write or draw them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Note:
    """Something the user should know, one line."""

    text: str


@dataclass(frozen=True)
class Forecast:
    """What a training will take, measured on three steps.

    Attributes
    ----------
    images_per_s : float
        Training images.
    epoch_s, total_s : float
        One epoch with its validation; all epochs that are not done, and the test.
    peak_bytes : int
        The most memory that this process held.
    """

    images_per_s: float
    epoch_s: float
    total_s: float
    peak_bytes: int


@dataclass(frozen=True)
class CheckRow:
    """Figures of a check that trains nothing: one batch learnt by heart, or gradients."""

    name: str
    figures: Mapping[str, int | float | str]
    is_result: bool = False


@dataclass(frozen=True)
class Prepared:
    """All is read and planned; nothing has been written yet.

    Attributes
    ----------
    memory_bytes : int
        What the run will need at most, data included.
    """

    arch: str
    dataset: str
    parameters: int
    train_images: int
    val_images: int
    test_images: int
    batch_size: int
    epochs: int
    optimizer: str
    lr: float
    schedule: str
    seed: int
    threads: int
    memory_bytes: int
    run_dir: Path | None
    is_dry_run: bool = False
    forecast: Forecast | None = None


@dataclass(frozen=True)
class Progress:
    """Inside an epoch, a few times per second; `loss` and `acc` are means so far, `acc` None as in `EpochDone`.

    Attributes
    ----------
    epoch_left_s, left_s : float
        Until the last step of the epoch and until the end of training, at the speed so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    acc: float | None
    lr: float
    images_per_s: float
    elapsed_s: float
    epoch_left_s: float
    left_s: float


@dataclass(frozen=True)
class Evaluating:
    """While images are only read, a few times per second.

    Attributes
    ----------
    part : str
        ``validation`` or ``test``.
    done, images : int
        Images done, of how many.
    """

    part: str
    epoch: int
    epochs: int
    done: int
    images: int


@dataclass(frozen=True)
class EpochDone:
    """One row of the history.

    Attributes
    ----------
    acc : float or None
        Share of right answers; None where targets are numbers.
    val_loss, val_acc : float or None
        None without validation images.
    lr : float
        Of the first step of the epoch.
    images_per_s : float
        Training images, validation not counted.
    elapsed_s : float
        Since training began.
    is_best : bool
        True where this epoch's weights are the best so far.
    """

    epoch: int
    epochs: int
    loss: float
    acc: float | None
    val_loss: float | None
    val_acc: float | None
    lr: float
    images_per_s: float
    elapsed_s: float
    is_best: bool


@dataclass(frozen=True)
class Finished:
    """The end: the best weights on the test images.

    Attributes
    ----------
    test_loss, test_acc : float or None
        None without test images.
    stopped_by : str
        The option that ended the run before its last epoch, empty for none.
    history : tuple of EpochDone
        Every epoch of the run, those before it was continued included.
    """

    test_loss: float | None
    test_acc: float | None
    best_epoch: int
    val_acc: float | None
    epochs: int
    elapsed_s: float
    run_dir: Path
    stopped_early: bool
    stopped_by: str = ""
    history: tuple[EpochDone, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """All options as they were resolved: the text of a ``config.yaml``."""

    text: str


@dataclass(frozen=True)
class NothingToDo:
    """A run that is continued is finished already; `text` says how to go on."""

    text: str
    run_dir: Path


# what programs know the events by; those of a check have the name of its row
EVENTS = {
    "plan": Prepared,
    "note": Note,
    "progress": Progress,
    "evaluating": Evaluating,
    "epoch": EpochDone,
    "finished": Finished,
    "nothing_to_do": NothingToDo,
    "configuration": Configuration,
}

TrainingEvent: TypeAlias = (
    CheckRow | Configuration | Note | NothingToDo | Prepared | Progress | Evaluating | EpochDone | Finished
)
