"""Errors of the operating system in words a user can act on."""

from __future__ import annotations

import difflib
import errno
import os

from cnncli.errors import CnnError, InvalidInputError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EACCES, errno.EPERM)


def read_error(name: str, error: OSError | ValueError) -> CnnError:
    """Return what to tell the user when `name` cannot be read; a ValueError means a zero byte in the name."""
    if isinstance(error, ValueError):
        return InvalidInputError("the name holds a zero byte", where=name, hint="check the name")
    if error.errno == errno.ENOENT:
        if os.path.islink(name):
            target = os.readlink(name)
            return InvalidInputError(f"link to {target}, which does not exist", where=name, hint="repair the link")
        return InvalidInputError("no such file", where=name, hint=_nearest(name))
    if error.errno == errno.ELOOP:
        return InvalidInputError("symbolic links go round in a circle", where=name, hint="repair the link")
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInputError("the name is too long", where=name, hint="use a shorter one")
    if error.errno == errno.ENOTDIR:
        return InvalidInputError("a part of this path is a file, not a folder", where=name, hint="check the path")
    if error.errno == errno.ENXIO:
        return InvalidInputError("is not a regular file", where=name, hint="use - to read a stream")
    if error.errno in _NO_RIGHT:
        return CnnError("permission denied", where=name, hint="chmod +r, or run as its owner")
    return CnnError(f"cannot be read: {os.strerror(error.errno or 0)}", where=name, hint="check the disk")


def _nearest(name: str) -> str:
    folder, base = os.path.split(name)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return f"the folder {folder} does not exist"
    near = difflib.get_close_matches(base, names, n=1, cutoff=0.6)
    return f"did you mean {os.path.join(folder, near[0])}?" if near else "check the name"


def write_error(name: str, error: OSError | ValueError, size: int) -> CnnError:
    """Return what to tell the user when `size` bytes cannot be written to `name`.

    A closed pipe is raised again: `cnn` then ends without a message.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, ValueError):
        return CnnError("the name holds a zero byte", where=name, hint="choose another name")
    folder = os.path.dirname(os.path.realpath(name)) or "."
    if error.errno in _NO_SPACE:
        return CnnError(f"no space left on the disk (needs {size} B)", where=name, hint="free some space")
    if error.errno == errno.EFBIG:
        hint = "raise the limit (ulimit -f)"
        return CnnError(f"larger than the allowed file size (needs {size} B)", where=name, hint=hint)
    if error.errno == errno.ENOENT:
        shown = os.path.dirname(name) or folder
        if os.path.isdir(folder):  # such as /proc
            return CnnError(f"no file can be made in {shown}", where=name, hint="choose another folder")
        return CnnError(f"the folder {shown} does not exist", where=name, hint=f"mkdir -p {shown}")
    if error.errno == errno.ENOTDIR:
        return CnnError("a part of this path is a file, not a folder", where=name, hint="check the path")
    if error.errno == errno.ENAMETOOLONG:
        return CnnError("the name is too long", where=name, hint="use a shorter one")
    if error.errno == errno.EROFS:
        return CnnError("the file system is read-only", where=name, hint="choose another folder")
    if error.errno in _NO_RIGHT:
        return CnnError("permission denied", where=name, hint="choose a folder you may write, or chmod +w")
    return CnnError(f"cannot be written: {os.strerror(error.errno or 0)}", where=name, hint="check the disk")
