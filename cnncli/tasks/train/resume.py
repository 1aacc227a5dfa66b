"""Continuing a run: which checkpoint, what it says, and whether options and data are still those of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.checkpoint import BEST, LAST, Checkpoint, check_parameters, read_checkpoint, target_scale_of
from cnncli.io.datasets.catalogue import is_own
from cnncli.io.datasets.dataset import Dataset
from cnncli.model import Model, parse_model
from cnncli.model.sources import Source
from cnncli.optim.schedules import Plateau
from cnncli.tasks.data.choice import join_classes
from cnncli.tasks.train.events import EpochDone
from cnncli.tasks.train.limits import parse_target
from cnncli.tasks.train.options import MACHINE, TrainingOptions
from cnncli.tasks.train.run_directory import RESULT, last_checkpoints

FREE = (*MACHINE, "epochs", "patience", "target")  # how long a run takes, not what it learns
OVERRIDABLE = (
    "lr", "momentum", "nesterov", "weight_decay", "decay_all", "clip_norm", "label_smoothing", "class_weights",
    "schedule", "warmup", "augment",
)  # fmt: skip
_PLANNED = ("cosine", "step", "one-cycle")  # schedules that depend on the number of epochs


@dataclass(frozen=True)
class Partial:
    """Sums over the finished part of an epoch."""

    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class SavedRun:
    """A run as one of its checkpoints holds it.

    Attributes
    ----------
    file : Path
        The checkpoint.
    broken : tuple of Path
        Newer checkpoints that cannot be used.
    notes : tuple of str
        What the user should know.
    epoch, step : int
        Finished epochs, and finished steps of the next one.
    history : tuple of EpochDone
        The finished epochs.
    best : EpochDone or None
        Of them.
    overrides : tuple of mapping
        Options that were changed when the run was continued, in order.
    changed : tuple of str
        Options that differ from those of the checkpoint.
    """

    file: Path
    checkpoint: Checkpoint
    epoch: int
    step: int
    partial: Partial
    history: tuple[EpochDone, ...]
    best: EpochDone | None
    plateau: Plateau | None
    options: TrainingOptions
    broken: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    overrides: tuple[Mapping[str, Any], ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def is_begun(self) -> bool:
        """Return whether a step has been taken; before that a checkpoint needs no state of the optimizer."""
        return self.epoch > 0 or self.step > 0

    @property
    def is_changed(self) -> bool:
        """Return whether the steps to come may differ from those that were planned."""
        return any(name == "epochs" or name not in (*FREE, "dataset") for name in self.changed)

    @property
    def target_scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and deviation of the targets, empty where the run does not standardise them."""
        return target_scale_of(self.checkpoint, str(self.file))

    @property
    def folder(self) -> Path:
        """Return the run directory."""
        return self.file.parent

    @property
    def source(self) -> Source:
        """Return the network."""
        return Source(self.checkpoint.architecture, self.options.arch)

    def check(self, model: Model, data: Dataset) -> None:
        """Refuse other data than those of the run, and weights that are not those of its network.

        Raises
        ------
        InvalidInputError
            With both numbers.
        """
        where, checkpoint = str(self.file), self.checkpoint
        hint = f"give the same data, or begin a new run with --init-from {self.folder}"
        if checkpoint.classes != data.classes:
            then, now = (len(names) for names in (checkpoint.classes, data.classes))
            new = [name for name in data.classes if name not in checkpoint.classes]
            listed = f": new {', '.join(map(repr, new[:3]))}" if new else ", with other names or in another order"
            raise InvalidInputError(
                f"the run has {then} classes, {data.name} has {now}{listed}", where=where, hint=hint
            )
        known = checkpoint.training.get("data_sha256")
        if known != data.sha256:
            digests = f"SHA-256 {data.sha256[:12]}, not {str(known)[:12]}"
            message = f"the images of {data.name} are not those of the run: {digests}"
            raise InvalidInputError(message, where=where, hint=hint)
        check_parameters(checkpoint, {slot.name: slot.shape for slot in (*model.slots, *model.state_slots)}, where)

    def differences(self, used: Mapping[str, str | int]) -> list[str]:
        """Return a note on libraries or a processor that are not those of the run so far, if they are not."""
        before = self.checkpoint.training.get("versions")
        before = before if isinstance(before, dict) else {}
        found = [f"{name} {before.get(name)} -> {value}" for name, value in used.items() if before.get(name) != value]
        return [f"the last digits may differ from an uninterrupted run: {', '.join(found)}"] if found else []

    def already_finished(self) -> str:
        """Return why there is nothing left to do, with the way to go on; empty where there is."""
        if not (self.folder / RESULT).exists():
            return ""
        done, options = self.epoch, self.options
        if self.step == 0 and done >= (options.epochs or 0):
            return f"already at {done}/{options.epochs}; pass --epochs {2 * max(done, 1)} to train on"
        if reason := reason_to_stop(options, self.history, self.best.epoch if self.best else 0):
            way = "--target" if reason.startswith("--target") else "--patience"
            return f"stopped after epoch {done} by {reason}; pass another {way} to train on"
        return ""


def reason_to_stop(options: TrainingOptions, history: tuple[EpochDone, ...] | list[EpochDone], since: int) -> str:
    """Return the option that ends a run after the last epoch of its history, empty for none.

    Parameters
    ----------
    options : TrainingOptions
    history : sequence of EpochDone
    since : int
        The epoch from which patience counts: the best one.
    """
    if not history:
        return ""
    if options.target is not None and parse_target(options.target, has_validation=True).is_met(history[-1]):
        return f"--target {options.target}"
    if options.patience is not None and history[-1].epoch - since >= options.patience:
        return f"--patience {options.patience}"
    return ""


def read_saved_run(folder: Path) -> SavedRun:
    """Return what the newest usable checkpoint of a run says; notes name those that are not usable.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    files = last_checkpoints(folder)
    if not files:
        hint = "name a run directory of `cnn train`, such as runs/digits-1"
        raise InvalidInputError(f"holds no {LAST} to continue from", where=str(folder), hint=hint)
    broken: list[Path] = []
    errors: list[InvalidInputError] = []
    for file in files:
        try:
            saved = _read(file)
        except InvalidInputError as error:
            broken.append(file)
            errors.append(error)
            continue
        notes = [f"{error.where}: {error.message}" for error in errors]
        if broken:
            notes.append(f"continuing from {file}, the checkpoint before: epoch {saved.epoch} step {saved.step}")
        return replace(saved, broken=tuple(broken), notes=tuple(notes))
    first = errors[0]
    hint = "nor is an older one usable" if len(errors) > 1 else "and there is no older one"
    raise InvalidInputError(first.message, where=first.where, hint=f"{hint}: begin again with --force")


def with_changes(saved: SavedRun, typed: Mapping[str, Any], *, override: bool) -> SavedRun:
    """Return the run with options that were typed in place of its own.

    Parameters
    ----------
    saved : SavedRun
    typed : mapping
        Fields of TrainingOptions; those with the run's own value are no change.
    override : bool
        Let options change that decide what is learnt.

    Raises
    ------
    InvalidInputError
        Changes that were not allowed, or that would need another run; all are listed.
    UsageError
        Fewer epochs than are done.
    """
    options = saved.options
    changed = {name: value for name, value in typed.items() if getattr(options, name) != value}
    # files that have moved: their content is compared once they are read
    has_moved = "dataset" in changed and is_own(changed["dataset"]) and is_own(options.dataset)
    learnt = {name: value for name, value in changed.items() if name not in (*FREE, "dataset" if has_moved else "")}
    fixed = [name for name in learnt if name not in OVERRIDABLE]
    if fixed or (learnt and not override):
        pairs = [(_shown(name, value), _shown(name, getattr(options, name))) for name, value in learnt.items()]
        listed = ", ".join(f"{now} (the run: {then})" for now, then in pairs)
        anew = f"begin a new run with --init-from {saved.folder}"
        hint = f"leave {'it' if len(learnt) == 1 else 'them'} away, or {anew if fixed else 'add --override'}"
        raise InvalidInputError(f"continued with other options: {listed}", where=str(saved.folder), hint=hint)
    notes, overrides = list(saved.notes), saved.overrides
    if learnt:
        told = {name: [getattr(options, name), value] for name, value in learnt.items()}
        overrides += ({"epoch": saved.epoch, "step": saved.step, **told},)
        listed = ", ".join(f"{_shown(name, new)} (was {_shown(name, old)})" for name, (old, new) in told.items())
        notes.append(f"changed from epoch {saved.epoch + 1} step {saved.step + 1} on: {listed}")
    before, epochs = options.epochs or 0, changed.get("epochs")
    if epochs is not None:
        _check_epochs(saved, epochs)
        if changed.get("schedule", options.schedule) in _PLANNED:
            notes.append(f"the learning rate follows {options.schedule} over {epochs} epochs now, not {before}")
    wanted = replace(options, **changed)
    return replace(saved, options=wanted, notes=tuple(notes), overrides=overrides, changed=tuple(changed))


def _check_epochs(saved: SavedRun, epochs: int) -> None:
    begun = saved.epoch + (saved.step > 0)
    if epochs < begun:
        message = f"--epochs {epochs}: epoch {begun} {'is done' if begun == saved.epoch else 'has begun'} already"
        raise UsageError(message, where=str(saved.folder), hint="--epochs is the total")


def _shown(name: str, value: Any) -> str:
    """Return an option as it is typed."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{option}"
    if name == "classes" and value is not None:
        return f"--classes {join_classes(value)}"
    text = str(value).replace("_", "-") if name == "loss" else str(value)
    return f"no --{option}" if value is None else f"--{option} {text}"


def _read(file: Path) -> SavedRun:
    checkpoint = read_checkpoint(file)
    facts = checkpoint.training
    if not isinstance(facts.get("machine"), dict):
        _refuse(file, "written by an older cnncli: it does not hold all that continuing needs")
    try:
        partial = facts["partial"] or {}
        options = _options(facts)
        history = _history(checkpoint, int(options.epochs or 0))
        plateau = Plateau(**facts["plateau"]) if facts["plateau"] else None
        best = next((row for row in history if row.epoch == facts["best_epoch"]), None)
        place = int(facts["epoch"]), int(facts["step"])
        sums = Partial(**{name: kind(partial.get(name, 0)) for name, kind in _SUMS.items()})
        overrides = tuple(dict(entry) for entry in facts.get("overrides", ()))
    except (KeyError, TypeError, ValueError) as error:
        _refuse(file, f"its training facts cannot be used ({type(error).__name__}: {error})")
    if len(history) != place[0] or min(place) < 0:
        _refuse(file, f"it holds {len(history)} rows of history for {place[0]} epochs")
    return SavedRun(file, checkpoint, *place, sums, history, best, plateau, options, overrides=overrides)


_SUMS: Mapping[str, type] = {"loss_sum": float, "correct": int, "seen": int, "elapsed_s": float}


def _options(facts: Mapping[str, Any]) -> TrainingOptions:
    known = {f.name for f in fields(TrainingOptions)}
    machine = facts["machine"]
    values = {name: value for name, value in (dict(facts) | dict(machine)).items() if name in known}
    folder, size, classes = machine["data_dir"], facts["resize"], facts.get("classes")
    return TrainingOptions(
        **values
        | {
            "dataset": machine["source"],
            "data_dir": None if folder is None else Path(folder),
            "resize": None if size is None else tuple(size),
            "classes": None if classes is None else tuple(classes),
        }
    )


def _history(checkpoint: Checkpoint, epochs: int) -> tuple[EpochDone, ...]:
    columns = {name: array.tolist() for name, array in checkpoint.history.items()}
    count = len(columns.get("epoch", ()))
    rows = []
    for i in range(count):
        values: dict[str, Any] = {name: column[i] for name, column in columns.items()}
        kept = {"acc": None, "val_loss": None, "val_acc": None} | values
        kept |= {"epoch": int(values["epoch"]), "is_best": bool(values["is_best"]), "epochs": epochs}
        rows.append(EpochDone(**kept))
    return tuple(rows)


def check_architecture(saved: SavedRun, source: Source) -> None:
    """Refuse another network than that of the run.

    Raises
    ------
    InvalidInputError
        It is another one, or none.
    """
    checkpoint = saved.checkpoint
    shape, count = checkpoint.preprocessing.shape, len(checkpoint.classes)
    try:
        text = parse_model(source.text, source.where, input_shape=shape, classes=count).text
    except InvalidInputError:  # such as one for larger images
        text = ""
    if text != checkpoint.architecture:
        hint = f"leave it away, or begin a new run with --init-from {saved.folder}"
        message = f"the run trains {saved.options.arch}, and {source.where} is another network"
        raise InvalidInputError(message, where=str(saved.folder), hint=hint)


def best_weights(saved: SavedRun) -> tuple[Mapping[str, np.ndarray] | None, bool, str]:
    """Return the weights of the best epoch, whether their file is to be written again, and a note.

    None stands for the weights of the checkpoint itself. A run that was killed between the two files has the new best
    weights in its last checkpoint alone.
    """
    if saved.best is None or (saved.best.epoch == saved.epoch and saved.step == 0):
        return None, saved.best is not None, ""
    path = saved.folder / BEST
    try:
        found = read_checkpoint(path)
    except InvalidInputError as error:
        return None, False, f"{path}: {error.message}: the best epoch is chosen anew from epoch {saved.epoch + 1} on"
    epoch = found.training.get("epoch")
    is_of_this_future = not saved.is_changed and isinstance(epoch, int) and epoch > saved.epoch
    if epoch != saved.best.epoch and not is_of_this_future:
        note = f"{path} is of epoch {epoch}, not {saved.best.epoch}: the best epoch is chosen anew"
        return None, False, f"{note} from epoch {saved.epoch + 1} on"
    return found.parameters, False, ""


def check_optimizer(saved: SavedRun, wanted: Mapping[str, np.ndarray]) -> None:
    """Refuse a checkpoint whose optimizer state is not that of the run's optimizer.

    Raises
    ------
    InvalidInputError
        With the names.
    """
    found = saved.checkpoint.optimizer
    shapes = [{name: array.shape for name, array in state.items()} for state in (found, wanted)]
    if shapes[0] != shapes[1]:
        message = f"its optimizer state is {shapes[0] or 'missing'}, {saved.options.optimizer} needs {shapes[1]}"
        _refuse(saved.file, message)


def _refuse(file: Path, message: str) -> NoReturn:
    raise InvalidInputError(message, where=str(file), hint="take another checkpoint of the run")
