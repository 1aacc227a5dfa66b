"""The standard streams: large data on standard output, complete or with an error, and streams that are closed."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import NoReturn

from cnncli.errors import CnnError

# of writes that name no file; files that are written by name name it
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def write_standard_output(data: bytes | bytearray | str) -> None:
    """Write everything to standard output and flush it.

    A short write is continued: without its own buffer (PYTHONUNBUFFERED) Python would drop the rest without a word.

    Raises
    ------
    CnnError
        It cannot be written, for instance on a full disk.
    BrokenPipeError
        The reader has gone.
    """
    encoding = sys.stdout.encoding or "utf-8"
    view = memoryview(data.encode(encoding, "backslashreplace") if isinstance(data, str) else data)
    try:
        sys.stdout.flush()
        while view:
            view = view[sys.stdout.buffer.write(view) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(error.strerror or str(error)) from None


def output_error(reason: str) -> CnnError:
    """Return the error of an output that could not be written."""
    hint = "give an output file with -o" if "closed" in reason else "free some space"
    return CnnError(f"cannot be written: {reason[:1].lower() + reason[1:]}", where="standard output", hint=hint)


def replace_closed_streams() -> None:
    """Put stand-ins where standard input, output or error were closed before this process began.

    Their descriptors are taken, so that no file that is opened later gets them. Reading the stand-in of standard input
    is a `CnnError`, the one of standard output remembers that something was lost, the one of standard error drops it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            raw: io.RawIOBase = _ClosedInput() if name == "stdin" else _Lost(number)
            buffer = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
            setattr(sys, name, io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace"))


def output_was_lost() -> bool:
    """Whether something was written to a standard output that is closed."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Lost) and raw.lost


def drop_unwritten() -> None:
    """Redirect standard streams that cannot be written to the null device: the interpreter flushes them at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


class _Lost(io.RawIOBase):
    """An output that is closed: discards what is written and remembers that something was."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.lost = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self.lost = self.lost or len(data) > 0
        return len(data)


class _ClosedInput(io.RawIOBase):
    """Standard input that is closed: reading it raises `CnnError`."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> NoReturn:
        raise CnnError("standard input is closed", hint="name a file, or open it: cnn ... - < FILE")

    def readall(self) -> NoReturn:
        self.readinto(b"")
