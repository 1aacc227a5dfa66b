"""The directory of a training run: one run, one writer, every file whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.atomic import ensure_writable, make_directory, remove_stale_temporaries, write_atomically
from cnncli.io.checkpoint import BEST, LAST
from cnncli.io.file_errors import write_error

CONFIG, MODEL, HISTORY, RESULT = "config.yaml", "model.yaml", "history.csv", "result.json"
RUN_FILES = (CONFIG, MODEL, BEST, LAST, HISTORY, RESULT)
COMMAND = "command.txt"
REPORT_FILES = ("curves.png", "confusion.png", "report.html")  # made from the others
_OLDER = re.compile(r"last-([1-9][0-9]{0,3})\.safetensors")  # the names that `numbered_path` gives
_BROKEN = ".broken"  # behind the name of a checkpoint that could not be continued from
_LOCK = ".lock"
_LOCKED = (errno.EAGAIN, errno.EACCES)  # another error says that this file system has no locks


def default_run_directory(arch: str, dataset: str) -> Path:
    """Return the first free ``runs/{arch}-{dataset}-{n}``, or ``runs/{dataset}-{n}`` where both have one name."""
    name = dataset if arch == dataset else f"{arch}-{dataset}"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".") or "run"
    paths = (Path("runs") / f"{stem}-{number}" for number in itertools.count(1))
    return next(path for path in paths if not os.path.lexists(path))


def open_default_run_directory(arch: str, dataset: str) -> RunDirectory:
    """Return the first free directory of `default_run_directory`, open; runs that start together get different ones."""
    while True:
        path = default_run_directory(arch, dataset)
        # FileNotFoundError: another run has just removed the parent, which it had made
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            return RunDirectory(path, is_new=True)


def last_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that a run can be continued from, the newest first.

    Raises
    ------
    InvalidInputError
        No such folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such run directory"
        hint = "name the folder that `cnn train` wrote, such as runs/digits-1"
        raise InvalidInputError(what, where=str(folder), hint=hint)
    newest = [folder / LAST] if (folder / LAST).exists() else []
    return newest + [path for _, path in sorted(_older(folder))]


def _older(folder: Path) -> list[tuple[int, Path]]:
    matches = ((_OLDER.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match]


def check_run_directory(path: Path, *, force: bool) -> None:
    """Refuse a directory that holds another run or cannot be written, before any work.

    Raises
    ------
    CnnError
        With what to do.
    """
    if path.exists() and not path.is_dir():
        raise CnnError("is a file, not a folder", where=str(path), hint="choose another --run-dir")
    held = [name for name in RUN_FILES if (path / name).exists()]
    if held and not force:
        hint = "choose another --run-dir, or use --force to replace it"
        raise CnnError(f"holds a run already ({held[0]})", where=str(path), hint=hint)
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CnnError(f"{existing} is a file, not a folder", where=str(path), hint="choose another --run-dir")
    try:
        ensure_writable(existing / CONFIG)
    except CnnError as error:
        raise CnnError(error.message, where=str(path), hint="choose another --run-dir") from None


class RunDirectory:
    """An open run directory, locked against other writers until it is closed.

    Parameters
    ----------
    path : path
        Created with its parents where it is missing.
    force : bool
        Replace the run that is there, once `begin` is called.
    is_new : bool
        The directory must not exist; this call makes it.
    is_continued : bool
        The directory holds a run, which goes on.

    Attributes
    ----------
    note : str
        What the user should know, such as that this file system has no locks; mostly empty.
    command : str
        The command line, kept with a new run.

    Raises
    ------
    FileExistsError
        It exists and `is_new` was given.
    CnnError
        In use by another process, holds a run, or cannot be written.
    """

    def __init__(self, path: Path, *, force: bool = False, is_new: bool = False, is_continued: bool = False) -> None:
        if is_continued:
            last_checkpoints(path)
        check_run_directory(path, force=force or is_continued)
        self.path = path
        self._is_continued = is_continued
        self._created = [folder for folder in (path, *path.parents) if not folder.exists()]
        if is_new:
            make_directory(path.parent)
            path.mkdir()
        make_directory(path)
        self.note = self.command = ""
        self._has_begun = False
        try:
            self._lock = self._take_lock()
        except BaseException:
            self._remove_created()
            raise
        try:
            check_run_directory(path, force=force or is_continued)  # again: another run may have come first
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunDirectory:
        """Return itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the directory."""
        self.close()

    def begin(self, broken: Iterable[Path] = (), keep: int = 1) -> None:
        """Make room: all that can be refused has been checked by now.

        Parameters
        ----------
        broken : iterable of Path
            Checkpoints of a continued run that cannot be used; they get another name.
        keep : int
            How many checkpoints of a continued run stay.
        """
        older = [path for number, path in _older(self.path) if not self._is_continued or number >= keep]
        for path in broken:
            path.rename(f"{path}{_BROKEN}")
        for name in (RESULT, *REPORT_FILES) if self._is_continued else (*RUN_FILES, *REPORT_FILES, COMMAND):
            (self.path / name).unlink(missing_ok=True)
        for path in older:
            path.unlink(missing_ok=True)
        remove_stale_temporaries(self.path)
        self._has_begun = True
        if self.command and not self._is_continued:
            self.write(COMMAND, f"{self.command}\n".encode(errors="backslashreplace"))

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the run atomically."""
        write_atomically(self.path / name, data)

    def close(self) -> None:
        """Give the lock back; a directory made for a run that saved no weights is removed again."""
        holds_weights = any((self.path / name).exists() for name in (BEST, LAST))
        if self._has_begun and not holds_weights and not self._is_continued:
            for name in (*RUN_FILES, COMMAND):
                with contextlib.suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self.path / _LOCK).unlink()
        os.close(self._lock)
        self._remove_created()

    def _remove_created(self) -> None:
        for folder in self._created:
            with contextlib.suppress(OSError):  # not empty: it is wanted
                folder.rmdir()

    def _take_lock(self) -> int:
        path = self.path / _LOCK
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise write_error(str(path), error, 0) from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in _LOCKED:
                    owner = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
                    os.close(descriptor)
                    hint = "wait for it, or choose another --run-dir"
                    raise CnnError(f"in use by {owner}", where=str(self.path), hint=hint) from None
                self.note = f"{path} cannot be locked ({os.strerror(error.errno or 0)}): start no second run there"
            # whoever closed a run has removed the file: a lock on that removed file would keep nobody out
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
            os.close(descriptor)
        line = f"pid {os.getpid()} on {socket.gethostname()}\n".encode()
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, line)
        except OSError as error:
            path.unlink()
            os.close(descriptor)
            raise write_error(str(path), error, len(line)) from None
        return descriptor
