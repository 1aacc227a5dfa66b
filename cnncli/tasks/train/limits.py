"""What ends a run early and what makes it save: durations, targets and intervals, as texts of the command line."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnncli.errors import UsageError

if TYPE_CHECKING:
    from cnncli.tasks.train.events import EpochDone

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNIT = r"(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)"
METRICS = ("val_acc", "val_loss", "acc", "loss")


@dataclass(frozen=True)
class SaveEvery:
    """When the last checkpoint is written besides new best weights and the end: both 0 means after each epoch."""

    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Target:
    """A result that ends the run: an accuracy is reached from below, a loss from above."""

    metric: str
    value: float

    def is_met(self, row: EpochDone) -> bool:
        """Return whether an epoch reaches it."""
        found: float | None = getattr(row, self.metric)
        if found is None:
            return False
        return found <= self.value if self.metric.endswith("loss") else found >= self.value


class SavingTimes:
    """Remembers when the last checkpoint was written."""

    def __init__(self, every: SaveEvery) -> None:
        self._every = every
        self._at = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after this step of the run, counted from 1."""
        every = self._every
        if every.steps:
            return step % every.steps == 0
        return every.seconds > 0 and time.monotonic() - self._at >= every.seconds

    def is_due_after_epoch(self, step: int) -> bool:
        """Return the same for the last step of an epoch."""
        return self._every == SaveEvery() or self.is_due(step)

    def note(self) -> None:
        """Say that one was written now."""
        self._at = time.monotonic()


def parse_duration(text: str, option: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``30 min`` or ``1h30m``.

    Raises
    ------
    UsageError
        No such text, or nothing.
    """
    part = rf"\s*(\d+(?:\.\d+)?)\s*{_UNIT}"
    lower = text.strip().lower()
    seconds = 0.0
    if re.fullmatch(rf"(?:{part})+", lower, re.ASCII):
        seconds = sum(float(found[1]) * _SECONDS[found[2][0]] for found in re.finditer(part, lower, re.ASCII))
    if not 0 < seconds < 1e9:
        raise UsageError(f"{option} {text!r} is no length of time", hint="such as 90s, 30m, 2h or 1h30m")
    return seconds


def parse_save_every(text: str) -> SaveEvery:
    """Return when to save: ``epoch``, ``500 steps``, ``10 min``.

    Raises
    ------
    UsageError
        Another text.
    """
    lower = text.strip().lower()
    if lower in ("epoch", "1 epoch", "1epoch"):
        return SaveEvery()
    if steps := re.fullmatch(r"(\d{1,9})\s*(?:steps?)?", lower, re.ASCII):
        if int(steps[1]):
            return SaveEvery(steps=int(steps[1]))
    elif re.match(r"[\d.]", lower):
        return SaveEvery(seconds=parse_duration(text, "--save-every"))
    raise UsageError(f"--save-every {text!r} is not understood", hint="give epoch, 500steps or 10min")


def parse_target(text: str, has_validation: bool) -> Target:
    """Return the result that ``0.99``, ``99%``, ``val_acc=0.99`` or ``val_loss=0.05`` asks for.

    A number alone is an accuracy on the validation images.

    Raises
    ------
    UsageError
        Another text, an accuracy beyond 0..1, or a validation result without validation images.
    """
    match = re.fullmatch(r"(?:(\w+)\s*(?:=|>=|<=)\s*)?(\d+(?:\.\d*)?|\.\d+)(%?)", text.strip(), re.ASCII)
    hint = "such as 0.99, 99%, val_acc=0.99 or val_loss=0.05"
    if match is None or (match[1] or "val_acc") not in METRICS:
        raise UsageError(f"--target {text!r} is not understood", hint=hint)
    metric, value = match[1] or "val_acc", float(match[2]) / (100 if match[3] else 1)
    if metric.endswith("acc") and not 0 < value <= 1:
        raise UsageError(f"--target {text}: an accuracy is above 0 and at most 1 (100%)", hint=hint)
    if metric.startswith("val_") and not has_validation:
        hint = f"leave one of them away, or use --target {metric.removeprefix('val_')}={match[2]}{match[3]}"
        raise UsageError(f"--target {text} compares validation results, and --val-split 0 leaves none", hint=hint)
    return Target(metric, value)
