"""A small training that is stopped, killed and continued in this process, and what must be the same afterwards."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tasks.train.fake_session import FakeSession

from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.model.sources import Source
from cnncli.tasks.train.loop import train
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.plan import plan_training
from cnncli.tasks.train.resume import read_saved_run, with_changes
from cnncli.tasks.train.run_directory import RunDirectory

ARCH = "{name: linear, input: [8, 8, 1], classes: 10, layers: [flatten, dense: {units: classes, bias: false}, softmax]}"
SMALL = {"epochs": 3, "lr": 0.1, "limit": 100, "batch_size": 20}
TIMES = ("images_per_s", "elapsed_s")


def begin(path: Path, make: Any = FakeSession, arch: str = ARCH, **changes: Any) -> list[Any]:
    """Train in a new directory."""
    options = TrainingOptions(arch="linear", dataset="digits", **SMALL | changes)
    plan = plan_training(options, Source(arch, "linear"), load_dataset("digits"))
    with RunDirectory(path) as run:
        return list(train(plan, run, make))


def go_on(path: Path, make: Any = FakeSession, *, data: Any = None, override: bool = False, **typed: Any) -> list[Any]:
    """Continue a run, as the command does; return nothing where it is finished."""
    with RunDirectory(path, is_continued=True) as run:
        saved = with_changes(read_saved_run(path), typed, override=override)
        if saved.already_finished():
            return []
        plan = plan_training(saved.options, saved.source, data or load_dataset("digits"), saved)
        return list(train(plan, run, make, saved))


def history(path: Path) -> list[dict[str, str]]:
    """Return the rows of a run without those numbers that depend on the clock."""
    with (path / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def outcome(path: Path) -> dict[str, Any]:
    """Return everything of a finished run that an interruption must not change."""
    last = read_checkpoint(path / "last.safetensors")
    tensors = {**last.parameters, **last.optimizer}
    tensors |= {name: column for name, column in last.history.items() if name not in TIMES}
    result = json.loads((path / "result.json").read_text())
    result.pop("elapsed_s")
    return {
        "best": (path / "best.safetensors").read_bytes(),
        "history": history(path),
        "result": result,
        "last": {name: array.tobytes() for name, array in tensors.items()},
        "facts": {name: value for name, value in last.training.items() if name != "machine"},
        "files": sorted(
            file.name for file in path.iterdir() if not file.name.startswith("last-") and file.suffix != ".broken"
        ),
    }


def assert_same(found: Path, expected: Path) -> None:
    """Compare the outcomes of two runs, byte for byte."""
    first, second = outcome(found), outcome(expected)
    for part in first:
        assert first[part] == second[part], part
