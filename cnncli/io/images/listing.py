"""The image files that arguments name, in an order that does not depend on the file system."""

from __future__ import annotations

# ruff: noqa: PTH100, PTH112, PTH118, PTH120, PTH122, PTH207
# names are bytes that a user typed, kept as they are
import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.images.formats import IMAGE_EXTENSIONS

_LIST_BYTES = 64 << 20


@dataclass(frozen=True)
class InputFile:
    """One input: its path as the user would type it, and the folder below the one that was searched."""

    path: str
    folder: str = ""


def expand_inputs(arguments: Iterable[str], *, recursive: bool, leave_out: str | None = None) -> list[InputFile]:
    """Return the files that names, patterns and folders stand for, each once.

    A name that does not exist stays in the list: reading it gives the error. Folders are walked in the order of
    their names' bytes; hidden entries and linked folders are left out.

    Parameters
    ----------
    leave_out : str, optional
        A folder for results: searches and patterns that start outside of it do not enter it, or a second run would
        filter the results of the first.

    Raises
    ------
    InvalidInputError
        A folder without `recursive`, a folder or pattern without images.
    """
    closed = None if leave_out is None else os.path.realpath(leave_out)
    found: dict[str, InputFile] = {}  # by absolute path
    for argument in arguments:
        if argument != "-" and os.path.isdir(argument):
            if not recursive:
                raise InvalidInputError("is a directory", where=argument, hint="use --recursive for the pictures in it")
            inside = list(_walk(argument, closed))
            if not inside:
                hint = "check the folder; name text files by a pattern such as '*.csv'"
                raise InvalidInputError("no image in this folder", where=argument, hint=hint)
        elif argument != "-" and not os.path.lexists(argument) and glob.has_magic(argument):
            inside = [InputFile(match) for match in _matches(argument, closed)]
            if not inside:
                raise InvalidInputError("no file matches this pattern", where=argument, hint="check the pattern")
        else:
            inside = [InputFile(argument)]
        for source in inside:
            found.setdefault("-" if source.path == "-" else os.path.abspath(source.path), source)
    return list(found.values())


def read_list(path: str, data: bytes | None = None) -> list[str]:
    """Return the names in a file of one name per line (or separated by zero bytes, as ``find -print0`` writes).

    Parameters
    ----------
    path : str
        The list; in messages when `data` is given.
    data : bytes, optional
        Its content, when it came through a stream.
    """
    content = read_regular_file(path, _LIST_BYTES) if data is None else data
    separator = b"\0" if b"\0" in content else b"\n"
    names = [name.removesuffix(b"\r") if separator == b"\n" else name for name in content.split(separator)]
    found = [os.fsdecode(name) for name in names if name.strip()]
    if not found:
        raise InvalidInputError("the list of files is empty", where=path, hint="write one name per line")
    return found


def _walk(top: str, closed: str | None) -> Iterator[InputFile]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=os.fsencode)
        if closed is not None:
            folders[:] = [f for f in folders if os.path.realpath(os.path.join(folder, f)) != closed]
        for name in sorted(names, key=os.fsencode):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS:
                relative = os.path.relpath(folder, top)
                yield InputFile(os.path.join(folder, name), "" if relative == "." else relative)


def _matches(pattern: str, closed: str | None) -> list[str]:
    files = [m for m in sorted(glob.glob(pattern, recursive=True), key=os.fsencode) if not os.path.isdir(m)]
    start = os.path.dirname(pattern[: re.search(r"[*?[]", pattern).start()])  # type: ignore[union-attr]
    if closed is None or _is_inside(start, closed):
        return files
    return [m for m in files if not _is_inside(os.path.dirname(m), closed)]


def _is_inside(folder: str, closed: str) -> bool:
    return os.path.commonpath([os.path.realpath(folder), closed]) == closed
