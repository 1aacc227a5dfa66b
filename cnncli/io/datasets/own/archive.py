"""A zip or tar of a folder of pictures, read as a stream: nothing in it is ever written to the disk.

References
----------
PEP 706 and CVE-2025-4517: what may go wrong where archives are extracted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import open_regular_file
from cnncli.io.datasets.own.layout import Listing, arrange, is_hidden
from cnncli.io.datasets.own.source import MAX_PICTURES, Contents, PictureSource
from cnncli.io.images.image import MAX_FILE_BYTES

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_MOST_BYTES = 64 << 30  # unpacked
_MOST_RATIO = 200  # unpacked to packed bytes
_FREE_BYTES = 1 << 20  # smaller than this, a file may be packed as well as it likes
_LARGEST_INDEX = 256 << 20  # of a zip
_ANOTHER_COPY = "pack it again, or take another copy"
_UNPACK = "unpack it yourself and give the folder"
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error,
            ValueError, NotImplementedError, RuntimeError)  # fmt: skip


def archive_source(where: str) -> PictureSource:
    """Return the pictures of an archive, arranged by `arrange`.

    Raises
    ------
    InvalidInputError
        As `arrange`; damaged, encrypted, larger than the limits; a member with a name that leads out of the archive or
        stands twice, or that is a link, a device or an archive itself.
    CnnError
        It cannot be read.
    """
    with _opened(where) as file:
        is_zip = file.read(4)[:2] == b"PK"
    read = _zip_members if is_zip else _tar_members
    listing = Listing()
    for member in _checked(read(where), where):
        (listing.folders if member.is_folder else listing.files).append(member.name)
    layout = arrange(listing, where)
    numbers = {picture.name: number for number, picture in enumerate(layout.pictures)}

    def contents() -> Contents:
        for member in read(where):
            number = numbers.get(_clean(member.name))
            if number is not None and not member.is_folder:
                yield number, member.content()

    return PictureSource(where, layout.pictures, layout.classes, contents, notes=layout.notes)


@dataclass(frozen=True)
class _Member:
    """An entry of an archive.

    Attributes
    ----------
    packed : int or None
        Bytes in the file; None where they are not known by member.
    problem : str
        Why it cannot be one of a data set; mostly empty.
    content : callable
        Returns a function that returns the bytes or raises CnnError; called before the next entry is asked for.
    """

    name: str
    size: int
    packed: int | None
    is_folder: bool
    problem: str
    content: Callable[[], Callable[[], bytes]]


def _checked(members: Iterable[_Member], where: str) -> Iterator[_Member]:
    """Give members with clean names, after refusing what no data set needs."""
    names: dict[str, str] = {}
    total = 0
    for number, member in enumerate(members):
        total += member.size
        if number >= MAX_PICTURES:
            raise InvalidInputError(f"holds more than {MAX_PICTURES} members", where=where, hint=_UNPACK)
        if total > _MOST_BYTES:
            raise InvalidInputError(f"unpacks to more than {_MOST_BYTES >> 30} GiB", where=where, hint=_UNPACK)
        name = _clean(member.name)
        problem = _name_problem(member.name) or member.problem or _size_problem(member)
        if not problem and name and not member.is_folder:
            other = names.setdefault(name.casefold(), name)
            if other is not name:
                problem = "stands twice" if other == name else f"differs from {other} in case alone"
        if problem:
            hint = "pack plain files with plain names, or give the unpacked folder"
            raise InvalidInputError(problem, where=f"{where}: {member.name}", hint=hint)
        if name:
            yield replace(member, name=name)


def _clean(name: str) -> str:
    """Return a name as `arrange` takes it; empty for the folder itself."""
    plain = name.replace("\\", "/").removeprefix("./").rstrip("/")
    return "" if plain == "." else plain


def _name_problem(name: str) -> str:
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        return "an absolute name"
    if ".." in re.split(r"[/\\]", name):
        return "a name with .. in it"
    if not name or any(ord(letter) < 32 for letter in name):
        return "a name with control characters" if name else "an empty name"
    return ""


def _size_problem(member: _Member) -> str:
    if member.size > MAX_FILE_BYTES:
        return f"{member.size} B, the limit is {MAX_FILE_BYTES} B"
    if member.packed is not None and member.size > _FREE_BYTES + _MOST_RATIO * member.packed:
        return f"unpacks {member.packed} B to {member.size} B, more than {_MOST_RATIO} times as many"
    if member.name.lower().endswith(ARCHIVES) and not is_hidden(_clean(member.name)):
        return "an archive inside the archive"
    return ""


def _mode_problem(mode: int, is_folder: bool) -> str:
    runs_as_owner = mode & (stat.S_ISUID | stat.S_ISGID) and not is_folder
    return "a file that runs as its owner (setuid)" if runs_as_owner else ""


def _opened(where: str) -> IO[bytes]:
    return os.fdopen(open_regular_file(where), "rb")


def _damaged(error: Exception, where: str) -> InvalidInputError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidInputError(f"damaged or truncated archive ({text})", where=where, hint=_ANOTHER_COPY)


def _zip_members(where: str) -> Iterator[_Member]:
    with _opened(where) as file:
        try:
            _check_index(file, where)
            archive = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise _damaged(error, where) from None
        for info in archive.infolist():
            mode = info.external_attr >> 16
            problem = "encrypted" if info.flag_bits & 1 else _mode_problem(mode, info.is_dir())
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                problem = "a link or a device"
            content = partial(_zip_content, archive, info, where)
            # the name as it is stored: zipfile cuts it at a zero byte and turns separators round
            yield _Member(info.orig_filename, info.file_size, info.compress_size, info.is_dir(), problem, content)


def _check_index(file: IO[bytes], where: str) -> None:
    """Refuse an index that would not fit into memory, before it is read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 100))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    length = struct.unpack_from("<L", tail, place + 12)[0] if 0 <= place <= len(tail) - 22 else 0
    wide = tail.rfind(b"PK\6\6")
    if 0 <= wide <= len(tail) - 56:
        length = max(length if length != 0xFFFFFFFF else 0, struct.unpack_from("<Q", tail, wide + 40)[0])
    if length > _LARGEST_INDEX:
        message = f"an index of {length} B, the limit is {_LARGEST_INDEX} B"
        raise InvalidInputError(message, where=where, hint=_UNPACK)


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Callable[[], bytes]:
    try:
        with archive.open(info) as stream:
            data = stream.read(info.file_size + 1)
    except _DAMAGED as error:
        return partial(_fail, _damaged(error, f"{where}: {info.filename}"))
    return partial(_same, data)


def _same(data: bytes) -> bytes:
    return data


def _fail(error: InvalidInputError) -> bytes:
    raise error


class _Unpacked(io.RawIOBase):
    """A packed stream that refuses to become more than 200 times as long as its file; `tail` is its last block."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        super().__init__()
        self._where = where
        head = file.read(6)
        self._limit = _FREE_BYTES + _MOST_RATIO * file.seek(0, os.SEEK_END)
        file.seek(0)
        openers: dict[bytes, Callable[[IO[bytes]], Any]] = {
            b"\x1f\x8b": gzip.open,
            b"BZh": bz2.open,
            b"\xfd7zXZ": lzma.open,
        }
        opener = next((opener for magic, opener in openers.items() if head.startswith(magic)), None)
        self._stream: Any = file if opener is None else opener(file)
        self._done = 0
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._done += len(data)
        self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :]
        if self._done > self._limit:
            message = f"unpacks to more than {_MOST_RATIO} times its size"
            raise InvalidInputError(message, where=self._where, hint=_UNPACK)
        return data


def _tar_members(where: str) -> Iterator[_Member]:
    with _opened(where) as file:
        try:
            source = _Unpacked(file, where)
            archive: Any = tarfile.open(fileobj=source, mode="r|")  # noqa: SIM115
            while (info := archive.next()) is not None:
                archive.members.clear()  # each is used once
                problem = "" if info.isreg() or info.isdir() else "a link, a device or another special file"
                if info.issparse():
                    problem = "a sparse file"
                content = partial(_tar_content, archive, info, where)
                problem = problem or _mode_problem(info.mode, info.isdir())
                yield _Member(info.name, info.size, None, info.isdir(), problem, content)
            if any(source.tail):  # a tar ends with zeros; tarfile takes a cut one for whole
                raise EOFError("ends without the mark of the end")
        except _DAMAGED as error:
            raise _damaged(error, where) from None


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> Callable[[], bytes]:
    stream = archive.extractfile(info)
    data = stream.read(info.size) if stream is not None else b""
    if len(data) != info.size:
        raise _damaged(EOFError(f"{info.name} ends after {len(data)} of {info.size} B"), where)
    return partial(_same, data)
