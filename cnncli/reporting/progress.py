"""Training as it is seen: rows and a live bar on a terminal, one line an epoch in a pipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from cnncli.reporting.encodable import encodable, write_line
from cnncli.tasks.training_events import EpochDone, Finished, Note, Prepared, Progress, TrainingEvent

_HEAD = "  epoch    loss     acc  val_loss  val_acc         lr     img/s    time"


class TrainingReporter(Protocol):
    """Draws the events of a run; a context manager, so that a terminal is left as it was."""

    def __enter__(self) -> TrainingReporter:
        """Begin."""
        ...

    def __exit__(self, *args: object) -> None:
        """End, whatever happened."""
        ...

    def show(self, event: TrainingEvent) -> None:
        """Draw one event."""
        ...


def training_reporter(style: str, out: TextIO, err: TextIO) -> TrainingReporter:
    """Return the reporter of a style.

    Parameters
    ----------
    style : str
        ``terminal``, ``plain``, ``json`` or ``quiet``.
    out, err : text streams
        Rows and results go to `out`; the header and notes to `err`.
    """
    makers: dict[str, Callable[[TextIO, TextIO], TrainingReporter]] = {
        "terminal": TerminalReporter,
        "plain": PlainReporter,
        "json": JsonReporter,
        "quiet": QuietReporter,
    }
    return makers[style](out, err)


class QuietReporter:
    """Only the result, as `key=value` words."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err

    def __enter__(self) -> TrainingReporter:
        """Begin."""
        return self

    def __exit__(self, *args: object) -> None:
        """End."""

    def show(self, event: TrainingEvent) -> None:
        """Write the result line."""
        if isinstance(event, Finished):
            words = {
                "test_acc": f"{event.test_acc:.4f}",
                "test_loss": f"{event.test_loss:.4f}",
                "best_epoch": event.best_epoch,
                "run": event.run_dir,
            }
            write_line(" ".join(f"{key}={value}" for key, value in words.items()), self.out)


class PlainReporter(QuietReporter):
    """One `key=value` line an epoch and one for the result; header and notes on the other stream."""

    def show(self, event: TrainingEvent) -> None:
        """Write an event that has a line."""
        if isinstance(event, Prepared):
            for line in header(event):
                write_line(line, self.err)
        elif isinstance(event, Note):
            write_line(f"note: {event.text}", self.err)
        elif isinstance(event, EpochDone):
            write_line(" ".join(f"{key}={value}" for key, value in _plain_row(event).items()), self.out)
        else:
            super().show(event)


class JsonReporter(PlainReporter):
    """One JSON object an epoch and one for the result."""

    def show(self, event: TrainingEvent) -> None:
        """Write an event that is data as JSON, others as `PlainReporter` does."""
        if isinstance(event, EpochDone | Finished):
            kind = "epoch" if isinstance(event, EpochDone) else "finished"
            self._write({"schema": "cnncli/1", "event": kind, **asdict(event)})
        else:
            super().show(event)

    def _write(self, value: dict[str, Any]) -> None:
        write_line(json.dumps(value, default=str), self.out)


class TerminalReporter(PlainReporter):
    """Finished rows above a live bar."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        super().__init__(out, err)
        self.console = Console(file=out, highlight=False, soft_wrap=True)
        self.bar = Bar(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}  {task.fields[state]}"),
            console=self.console,
            auto_refresh=False,  # drawn when the task speaks: no second thread beside the kernels
            transient=True,
        )
        self.task = self.bar.add_task("", epoch="", state="", visible=False)
        self.headed = False

    def __enter__(self) -> TrainingReporter:
        """Begin the live region."""
        self.bar.start()
        return self

    def __exit__(self, *args: object) -> None:
        """Take the bar away."""
        self.bar.stop()

    def show(self, event: TrainingEvent) -> None:
        """Draw a row, move the bar, or write a line above it."""
        if isinstance(event, Progress):
            self._move(event)
        elif isinstance(event, EpochDone):
            if not self.headed:
                self._line(_HEAD, "bold")
                self.headed = True
            self.bar.update(self.task, visible=False)
            self._line(_terminal_row(event), "green" if event.is_best else "")
        elif isinstance(event, Finished):
            self._line(_ending(event), "bold")
            self._line(f"run in {event.run_dir}", "")
        elif isinstance(event, Prepared):
            for line in header(event):
                self._line(line, "")
        else:
            self._line(f"note: {event.text}", "yellow")

    def _move(self, event: Progress) -> None:
        left = event.elapsed_s * (event.steps / event.step - 1)
        state = f"loss {event.loss:.4f}  {event.acc:6.1%}  ETA {left:.0f} s"
        self.bar.update(
            self.task,
            completed=event.step,
            total=event.steps,
            epoch=f"{_epoch(event)} ",
            state=state,
            visible=True,
            refresh=True,
        )

    def _line(self, text: str, style: str) -> None:
        self.console.print(Text(encodable(text, self.out), style=style))


def header(event: Prepared) -> tuple[str, str]:
    """Return what is trained on what, and how, each on one line of a terminal."""
    data = f"{event.dataset}: {event.train_images:,} train, {event.val_images:,} val, {event.test_images:,} test"
    memory = f"about {max(event.memory_bytes / 2**20, 1):,.0f} MiB"
    epochs = f"{event.epochs} epoch{'s' if event.epochs != 1 else ''}"
    threads = f"{event.threads} thread{'s' if event.threads != 1 else ''}"
    recipe = f"batch {event.batch_size} · {event.optimizer} lr {event.lr:g} {event.schedule} · seed {event.seed}"
    return (
        f"{event.arch} · {event.parameters:,} parameters · {data}",
        f"{epochs} · {recipe} · {threads} · {memory}",
    )


def _epoch(event: Progress | EpochDone) -> str:
    return f"{event.epoch:>{len(str(event.epochs))}}/{event.epochs}".rjust(7)


def _terminal_row(row: EpochDone) -> str:
    val_loss = "-" if row.val_loss is None else f"{row.val_loss:.4f}"
    val_acc = "-" if row.val_acc is None else f"{row.val_acc:.2%}"
    mark = "*" if row.is_best else " "
    return (
        f"{_epoch(row)}  {row.loss:6.4f}  {row.acc:6.2%}  {val_loss:>8}  {val_acc:>7} {mark}"
        f"{row.lr:>9.2g}  {row.images_per_s:>8,.0f}  {row.elapsed_s:>5.1f}s"
    )


def _plain_row(row: EpochDone) -> dict[str, str]:
    values = {
        "epoch": f"{row.epoch}/{row.epochs}",
        "loss": f"{row.loss:.4f}",
        "acc": f"{row.acc:.4f}",
        "val_loss": "-" if row.val_loss is None else f"{row.val_loss:.4f}",
        "val_acc": "-" if row.val_acc is None else f"{row.val_acc:.4f}",
        "lr": f"{row.lr:.3g}",
        "images_per_s": f"{row.images_per_s:.0f}",
        "elapsed_s": f"{row.elapsed_s:.2f}",
    }
    return values | ({"best": "yes"} if row.is_best else {})


def _ending(event: Finished) -> str:
    early = " (stopped early)" if event.stopped_early else ""
    best = f"best epoch {event.best_epoch}"
    if event.val_acc is not None:
        best += f", val {event.val_acc:.2%}"
    return f"test accuracy {event.test_acc:.2%} · {best} · {event.elapsed_s:.1f} s{early}"
