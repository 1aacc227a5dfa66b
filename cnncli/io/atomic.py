"""Whole files: read once from a regular file, written completely or not at all.

Writing follows the one order that survives a crash: all bytes to a temporary file in the same directory,
fsync, rename, fsync of the directory (Pillai et al. 2014, "All File Systems Are Not Created Equal", OSDI).
At every instant the path holds the old or the new content. The order of system calls is the point here, so
these files use `os` and not `pathlib`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.file_errors import read_error, write_error

_BYTES = (bytes, bytearray, memoryview)
LEAST_IN_PARTS = 1 << 20  # bytes: less than that is put together and written by one call
_MOST_PER_WRITE = 16 << 20  # bytes: a signal is handled between two calls
_LONGEST_TEMPORARY_STEM = 200  # bytes; a file name may have 255


def read_regular_file(path: Path | str, max_bytes: int) -> bytes:
    """Read a regular file once, completely.

    Directories, FIFOs, devices and network addresses are refused: no read can hang or leave the machine.

    Parameters
    ----------
    path : path or str
        As the user typed it; messages repeat it.
    max_bytes : int
        Larger files are refused before a byte is read.

    Raises
    ------
    InvalidInputError
        Missing (with the nearest name), not a regular file, too large, or changed while it was read.
    CnnError
        Permission denied or an input error of the disk.
    """
    name = os.fspath(path)
    descriptor = open_regular_file(name)
    try:
        status = os.fstat(descriptor)
        if status.st_size > max_bytes:
            hint = "choose a smaller file"
            raise InvalidInputError(f"file has {status.st_size} B, the limit is {max_bytes} B", where=name, hint=hint)
        data = _read_all(descriptor, status.st_size + 1)
        if len(data) != status.st_size:
            hint = "wait until it is complete and try again"
            raise InvalidInputError("file changed while it was read", where=name, hint=hint)
        return data
    except OSError as error:
        raise read_error(name, error) from None
    finally:
        os.close(descriptor)


def open_regular_file(name: str) -> int:
    """Return the descriptor of a regular file, open for reading.

    Raises
    ------
    InvalidInputError, CnnError
        As `read_regular_file`, but of any size.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name):
        raise InvalidInputError("downloads are not supported", where=name, hint="fetch the file first")
    try:
        # a FIFO without a writer would block here for ever
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise read_error(name, error) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise InvalidInputError("is a directory", where=name, hint="name a file inside it")
        if not stat.S_ISREG(mode):
            raise InvalidInputError("is not a regular file", where=name, hint="use - to read a stream")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_atomically(
    path: Path | str,
    data: bytes | bytearray | memoryview | Sequence[memoryview],
    *,
    overwrite: bool = True,
    sync_folder: bool = True,
    before_rename: Callable[[], None] | None = None,
    head: Callable[[], memoryview] | None = None,
) -> None:
    """Write `data` so that `path` holds either its old or the complete new content at every instant.

    A symbolic link is followed and its target replaced; the mode of an existing file is kept, a new one gets
    0666 less the umask. Devices and FIFOs (``/dev/stdout``) are written directly.

    Parameters
    ----------
    path : path or str
        As the user typed it.
    data : bytes, memoryview or sequence of memoryview
        The complete content, or its parts in order.
    overwrite : bool
        False refuses an existing file, without a race.
    sync_folder : bool
        False leaves it to the caller to bring the folder to the disk (`sync_directory`), once for many files.
    before_rename : callable, optional
        Called once the new content is on the disk, before it takes its place: such as to keep the old content under
        another name.
    head : callable, optional
        Returns what takes the place of the first part, as long as that, once all is written: such as with a digest that
        is computed meanwhile.

    Raises
    ------
    CnnError
        ``exists``, no space, no permission, missing folder; the temporary file is removed.
    """
    name = os.fspath(path)
    is_stream = _is_stream(name)
    views, head = _parts(data, head, in_order=is_stream)
    size = sum(view.nbytes for view in views)
    try:
        if is_stream:
            _write_stream(name, views)
            return
        _check_target(name, overwrite)
        target = os.path.realpath(name)
        temporary = _temporary_path(target)
        try:
            _write_temporary(temporary, target, views, head)
            if before_rename is not None:
                before_rename()
            _put_in_place(temporary, target, overwrite, name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if sync_folder:
            sync_directory(os.path.dirname(target))
    except (OSError, ValueError) as error:
        raise write_error(name, error, size) from None


def _parts(
    data: bytes | bytearray | memoryview | Sequence[memoryview],
    head: Callable[[], memoryview] | None,
    *,
    in_order: bool,
) -> tuple[list[memoryview], Callable[[], memoryview] | None]:
    """Return the parts to be written one after the other, and the head if it is to be written last."""
    parts = list(data) if isinstance(data, Sequence) and not isinstance(data, _BYTES) else [memoryview(data)]
    is_small = sum(part.nbytes for part in parts) < LEAST_IN_PARTS
    if head is not None and (in_order or is_small):
        parts[0], head = head(), None
    views = [part.cast("B") for part in parts if part.nbytes]
    return ([memoryview(b"".join(views))] if is_small and len(views) > 1 else views), head


def ensure_writable(path: Path | str, *, overwrite: bool = True) -> None:
    """Refuse an output path before work starts on what would go there.

    Raises
    ------
    CnnError
        The same errors as `write_atomically`, as far as they can be known beforehand.
    """
    name = os.fspath(path)
    try:
        if _is_stream(name):
            return
        _check_target(name, overwrite)
        folder = os.path.dirname(os.path.realpath(name))
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        if os.statvfs(folder).f_flag & os.ST_RDONLY:  # before the rights: nobody has any there
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
    except (OSError, ValueError) as error:
        raise write_error(name, error, 0) from None


def make_directory(path: Path | str) -> None:
    """Create a folder and its parents; an existing folder is fine.

    Raises
    ------
    CnnError
        The path is a file, or its parent cannot be written.
    """
    name = os.fspath(path)
    try:
        os.makedirs(name, exist_ok=True)
        if not os.access(name, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    except FileExistsError:
        raise CnnError("is a file, not a folder", where=name, hint="choose another folder") from None
    except FileNotFoundError:  # such as below /proc
        raise CnnError("no folder can be made here", where=name, hint="choose another folder") from None
    except (OSError, ValueError) as error:
        raise write_error(name, error, 0) from None


@dataclass(frozen=True)
class Temporary:
    """An unfinished file: where it lies, the name it was to get, and the process that was writing it."""

    path: Path
    target: str
    pid: int

    def is_abandoned(self) -> bool:
        """Whether that process has ended; of this machine only, another one may share the folder."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # somebody else's
            return False
        return False


def temporaries(folder: Path | str) -> list[Temporary]:
    """Return the unfinished files in a folder; a folder that cannot be read has none."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = re.fullmatch(r"\.(.+)\.tmp\.([0-9]+)", entry.name, re.DOTALL)
            if match and entry.is_file(follow_symlinks=False):
                found.append(Temporary(Path(entry.path), match[1], int(match[2])))
    return found


def remove_stale_temporaries(folder: Path | str) -> int:
    """Remove what killed writers of this folder left behind; return how many files.

    Call it under a lock that keeps other writers out.
    """
    removed = 0
    for leftover in temporaries(folder):
        with contextlib.suppress(OSError):
            leftover.path.unlink()
            removed += 1
    return removed


def keep_copies(path: Path | str, count: int) -> None:
    """Give the file at `path` the number 1, the file with number 1 the number 2, up to `count` numbers.

    `path` stays where it is, as a second name of the same file; only on a file system without hard links it is renamed.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    name = os.fspath(path)
    if count < 1 or not os.path.exists(name):
        return
    for number in range(count, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(numbered_path(name, number - 1), numbered_path(name, number))
    first = numbered_path(name, 1)
    link = _temporary_path(first)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    try:
        os.link(name, link)
    except OSError:  # a file system without hard links
        os.replace(name, first)
        return
    try:
        os.replace(link, first)
    finally:
        with contextlib.suppress(FileNotFoundError):  # where both were names of one file, rename does nothing
            os.unlink(link)


def numbered_path(path: Path | str, number: int) -> str:
    """Return the name of an older copy: ``last-2.safetensors`` of ``last.safetensors``; number 0 is `path` itself."""
    stem, extension = os.path.splitext(os.fspath(path))
    return f"{stem}-{number}{extension}" if number else os.fspath(path)


def _read_all(descriptor: int, count: int) -> bytes:
    parts = []
    while count > 0:
        part = os.read(descriptor, min(count, 1 << 24))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _is_stream(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    # /dev/stdout may point at a regular file: the shell has opened it, so it must not be replaced
    return name.startswith(("/dev/", "/proc/")) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_target(name: str, overwrite: bool) -> None:
    if os.path.isdir(name):
        raise CnnError("is a directory", where=name, hint="name a file inside it")
    if os.path.lexists(name):
        if not overwrite:
            raise CnnError("exists", where=name, hint="use -f to replace it")
        if os.path.exists(name) and not os.access(name, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def _temporary_path(target: str) -> str:
    folder, base = os.path.split(target)
    stem = os.fsdecode(os.fsencode(base)[:_LONGEST_TEMPORARY_STEM])
    return os.path.join(folder, f".{stem}.tmp.{os.getpid()}")


def _write_temporary(
    temporary: str, target: str, views: Sequence[memoryview], head: Callable[[], memoryview] | None
) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except FileExistsError:  # a killed process that had our number
        os.unlink(temporary)
        descriptor = os.open(temporary, flags, 0o666)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
        _write_all(descriptor, views)
        if head is not None:
            os.lseek(descriptor, 0, os.SEEK_SET)
            _write_all(descriptor, [head()])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, views: Sequence[memoryview]) -> None:
    for view in views:
        written = 0
        while written < len(view):
            count = os.write(descriptor, view[written : written + _MOST_PER_WRITE])
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += count


def _write_stream(name: str, views: Sequence[memoryview]) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _write_all(descriptor, views)
    finally:
        os.close(descriptor)


def _put_in_place(temporary: str, target: str, overwrite: bool, name: str) -> None:
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike rename, fails where the target appeared meanwhile
    except FileExistsError:
        raise CnnError("exists", where=name, hint="use -f to replace it") from None
    except OSError:  # a file system without hard links
        _check_target(name, overwrite)
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def sync_directory(folder: str) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
