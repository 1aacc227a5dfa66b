"""SIGINT, SIGTERM, SIGHUP: the first asks for a clean stop, a second SIGINT raises at once; SIGUSR1 asks to save."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_requests: list[int] = []  # the signals that asked armed work of this process to stop


def is_stopping() -> bool:
    """Return whether a signal has asked the work of this process to stop, so that it is on its way out."""
    return bool(_requests)


def ignore_signals() -> None:
    """Ignore SIGINT, SIGTERM and SIGHUP from now on, while a process reports and exits."""
    for number in SIGNALS:
        # not SIG_IGN: Python reports a signal that came just before as "ignored due to race condition"
        signal.signal(number, _pass)


def _pass(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by ignoring it."""


class StopRequest:
    """Remembers the first signal while it is armed, so that the work can end at a place where it can be saved.

    Before `arm`, and for a SIGINT after the first signal, the handlers that were there before act (they raise). SIGTERM
    and SIGHUP that follow are part of the first request: shells and service managers send several.

    Python runs a handler only between two of its own instructions, so not while compiled code is at work, which may
    take seconds for a large network. The interpreter writes a byte into a pipe at once, though: a thread that waits for
    it calls `on_signal`, which can end the compiled code early.

    Attributes
    ----------
    number : int
        The signal that asked to stop, 0 for none.
    on_signal : callable, optional
        Called by another thread when one of the signals comes.
    """

    def __init__(self) -> None:
        self.number = 0
        self.on_signal: Callable[[], None] | None = None
        self._armed = self._shall_save = False
        self._before: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._wakeup_before = -1
        self._listener: threading.Thread | None = None

    def __enter__(self) -> StopRequest:
        """Install the handlers; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    self._before[number] = signal.signal(number, self._receive)
            self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._request_save)
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._listener = threading.Thread(
                target=self._listen, args=(self._pipe[0],), name="cnn-signals", daemon=True
            )
            self._listener.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._before.items():
            if signal.getsignal(number) in (self._receive, self._request_save):  # not ignored meanwhile
                signal.signal(number, handler)
        if self._pipe:
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._pipe[1])  # the listener reads the end of the pipe and leaves
        if self._listener:
            self._listener.join(1.0)  # it must not cancel what comes after this work

    def arm(self) -> None:
        """From now on there is something to save: the first signal only asks."""
        self._armed = True

    def take_save_request(self) -> bool:
        """Return whether SIGUSR1 came since the last call."""
        wanted, self._shall_save = self._shall_save, False
        return wanted

    def _request_save(self, _number: int, _frame: FrameType | None) -> None:
        self._shall_save = self._armed

    def _listen(self, pipe: int) -> None:
        while numbers := os.read(pipe, 64):
            if self.on_signal and any(number in self._before and number in SIGNALS for number in numbers):
                self.on_signal()
        os.close(pipe)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._armed and not self.number:
            self.number = number
            _requests.append(number)
            return
        if self.number and number != signal.SIGINT:
            return
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        else:
            raise KeyboardInterrupt
