"""Progress of training: rows and a live bar on a terminal, one line per epoch in a pipe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cnncli import SCHEMA
from cnncli.reporting.encodable import encodable, write_line
from cnncli.tasks.train.events import (
    EVENTS,
    CheckRow,
    Configuration,
    EpochDone,
    Evaluating,
    Finished,
    Forecast,
    Note,
    NothingToDo,
    Prepared,
    Progress,
    TrainingEvent,
)

_LINE_EVERY_S = 10.0  # in a pipe, inside an epoch
_JSON_EVERY_S = 1.0
_NAMES = {kind: name for name, kind in EVENTS.items()}
_WIDEST_BAR = 24
# columns of a terminal's row: name, width, and in which order they are left out where the terminal is narrow
_COLUMNS = (
    ("epoch", 7, 9),
    ("loss", 8, 3),
    ("acc", 8, 4),
    ("val_loss", 10, 5),
    ("val_acc", 9, 8),
    ("best", 2, 7),
    ("lr", 9, 1),
    ("img/s", 10, 0),
    ("time", 8, 2),
)


class TrainingReporter(Protocol):
    """Writes the events of a run; a context manager, so that the state of a terminal is restored on an error too."""

    def __enter__(self) -> TrainingReporter: ...

    def __exit__(self, *args: object) -> None: ...

    def show(self, event: TrainingEvent) -> None:
        """Write or draw one event; events that the style leaves out are ignored."""
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
    """Only the result, as `key=value` pairs on one line."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err

    def __enter__(self) -> TrainingReporter:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def show(self, event: TrainingEvent) -> None:
        """Write the result of a `Finished` event, or that there is nothing to do; ignore all others."""
        if isinstance(event, NothingToDo):
            write_line(f"{event.run_dir}: {event.text}", self.out)
        elif isinstance(event, Configuration):
            self.out.write(encodable(event.text, self.out))
        elif isinstance(event, CheckRow) and event.is_result:
            write_line(_pairs(event.figures), self.out)
        elif isinstance(event, Prepared) and event.forecast:
            write_line(_pairs(_forecast(event, event.forecast)), self.out)
        elif isinstance(event, Finished):
            words = {
                "test_acc": _number(event.test_acc),
                "test_loss": _number(event.test_loss),
                **({"val_acc": _number(event.val_acc)} if event.test_loss is None else {}),
                "best_epoch": event.best_epoch,
                "run": event.run_dir,
            }
            write_line(" ".join(f"{key}={value}" for key, value in words.items()), self.out)


class PlainReporter(QuietReporter):
    """One `key=value` line per epoch and one for the result; header, notes and long epochs on the other stream."""

    def __init__(self, out: TextIO, err: TextIO, line_every_s: float = _LINE_EVERY_S) -> None:
        super().__init__(out, err)
        self.line_every_s = line_every_s
        self.last_line_at = time.monotonic()

    def show(self, event: TrainingEvent) -> None:
        """Write an event that has a line."""
        if isinstance(event, Prepared):
            for line in header(event):
                write_line(line, self.err)
            super().show(event)
        elif isinstance(event, CheckRow):
            write_line(_pairs(event.figures), self.out)
        elif isinstance(event, Note):
            write_line(f"note: {event.text}", self.err)
        elif isinstance(event, Progress | Evaluating):
            if time.monotonic() - self.last_line_at >= self.line_every_s:
                self.last_line_at = time.monotonic()
                write_line(_plain_progress(event), self.err)
        elif isinstance(event, EpochDone):
            self.last_line_at = time.monotonic()
            write_line(" ".join(f"{key}={value}" for key, value in _plain_row(event).items()), self.out)
        else:
            super().show(event)


class JsonReporter(QuietReporter):
    """Every event as one JSON object on one line; those of the work within an epoch at most once per second."""

    def __init__(self, out: TextIO, err: TextIO, progress_every_s: float = _JSON_EVERY_S) -> None:
        super().__init__(out, err)
        self.progress_every_s = progress_every_s
        self.last_progress_at = time.monotonic()

    def show(self, event: TrainingEvent) -> None:
        """Write an event."""
        if isinstance(event, CheckRow):
            self._write(event.name.replace(" ", "_"), event.figures)
            return
        if isinstance(event, Progress | Evaluating):
            if time.monotonic() - self.last_progress_at < self.progress_every_s:
                return
            self.last_progress_at = time.monotonic()
        left_out = ("history",) if isinstance(event, Finished) else ()  # told epoch by epoch
        values = {key: value for key, value in asdict(event).items() if key not in left_out}
        self._write(_NAMES[type(event)], values)

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        write_line(json.dumps({"schema": SCHEMA, "event": name, **values}, default=str, allow_nan=False), self.out)


class TerminalReporter(PlainReporter):
    """A table with one row per epoch, whose last row is live, above a bar with the time that is left."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        super().__init__(out, err)
        self.console = Console(file=out, highlight=False, soft_wrap=True)
        # drawn at each event: no second thread beside the kernels
        self.live = Live(Group(), console=self.console, auto_refresh=False, transient=True)
        self.cells: dict[str, str] = {}
        self.headed = False

    def __enter__(self) -> TrainingReporter:
        self.live.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._hide()
        self.live.stop()

    def show(self, event: TrainingEvent) -> None:
        """Draw a row, move the bar, or write a line above it."""
        if isinstance(event, Progress):
            self._head()
            self.cells = _live_row(event)
            left = f"epoch {duration(event.epoch_left_s)}, all {duration(event.left_s)} left"
            self._draw(event.step, event.steps, left)
        elif isinstance(event, Evaluating):
            self._draw(event.done, event.images, f"{event.part} images")
        elif isinstance(event, EpochDone):
            self._hide()
            self._head()
            self._print_row(_terminal_row(event), "green" if event.is_best else "")
        elif isinstance(event, Finished):
            self._hide()
            self._line(_ending(event), "bold")
            self._line(f"run in {event.run_dir}", "")
        elif isinstance(event, Prepared):
            for line in header(event):
                self._line(line, "", wrap=True)
            if event.forecast:
                self._line(forecast_line(event.forecast), "bold", wrap=True)
        elif isinstance(event, NothingToDo | CheckRow | Configuration):
            super().show(event)
        else:
            self._line(f"note: {event.text}", "yellow")

    def _draw(self, done: int, total: int, text: str) -> None:
        """Draw the row of the epoch that is at work, and the bar below it."""
        width = max(4, min(_WIDEST_BAR, self.console.width - 56))
        line = Table.grid(padding=(0, 1))
        line.add_row("  ", ProgressBar(total, done, width=width), Text(f"{done:,}/{total:,}  {text}", no_wrap=True))
        row = Text(self._row(self.cells), no_wrap=True) if self.cells else Text("")
        self.live.update(Group(row, line) if self.cells else Group(line), refresh=True)

    def _hide(self) -> None:
        self.cells = {}
        self.live.update(Group(), refresh=True)

    def _head(self) -> None:
        if not self.headed:
            self.headed = True
            self._print_row({name: name for name, _, _ in _COLUMNS} | {"best": ""}, "bold")

    def _print_row(self, cells: dict[str, str], style: str) -> None:
        self._line(self._row(cells), style)

    def _row(self, cells: dict[str, str]) -> str:
        """Return the cells of a row side by side, as many as fit."""
        left, width = list(_COLUMNS), self.console.width
        while len(left) > 1 and sum(column[1] for column in left) > width:
            left.remove(min(left, key=lambda column: column[2]))
        return "".join(cells[name].rjust(size) for name, size, _ in left)

    def _line(self, text: str, style: str, *, wrap: bool = False) -> None:
        self.console.print(Text(encodable(text, self.out), style=style), soft_wrap=not wrap)


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


def forecast_line(found: Forecast) -> str:
    """Return what three steps say about speed, time and memory."""
    times = f"{duration(found.epoch_s)} per epoch, {duration(found.total_s)} in all"
    return f"forecast of 3 steps: {found.images_per_s:,.0f} images/s · {times} · {found.peak_bytes / 2**20:,.0f} MiB"


def _forecast(event: Prepared, found: Forecast) -> dict[str, int | float | str]:
    return {
        "parameters": event.parameters,
        "memory_mib": round(event.memory_bytes / 2**20, 1),
        "peak_mib": round(found.peak_bytes / 2**20, 1),
        "images_per_s": round(found.images_per_s),
        "epoch_s": found.epoch_s,
        "total_s": found.total_s,
    }


def _pairs(figures: Mapping[str, int | float | str]) -> str:
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in figures.items()}
    return " ".join(f"{name}={value}" for name, value in shown.items())


def duration(seconds: float) -> str:
    """Return a time as one reads it: 0.4 s, 12 s, 3:05, 2:10:00.

    Examples
    --------
    >>> duration(0.44), duration(12.2), duration(185), duration(7800)
    ('0.4 s', '12 s', '3:05', '2:10:00')
    """
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _epoch(event: Progress | Evaluating | EpochDone) -> str:
    return f"{event.epoch:>{len(str(event.epochs))}}/{event.epochs}".rjust(7)


def _terminal_row(row: EpochDone) -> dict[str, str]:
    return {
        "epoch": _epoch(row),
        "loss": f"{row.loss:.4f}",
        "acc": _share(row.acc),
        "val_loss": _number(row.val_loss),
        "val_acc": _share(row.val_acc),
        "best": "*" if row.is_best else "",
        "lr": f"{row.lr:.2g}",
        "img/s": f"{row.images_per_s:,.0f}",
        "time": duration(row.elapsed_s),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _live_row(event: Progress) -> dict[str, str]:
    return {
        "epoch": _epoch(event),
        "loss": f"{event.loss:.4f}",
        "acc": "-" if event.acc is None else f"{event.acc:.2%}",
        "val_loss": "",
        "val_acc": "",
        "best": "",
        "lr": f"{event.lr:.2g}",
        "img/s": f"{event.images_per_s:,.0f}",
        "time": duration(event.elapsed_s),
    }


def _plain_progress(event: Progress | Evaluating) -> str:
    if isinstance(event, Progress):
        values = f"step={event.step}/{event.steps} loss={event.loss:.4f} acc={_number(event.acc)}"
    else:
        values = f"{event.part}={event.done}/{event.images}"
    return f"epoch={event.epoch}/{event.epochs} {values}"


def _plain_row(row: EpochDone) -> dict[str, str]:
    values = {
        "epoch": f"{row.epoch}/{row.epochs}",
        "loss": f"{row.loss:.4f}",
        "acc": _number(row.acc),
        "val_loss": _number(row.val_loss),
        "val_acc": _number(row.val_acc),
        "lr": f"{row.lr:.3g}",
        "images_per_s": f"{row.images_per_s:.0f}",
        "elapsed_s": f"{row.elapsed_s:.2f}",
    }
    return values | ({"best": "yes"} if row.is_best else {})


def _ending(event: Finished) -> str:
    early = f" (stopped by {event.stopped_by})" if event.stopped_early else ""
    best = f"best epoch {event.best_epoch}"
    if event.val_acc is not None:
        best += f", val {event.val_acc:.2%}"
    test = "no test images" if event.test_loss is None else f"test loss {event.test_loss:.4f}"
    if event.test_acc is not None:
        test = f"test accuracy {event.test_acc:.2%}"
    return f"{test} · {best} · {duration(event.elapsed_s)}{early}"
