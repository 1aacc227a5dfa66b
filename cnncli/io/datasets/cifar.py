"""CIFAR-10 and CIFAR-100 in the binary archive of their makers, read as a stream: never unpacked, never unpickled.

A record is one byte per label (CIFAR-100: the coarse one, then the fine one, which counts here) and 3,072 bytes of
red, green and blue rows.

References
----------
Krizhevsky 2009, "Learning multiple layers of features from tiny images"; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError, UnavailableError
from cnncli.io.atomic import read_regular_file
from cnncli.io.datasets.cifar_sets import CifarSet
from cnncli.io.datasets.dataset import Dataset, Split, pixel_statistics
from cnncli.io.datasets.download import HTTPS, cache_folder, download

_PIXELS = 3 * 32 * 32
_LARGEST_FILE = 1 << 30
_ANOTHER_COPY = "delete it and take another copy"


@dataclass(frozen=True)
class Copy:
    """Where a data set lies: the archive, or the folder that somebody unpacked it into."""

    archive: Path | None
    folder: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the file or the folder."""
        return tuple(path for path in (self.archive, self.folder) if path is not None)


def fetch_or_load(
    known: CifarSet, data_dir: Path | None, say: Callable[[str], None], *, trusted: tuple[str, ...] = HTTPS
) -> Dataset:
    """Return the copy below `data_dir` (default: the user's cache), fetched to ``data_dir/NAME`` where there is none.

    Parameters
    ----------
    known : CifarSet
        Which set.
    data_dir : path, optional
        Where its files are looked for and fetched to.
    say : callable
        Takes a line about a download.
    trusted : tuple of str
        As in `download`.

    Raises
    ------
    UnavailableError
        Not on this machine and not to be had.
    InvalidInputError
        A copy that is damaged.
    """
    place = cache_folder(data_dir)
    copy = find_copy(place, known)
    if copy is None:
        try:
            download([known.archive], known.mirrors, place / known.name, known.title, say, trusted=trusted)
        except UnavailableError as error:
            pickled = find_pickled(place, known)
            if pickled is None:
                raise
            message = f"{error.message}; the copy for Python in {pickled} is not read: pickles can run code"
            raise UnavailableError(message, where=error.where, hint=error.hint) from None
        say(f"{known.title}: {known.credit}")
        copy = find_copy(place, known)
    if copy is None:
        raise CnnError(f"{known.title} disappeared while it was read", where=str(place), hint="run the command again")
    return load_cifar(copy, known)


def find_copy(folder: Path, known: CifarSet) -> Copy | None:
    """Return a copy below `folder`, or None: ``NAME/``, then `folder` itself, the archive before what was in it."""
    for place in (folder / known.name, folder):
        for name in (known.archive.name, known.archive.name.removesuffix(".gz")):
            if (place / name).is_file():
                return Copy(place / name, None)
        if all((place / known.folder / name).is_file() for name in known.members):
            return Copy(None, place / known.folder)
    return None


def find_pickled(folder: Path, known: CifarSet) -> Path | None:
    """Return the copy that torchvision or Keras made, which is not read."""
    for place in (folder / known.name, folder):
        for name in known.pickled:
            if (place / name).exists():
                return place / name
    return None


def load_cifar(copy: Copy, known: CifarSet) -> Dataset:
    """Read and check a copy that `find_copy` found.

    Raises
    ------
    InvalidInputError
        A file that is missing, truncated or damaged, or a label out of range.
    """
    where = str(copy.paths[0])
    if copy.archive is not None:
        contents, verified = _read_archive(copy.archive, known)
    else:
        contents = {name: read_regular_file(copy.paths[0] / name, known.longest) for name in known.members}
        verified = all(hashlib.sha256(contents[name]).hexdigest() == sum_ for name, sum_ in known.sums.items())
        verified = verified and bool(known.sums)
    train = _split([contents[name] for name in known.train], known, where)
    test = _split([contents[name] for name in known.test], known, where)
    mean, std = pixel_statistics(train.images)
    notes = () if verified else (f"unverified copy of {known.title} in {where}: its checksum is not the known one",)
    return Dataset(known.name, train, test, known.classes, mean, std, notes=notes)


def _read_archive(path: Path, known: CifarSet) -> tuple[Mapping[str, bytes], bool]:
    """Return the members by name, and whether the archive is the makers' own."""
    data = read_regular_file(path, _LARGEST_FILE)
    verified = hashlib.sha256(data).hexdigest() == known.archive.sha256
    wanted = {f"{known.folder}/{name}": name for name in known.members}
    found: dict[str, bytes] = {}
    try:
        with (
            gzip.GzipFile(fileobj=io.BytesIO(data)) if data[:2] == b"\x1f\x8b" else io.BytesIO(data) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for info in archive:
                name = wanted.get(info.name)
                if name is None or not info.isreg():
                    continue
                if info.size > known.longest:
                    message = f"{info.name} has {info.size} B, expected {known.longest} at most"
                    raise InvalidInputError(message, where=str(path), hint=_ANOTHER_COPY)
                member = archive.extractfile(info)
                found[name] = member.read() if member is not None else b""
            stream.read(_LARGEST_FILE)  # to the end of the gzip data, where its checksum is
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        message = f"damaged or truncated archive ({error})"
        raise InvalidInputError(message, where=str(path), hint=_ANOTHER_COPY) from None
    missing = sorted(set(wanted.values()) - found.keys())
    if missing:
        raise InvalidInputError(f"holds no {known.folder}/{missing[0]}", where=str(path), hint=_ANOTHER_COPY)
    return found, verified


def _split(contents: list[bytes], known: CifarSet, where: str) -> Split:
    record = known.label_bytes + _PIXELS
    for content in contents:
        if not content or len(content) % record:
            message = f"{len(content)} B are not whole records of {record} B"
            raise InvalidInputError(message, where=where, hint=_ANOTHER_COPY)
    rows = np.concatenate([np.frombuffer(content, np.uint8).reshape(-1, record) for content in contents])
    labels = rows[:, known.label_bytes - 1].astype(np.int64)
    if int(labels.max()) >= len(known.classes):
        first = int(np.argmax(labels >= len(known.classes)))
        message = f"label {labels[first]} in record {first}, but there are {len(known.classes)} classes"
        raise InvalidInputError(message, where=where, hint=_ANOTHER_COPY)
    planes: NDArray[np.uint8] = rows[:, known.label_bytes :].reshape(-1, 3, 32, 32)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)
