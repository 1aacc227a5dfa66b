"""The bar of a batch on a terminal: files done, rate, time left."""

from __future__ import annotations

from typing import TextIO

from cnncli.reporting.encodable import encodable


class FilterProgress:
    """A rich progress bar that is drawn only when something happened.

    Parameters
    ----------
    total : int
        Files.
    err : text stream
        The terminal.
    """

    def __init__(self, total: int, err: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._err = err
        self._bar = Progress(
            TextColumn("filter"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=Console(file=err, highlight=False, soft_wrap=True),
            auto_refresh=False,  # no second thread: the work forks
            transient=True,
        )
        self._task = self._bar.add_task("", total=total, rate="", failed="")
        self._drawn = 0.0

    def start(self) -> None:
        """Show the bar."""
        self._bar.start()

    def stop(self) -> None:
        """Remove the bar from the terminal."""
        self._bar.stop()

    def advance(self, failed: int) -> None:
        """Count one more file; redraw at most ten times per second."""
        task = self._bar.tasks[0]
        speed = f"{task.speed:.0f} files/s" if task.speed else ""
        self._bar.update(self._task, advance=1, rate=speed, failed=f"{failed} failed" if failed else "")
        now = self._bar.get_time()
        if now - self._drawn >= 0.1 or task.finished:
            self._drawn = now
            self._bar.refresh()

    def line(self, text: str) -> None:
        """Write a line above the bar."""
        from rich.text import Text

        self._bar.console.print(Text(encodable(text, self._err)))
