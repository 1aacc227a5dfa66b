"""The number of threads, from an option, the environment or the processors of this process."""

from __future__ import annotations

import os

from cnncli.errors import InvalidInputError, UsageError

MOST = 1024


def available() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(requested: int | None) -> int:
    """Return the thread count for a request: the request itself, else `NUMBA_NUM_THREADS`, else every processor.

    Raises
    ------
    UsageError
        If the request is not in 1..1024.
    InvalidInputError
        If `NUMBA_NUM_THREADS` holds no such number (Numba itself would stop with a traceback at import).
    """
    text = os.environ.get("NUMBA_NUM_THREADS")
    if text is not None and not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise InvalidInputError(f"NUMBA_NUM_THREADS is {text!r}, not a number of threads", hint="unset it")
    if requested is None:
        return int(text) if text is not None else available()
    if not 1 <= requested <= MOST:
        raise UsageError(
            f"--threads {requested} is not in 1..{MOST}", hint=f"this machine has {available()} processors"
        )
    return requested
