"""A bar on a terminal for work of a known length: images done, and the time that is left."""

from __future__ import annotations

import time
from typing import TextIO

_EVERY_S = 0.1


class WorkBar:
    """A bar that is drawn when it is told of progress, and is gone at the end; a context manager.

    Parameters
    ----------
    what : str
        In front of it.
    total : int
        Images, or pictures.
    err : text stream
    is_shown : bool
        False: nothing is written, as where `err` is no terminal.
    """

    def __init__(self, what: str, total: int, err: TextIO, *, is_shown: bool) -> None:
        self._bar = None
        self._drawn_at = 0.0
        if not is_shown:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn(what),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=err, highlight=False, soft_wrap=True),
            auto_refresh=False,  # no second thread beside the kernels
            transient=True,
            redirect_stdout=False,  # results go where they are sent
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> WorkBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *args: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: int) -> None:
        """Draw how much is done, at most ten times per second."""
        now = time.monotonic()
        if self._bar and now - self._drawn_at >= _EVERY_S:
            self._drawn_at = now
            self._bar.update(self._task, completed=done, refresh=True)
