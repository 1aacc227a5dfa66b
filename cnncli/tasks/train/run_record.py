"""What a run writes down: its options, its history, its checkpoints, its result."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnncli import SCHEMA
from cnncli.io.checkpoint import BEST, LAST, Checkpoint, write_checkpoint
from cnncli.io.preprocessing import Preprocessing
from cnncli.optim.optimizers import OPTIMIZERS
from cnncli.optim.schedules import Plateau
from cnncli.tasks.train.events import EpochDone, Finished
from cnncli.tasks.train.options import MACHINE, dataset_source
from cnncli.tasks.train.plan import TrainingPlan
from cnncli.tasks.train.run_directory import CONFIG, HISTORY, MODEL, RunDirectory

if TYPE_CHECKING:
    from cnncli.engine.session import Session
    from cnncli.tasks.train.resume import SavedRun

_HISTORY = ("epoch", "loss", "acc", "val_loss", "val_acc", "lr", "images_per_s", "elapsed_s")


class RunRecord:
    """The memory of a run; every method that writes replaces whole files.

    Parameters
    ----------
    plan : TrainingPlan
        Of the run.
    run : RunDirectory
        Where its files go.

    Attributes
    ----------
    history : list of EpochDone
        The finished epochs.
    best : EpochDone or None
        The epoch whose weights are the best so far by `monitor` of the options: by itself the highest validation
        accuracy, then the lowest validation loss; without validation images the latest epoch.
    waits_from : int
        The epoch from which patience counts where the best one came before it.
    plateau : Plateau or None
        State of that schedule.
    """

    def __init__(self, plan: TrainingPlan, run: RunDirectory) -> None:
        self._plan, self._run = plan, run
        self._source: str = plan.options.dataset  # as it was typed when the run began
        self.history: list[EpochDone] = []
        self._table = ",".join(_HISTORY) + "\n"
        self.best: EpochDone | None = None
        self.plateau: Plateau | None = None
        self.waits_from = 0

    @property
    def epochs(self) -> int:
        """Return how many epochs are finished."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Return the epoch of the best weights, 0 before the first epoch is done."""
        return self.best.epoch if self.best else 0

    def is_better(self, row: EpochDone) -> bool:
        """Return True where this epoch beats the best one so far; of equal accuracies the lower loss decides."""
        monitor = self._plan.options.monitor or "val_acc"
        if self.best is None or (row.val_loss is None and monitor.startswith("val_")):
            return True
        prefix = "val_" if monitor.startswith("val_") else ""
        names = (f"{prefix}loss",) if monitor.endswith("loss") else (f"{prefix}acc", f"{prefix}loss")
        now, then = ([getattr(one, name) or 0.0 for name in names] for one in (row, self.best))
        now[-1], then[-1] = -now[-1], -then[-1]
        return now > then

    @property
    def waited(self) -> int:
        """Return how many epochs were finished since the best one."""
        return self.epochs - max(self.best_epoch, self.waits_from)

    def restore(self, saved: SavedRun) -> None:
        """Take over the history of a checkpoint."""
        for row in saved.history:
            self.add(row)
        self.best, self.plateau = saved.best, saved.plateau
        self._source = str(saved.checkpoint.training.get("source", self._source))

    def forget_best(self) -> None:
        """Let the best epoch be chosen among those to come."""
        self.best, self.waits_from = None, self.epochs

    def add(self, row: EpochDone) -> None:
        """Add a finished epoch to the history, and remember it if it is the best one."""
        self.history.append(row)
        values = [getattr(row, key) for key in _HISTORY]
        self._table += ",".join("" if value is None else _shown(value) for value in values) + "\n"
        if row.is_best:
            self.best = row

    def write_setup(self) -> None:
        """Write what the run was asked to do."""
        self._run.write(CONFIG, config_text(self._plan, MODEL, self._source).encode(errors="backslashreplace"))
        self._run.write(MODEL, self._plan.model.text.encode())

    def write_history(self) -> None:
        """Write the table of finished epochs."""
        self._run.write(HISTORY, self._table.encode())

    def save_best(self, session: Session, row: EpochDone) -> None:
        """Write the best weights: nothing in the file depends on time or threads."""
        facts = recipe_facts(self._plan, self._source) | {
            "epoch": row.epoch,
            "val_loss": row.val_loss,
            "val_acc": row.val_acc,
        }
        write_checkpoint(self._run.path / BEST, self._checkpoint(session, facts))

    def save_last(self, session: Session, *, epoch: int, step: int, partial: dict[str, float] | None = None) -> None:
        """Write all that continuing needs: the weights of this moment, the state of the optimizer, the history.

        Parameters
        ----------
        session : Session
            Weights and optimizer.
        epoch, step : int
            Finished epochs, and finished steps of the epoch after them.
        partial : dict, optional
            Sums of the unfinished epoch.
        """
        facts = recipe_facts(self._plan, self._source) | {
            "epoch": epoch,
            "step": step,
            "partial": partial,
            "best_epoch": self.best_epoch,
            "plateau": asdict(self.plateau) if self.plateau else None,
            "machine": machine_facts(self._plan),
        }
        checkpoint = self._checkpoint(session, facts)
        # before the first step that state is the one that every run begins with
        optimizer = session.optimizer_state() if epoch or step else {}
        state = {"optimizer": optimizer, "history": self._columns()}
        keep = self._plan.options.keep
        write_checkpoint(self._run.path / LAST, Checkpoint(**{**vars(checkpoint), **state}), keep=keep)

    def _columns(self) -> dict[str, NDArray[np.float64]]:
        """Return the history as one array for each column that has numbers."""
        names = [f.name for f in fields(EpochDone) if f.name != "epochs"]
        columns = {name: [getattr(row, name) for row in self.history] for name in names}
        return {name: np.array(column, np.float64) for name, column in columns.items() if column and None not in column}

    def result(self, done: Finished) -> dict[str, Any]:
        """Return the content of ``result.json``."""
        plan = self._plan
        return {
            "schema": SCHEMA,
            "arch": plan.model.name,
            "dataset": plan.data.name,
            "test_acc": done.test_acc,
            "test_loss": done.test_loss,
            "best_epoch": done.best_epoch,
            "val_acc": done.val_acc,
            "val_loss": self.best.val_loss if self.best else None,
            "epochs": done.epochs,
            "stopped_early": done.stopped_early,
            "stopped_by": done.stopped_by,
            "params": plan.model.parameter_count,
            "seed": plan.options.seed,
            "threads": plan.options.threads,
            "train_images": len(plan.order),
            "val_images": len(plan.validation),
            "test_images": len(plan.test),
            "elapsed_s": round(done.elapsed_s, 3),
        }

    def _checkpoint(self, session: Session, facts: dict[str, Any]) -> Checkpoint:
        plan = self._plan
        return Checkpoint(session.named(), plan.model.text, plan.data.classes, Preprocessing.of(plan.data), facts)


def recipe_facts(plan: TrainingPlan, source: str) -> dict[str, Any]:
    """Return what decides the weights, as it was chosen in the end; `source` is the data set as it was typed."""
    options = plan.options
    wanted = {name: value for name, value in asdict(options).items() if name not in MACHINE}
    chosen = {
        "arch": plan.model.name,
        "dataset": plan.data.name,
        "epochs": plan.epochs,
        "targets": plan.data.targets,
        "loss": plan.loss,
        "lr": plan.lr,
        "momentum": plan.momentum if OPTIMIZERS[options.optimizer].momentum is not None else None,
        "augment": plan.augmentation.text,
        "source": source,
    }
    facts: dict[str, Any] = wanted | chosen | {"data_sha256": plan.data.sha256, "versions": plan.versions}
    mean, std = plan.target_scale
    facts |= {"target_mean": list(mean), "target_std": list(std)} if std else {}
    return facts | ({"overrides": list(plan.overrides)} if plan.overrides else {})


def machine_facts(plan: TrainingPlan) -> dict[str, Any]:
    """Return what depends on the machine, with paths from the root."""
    options = plan.options
    folder = None if options.data_dir is None else str(Path(options.data_dir).absolute())
    values = {name: getattr(options, name) for name in MACHINE}
    return values | {"source": dataset_source(options.dataset), "data_dir": folder}


def config_text(plan: TrainingPlan, network: str, source: str) -> str:
    """Return the YAML that ``--config`` reads: every option of a training as it was resolved.

    Parameters
    ----------
    plan : TrainingPlan
    network : str
        A preset, or an architecture file as the reader of the text finds it.
    source : str
        The data set as it was typed.
    """
    facts = {"network": network} | recipe_facts(plan, source) | machine_facts(plan) | {"dataset_as_typed": source}
    # JSON values are YAML 1.2 values
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in facts.items()]
    return "".join(["# cnn train --config THIS_FILE trains the same again\n", *lines])


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
