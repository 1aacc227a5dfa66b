"""A second process that compiles while this one does, where a program needs much that the store does not hold.

Numba compiles one function at a time in a process. So this one goes through the list of what is missing from its
beginning, the helper (``python -m cnncli.compute.ahead``) from its end, and what one of them has put into the store
the other one only links. A helper that cannot be started, or dies, is missed by nobody.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable

from cnncli.compute.store import Routine

_WORTH_IT = 6  # routines; the helper imports Numba first, which takes as long as compiling two
_IDLE_S = 10.0  # after which the helper ends
_helpers: list[subprocess.Popen[str]] = []  # at most one


def share_out(wanted: Iterable[tuple[Routine, str]], threads: int) -> None:
    """Let a helper compile what the store does not hold of `wanted`, the last one first; return at once.

    Parameters
    ----------
    wanted : iterable of (Routine, str)
        Routines and their types of numbers, in the order in which the caller is going to ask for them.
    threads : int
        Fewer than 2: there is one processor to compile on, and no helper.
    """
    if threads < 2:
        return
    missing = [(one, dtype) for one, dtype in dict.fromkeys(wanted) if one.can_be_kept(dtype)]
    if len(missing) < _WORTH_IT:
        return
    with contextlib.suppress(OSError):  # no process to be had, or the helper has ended
        pipe = _helper().stdin
        if pipe is not None:
            pipe.writelines(_line(one, dtype) for one, dtype in reversed(missing))
            pipe.flush()


def _line(one: Routine, dtype: str) -> str:
    return " ".join((dtype, one.module, one.function, *map(str, one.parameters))) + "\n"


def _helper() -> subprocess.Popen[str]:
    if _helpers and _helpers[0].poll() is None:
        return _helpers[0]
    _end()
    # -P: nothing is imported from the working directory that this process would not import from there
    command = [sys.executable, "-P", "-m", "cnncli.compute.ahead"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: S603, this interpreter and this file
        command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, text=True, env=environment
    )
    _helpers.append(process)
    return process


def _end() -> None:
    for process in _helpers:
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()
    _helpers.clear()


def _forget() -> None:
    """A forked child leaves the helper to its parent."""
    for process in _helpers:
        process.returncode = 0
    _helpers.clear()


atexit.register(_end)
os.register_at_fork(after_in_child=_forget)


def _compile_lines() -> None:
    """Compile what the lines of the standard input name, until it is closed or no line comes for a while."""
    rest, parent = b"", os.getppid()
    while select.select([0], [], [], _IDLE_S)[0]:
        data = os.read(0, 65536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            dtype, module, function, *parameters = line.decode().split()
            one = Routine(module, function, tuple(map(int, parameters)))
            if os.getppid() == parent and one.can_be_kept(dtype):
                with contextlib.suppress(Exception):  # whoever needs it compiles it and says what is wrong
                    one.address(dtype)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C goes to both; this one has nothing to say
    _compile_lines()
