"""From what stands on the command line to a list of image files, in an order that no file system changes."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH118, PTH122, PTH207
# names are bytes that a user typed, kept as they are
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file

# what a folder is searched for
EXTENSIONS = tuple(".png .jpg .jpeg .jpe .jfif .tif .tiff .bmp .webp .gif .pgm .ppm .pnm .pbm".split())  # noqa: SIM905
_LIST_BYTES = 64 << 20


@dataclass(frozen=True)
class Source:
    """One input: its path as the user would type it, and the folder below the one that was searched."""

    path: str
    folder: str = ""


def expand_inputs(arguments: Iterable[str], *, recursive: bool) -> list[Source]:
    """Return the files that names, patterns and folders stand for.

    A name that does not exist stays in the list: reading it gives the error. Folders are walked in the order of
    their names' bytes; hidden entries and linked folders are left out.

    Raises
    ------
    InvalidInputError
        A folder without `recursive`, a folder or pattern without images.
    """
    found: list[Source] = []
    for argument in arguments:
        if argument != "-" and os.path.isdir(argument):
            if not recursive:
                raise InvalidInputError(
                    "is a directory", where=argument, hint="use --recursive to filter what is in it"
                )
            inside = list(_walk(argument))
            if not inside:
                raise InvalidInputError("no image in this folder", where=argument, hint="check the folder")
            found += inside
        elif argument != "-" and not os.path.lexists(argument) and glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True), key=os.fsencode)
            files = [match for match in matches if not os.path.isdir(match)]
            if not files:
                raise InvalidInputError("no file matches this pattern", where=argument, hint="check the pattern")
            found += [Source(match) for match in files]
        else:
            found.append(Source(argument))
    return found


def read_list(path: str, data: bytes | None = None) -> list[str]:
    """Return the names in a file of one name a line (or separated by zero bytes, as ``find -print0`` writes).

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
        raise InvalidInputError("the list of files is empty", where=path, hint="write one name a line")
    return found


def _walk(top: str) -> Iterator[Source]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=os.fsencode)
        for name in sorted(names, key=os.fsencode):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                relative = os.path.relpath(folder, top)
                yield Source(os.path.join(folder, name), "" if relative == "." else relative)
