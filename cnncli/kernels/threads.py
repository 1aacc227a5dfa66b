"""The one place that decides how many threads work."""

from __future__ import annotations

import os

from cnncli.errors import InvalidInputError, UsageError


def available() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(requested: int | None) -> int:
    """Return the thread count for a request: the request itself, else `NUMBA_NUM_THREADS`, else every processor.

    Raises
    ------
    UsageError
        If more threads are asked for than there are processors, or fewer than one.
    """
    if requested is None:
        return launched()
    if not 1 <= requested <= 1024:
        raise UsageError(f"--threads {requested} is not in 1..1024", hint=f"this machine has {available()} processors")
    return min(requested, launched())


def launched() -> int:
    """Return how many threads Numba starts: `NUMBA_NUM_THREADS` where it is set, else the processors.

    Raises
    ------
    InvalidInputError
        If the variable holds no positive number (Numba itself would stop with a traceback at import).
    """
    text = os.environ.get("NUMBA_NUM_THREADS")
    if text is None:
        return available()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise InvalidInputError(f"NUMBA_NUM_THREADS is {text!r}, not a number of threads", hint="unset it")
    return int(text)
