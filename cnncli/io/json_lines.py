"""A log of JSON lines: one write per line, so that a killed run leaves whole lines and at most one torn last one."""

from __future__ import annotations

# ruff: noqa: PTH113, PTH123
# the order of system calls is the point
import errno
import json
import os
from types import TracebackType
from typing import Any

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.file_errors import write_error

_MAX_BYTES = 4 << 30
_LONGEST_LINE = 1 << 20


def read_json_lines(path: str) -> list[dict[str, Any]]:
    """Return the objects of a log; a missing file has none, a torn last line is left out.

    Raises
    ------
    InvalidInputError
        A line that is no JSON object, with its number.
    """
    if not os.path.lexists(path):
        return []
    lines = read_regular_file(path, _MAX_BYTES).split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            if number == len(lines):  # no newline after it: the writer was killed
                break
            raise InvalidInputError(
                "is not a JSON object", where=f"{path}:{number}", hint="name another file, or delete this one"
            )
        records.append(record)
    return records


class JsonLinesWriter:
    """Appends JSON objects to a file, which is created if need be.

    Parameters
    ----------
    path : str
        As the user typed it.

    Raises
    ------
    CnnError
        The file cannot be opened or written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
            self._drop_torn_line()
        except (OSError, ValueError) as error:
            raise write_error(path, error, 0) from None

    def write(self, record: dict[str, Any]) -> None:
        """Append one object as a line, in one system call."""
        line = json.dumps(record).encode() + b"\n"
        try:
            if os.write(self._descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise write_error(self._path, error, len(line)) from None

    def close(self) -> None:
        """Bring everything to the disk and close."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a pipe or device cannot be synced
                raise write_error(self._path, error, 0) from None
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> JsonLinesWriter:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _drop_torn_line(self) -> None:
        """Cut off a last line without its newline: the writer was killed in it."""
        size = os.fstat(self._descriptor).st_size
        if size and os.path.isfile(self._path):
            with open(self._path, "rb") as file:
                file.seek(max(size - _LONGEST_LINE, 0))
                tail = file.read()
            whole = tail.rfind(b"\n") + 1
            if whole != len(tail):
                os.ftruncate(self._descriptor, size - len(tail) + whole)
