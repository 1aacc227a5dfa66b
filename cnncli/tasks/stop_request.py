"""Ctrl-C and its kin during long work: the first one asks, the second one leaves."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


class StopRequest:
    """Remembers the first signal while it is armed, so that the work can end at a place where it can be saved.

    Before `arm`, and for the second signal, the handlers that were there before act (they raise).

    Attributes
    ----------
    number : int
        The signal that asked to stop, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._armed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        """Install the handlers; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def arm(self) -> None:
        """From now on there is something to save: the first signal only asks."""
        self._armed = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._armed and not self.number:
            self.number = number
            return
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        else:
            raise KeyboardInterrupt
