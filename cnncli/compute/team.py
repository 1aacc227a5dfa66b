"""Threads that work on a program together, and do not wait for one that the machine keeps from running.

The thread that asks for a run leads: it opens a phase, takes tasks like everybody else and waits until every task that
somebody took is done. It does not wait for threads that took none, so on a busy machine it goes on alone instead of
standing at a barrier until the scheduler lets the others arrive. (LeNet-5 beside three busy processes on two cores:
33,000 images/s, against 10,000 to 15,000 with OpenMP regions.) Followers poll during a run and for a moment after it,
then sleep.

One 64-bit word holds the number of the phase, its count of tasks and the next task, so that taking a task and knowing
which phase it belongs to are one indivisible step.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from functools import cache
from typing import Any

import numpy as np

from cnncli.compute.store import Routine
from cnncli.compute.team_state import CANCEL, QUIT, STATE_SIZE

#: what every team runs, with its type of numbers
LOOPS = tuple((Routine("compute.team_loops", name), "int64") for name in ("lead", "follow"))


class Team:
    """A leader, which is whoever calls `run`, and `threads` - 1 followers.

    Parameters
    ----------
    threads : int
        At least 1.
    """

    def __init__(self, threads: int) -> None:
        self._lead, self._follow = _compiled()
        self._threads = threads
        self._reset()
        self._start_followers()
        # a daemon thread that meets the end of the interpreter in compiled code could take the process down
        atexit.register(self.close)
        # a child has none of the threads, and its copies of state and locks may be those of the middle of a run
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        raw = np.zeros(STATE_SIZE + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start : start + STATE_SIZE]
        self._place = self._state.ctypes.data
        self._turn = threading.Lock()
        self._bell = threading.Condition()
        self._is_running = False
        self._followers: list[threading.Thread] = []

    def _start_followers(self) -> None:
        for worker in range(1, self._threads):
            follower = threading.Thread(target=self._serve, args=(worker,), name=f"cnn-{worker}", daemon=True)
            self._followers.append(follower)
            follower.start()

    def run(
        self, calls: int, sequences: int, phases: int, phase_count: int, whole_from: int, *, is_shared: bool
    ) -> bool:
        """Run every phase once; the tables of a Program are given by their addresses.

        Followers that sleep are woken only if `is_shared`: a phase has more than one task. Returns whether all was
        done: `cancel` ends a run early, unless it has come to phase `whole_from`.
        """
        with self._turn:
            if len(self._followers) < self._threads - 1:  # in a forked child
                self._start_followers()
            try:
                if is_shared and self._followers:
                    # under the lock: a follower either sees the run and polls again, or sleeps already and is woken
                    with self._bell:
                        self._is_running = True
                        self._bell.notify_all()
                is_whole = bool(self._lead(self._place, calls, sequences, phases, phase_count, whole_from))
            finally:
                self._is_running = False
            if not is_whole:
                self._state[CANCEL] = 0
            return is_whole

    def cancel(self) -> None:
        """End the run that is going on, or the next one, after the kernels that are at work; from any thread."""
        self._state[CANCEL] = 1

    def forget_cancel(self) -> None:
        """Undo a `cancel` that no run has met."""
        self._state[CANCEL] = 0

    def close(self) -> None:
        """Let the followers end."""
        self._state[QUIT] = 1
        with self._bell:
            self._bell.notify_all()
        for follower in self._followers:
            follower.join(1.0)

    def _serve(self, worker: int) -> None:
        while not self._state[QUIT]:
            self._follow(self._state.ctypes.data, worker)
            with self._bell:
                if self._state[QUIT]:
                    return
                if not self._is_running:
                    self._bell.wait()


@cache
def team_of(threads: int) -> Team:
    """Return the one team of so many threads."""
    return Team(threads)


@cache
def _compiled() -> tuple[Any, Any]:
    """Return the loops of the leader and of a follower; ctypes lets go of Python's lock while they run."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    lead = ctypes.CFUNCTYPE(number, pointer, number, number, pointer, number, number)
    follow = ctypes.CFUNCTYPE(number, pointer, number)
    addresses = [loop.address(dtype) for loop, dtype in LOOPS]
    return lead(addresses[0]), follow(addresses[1])
