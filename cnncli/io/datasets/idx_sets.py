"""Data sets of four IDX files, or MNIST in Keras' one archive, used as they are after checking."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.datasets.dataset import Dataset, Split, paired, pixel_statistics
from cnncli.io.datasets.download import cache_folder, download
from cnncli.io.datasets.idx import GZIP_MAGIC, decompress, parse_idx
from cnncli.io.datasets.mnist import IDX_SETS, IdxFile, IdxSet
from cnncli.io.datasets.remote_file import RemoteFile
from cnncli.npy import read_npy

_LARGEST_FILE = 1 << 30
_NPZ_MEMBERS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
# checksum -> the original file that has it
ORIGINALS = {
    checksum: (known, file)
    for known in IDX_SETS
    for file in known.files
    for checksum in (file.sha256, file.content_sha256)
    if checksum
}


def fetch_or_load(known: IdxSet, data_dir: Path | None, say: Callable[[str], None]) -> Dataset:
    """Return the copy below `data_dir` (default: the user's cache), fetched to ``data_dir/NAME`` where there is none.

    Parameters
    ----------
    known : IdxSet
        Which set.
    data_dir : path, optional
        Where its files are looked for and fetched to.
    say : callable
        Takes a line about a download.

    Raises
    ------
    UnavailableError
        Not on this machine and not to be had.
    InvalidInputError
        A copy that is damaged, or of another data set.
    """
    folder = cache_folder(data_dir)
    paths = find_copy(folder, known)
    if paths is None:
        wanted = [RemoteFile(f"{file.name}.gz", file.sha256, file.size_bytes) for file in known.files]
        download(wanted, known.mirrors, folder / known.name, known.title, say)
        say(f"{known.title}: {known.credit}")
        paths = find_copy(folder, known)
    if paths is None:
        raise CnnError(f"{known.title} disappeared while it was read", where=str(folder), hint="run the command again")
    return load_idx_set(paths, known)


def find_copy(folder: Path, known: IdxSet) -> tuple[Path, ...] | None:
    """Return the paths of a copy below `folder`, or None.

    For MNIST ``X/mnist``, ``X`` itself, torchvision's ``X/MNIST/raw`` and ``X/raw`` are looked at in this order, each
    for the four IDX files (compressed or not) and then for Keras' ``mnist.npz``. Beside the user's cache Keras' own
    cache is looked at.
    """
    places = [folder / known.name, folder, folder / known.cache_name / "raw", folder / "raw"]
    if _is_users_cache(folder):
        keras = Path.home() / ".keras" / "datasets"
        places += [keras / known.name, keras]
    for place in places:
        found = [_find_idx(place, file.name) for file in known.files]
        if all(found):
            return tuple(path for path in found if path)
        archive = place / f"{known.name}.npz"
        if known.npz_sha256 and archive.exists():
            return (archive,)
    return None


def load_idx_set(paths: tuple[Path, ...], known: IdxSet) -> Dataset:
    """Read and check a copy that `find_copy` found.

    Raises
    ------
    InvalidInputError
        A file that is truncated, damaged, does not fit the others, or is a known file of another data set.
    """
    if len(paths) == 1:
        train, test, verified = _load_npz(paths[0], known)
    else:
        train, test, verified = _load_idx(paths, known)
    for split, path in ((train, paths[0]), (test, paths[-2] if len(paths) > 1 else paths[0])):
        if split.images.shape[1:] != train.images.shape[1:]:
            height, width = split.images.shape[1:3]
            message = f"images of {height}x{width}, the training images are of another size"
            raise InvalidInputError(message, where=str(path), hint="take all files from the same copy")
    notes: tuple[str, ...] = ()
    mean, std = known.statistics if verified and known.statistics else pixel_statistics(train.images)
    if not verified:
        notes = (f"unverified copy of {known.title} in {paths[0].parent}: its checksums are not the known ones",)
    return Dataset(
        name=known.name,
        train=train,
        test=test,
        classes=known.classes,
        mean=mean,
        std=std,
        light_on_dark=True,
        placement=known.placement,
        notes=notes,
    )


def _is_users_cache(folder: Path) -> bool:
    try:
        return folder == cache_folder(None)
    except CnnError:  # a user without a home directory has no caches
        return False


def _find_idx(place: Path, name: str) -> Path | None:
    # some copies spell train-images.idx3-ubyte
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in (".gz", ""):
            path = place / (spelling + suffix)
            if path.exists():
                return path
    return None


def _load_idx(paths: tuple[Path, ...], known: IdxSet) -> tuple[Split, Split, bool]:
    arrays, verified = [], True
    for path, file in zip(paths, known.files, strict=True):
        data = read_regular_file(path, _LARGEST_FILE)
        content = decompress(data, str(path)) if data.startswith(GZIP_MAGIC) else data
        verified &= _is_original(data, content, known, file, str(path))
        arrays.append(parse_idx(content, file.rank, str(path)))
    names = [str(path) for path in paths]
    train = paired(arrays[0], arrays[1], len(known.classes), (names[0], names[1]))
    test = paired(arrays[2], arrays[3], len(known.classes), (names[2], names[3]))
    return train, test, verified


def _is_original(data: bytes, content: bytes, known: IdxSet, file: IdxFile, where: str) -> bool:
    """Return whether the file has a known checksum, as it is or uncompressed; refuse the one of another file."""
    found = ORIGINALS.get(hashlib.sha256(content).hexdigest())
    if found is None and data is not content:
        found = ORIGINALS.get(hashlib.sha256(data).hexdigest())
    if found is None:
        return False
    if found != (known, file):
        other = f"is {found[1].name} of {found[0].title}, not {file.name} of {known.title}"
        hint = f"both use the same file names: put the files of {known.title} into a folder {known.name}"
        raise InvalidInputError(other, where=where, hint=hint)
    return True


def _load_npz(path: Path, known: IdxSet) -> tuple[Split, Split, bool]:
    data = read_regular_file(path, _LARGEST_FILE)
    verified = hashlib.sha256(data).hexdigest() == known.npz_sha256
    where = str(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            splits = [
                paired(
                    _member(archive, images, 3, where),
                    _member(archive, labels, 1, where),
                    len(known.classes),
                    (f"{images} in {where}", where),
                )
                for images, labels in (_NPZ_MEMBERS["train"], _NPZ_MEMBERS["test"])
            ]
    except zipfile.BadZipFile as error:
        raise InvalidInputError(
            f"damaged archive ({error})", where=where, hint="delete it and take another copy"
        ) from None
    return splits[0], splits[1], verified


def _member(archive: zipfile.ZipFile, name: str, rank: int, where: str) -> NDArray[np.uint8]:
    hint = "delete it and take another copy"
    try:
        info = archive.getinfo(f"{name}.npy")
        if info.file_size > _LARGEST_FILE:
            raise InvalidInputError(f"{name} claims {info.file_size} B", where=where, hint=hint)
        with archive.open(info) as stream:
            array = read_npy(stream.read(_LARGEST_FILE), f"{where}: {name}.npy")
    except KeyError:
        raise InvalidInputError(f"holds no array {name}", where=where, hint=hint) from None
    except (ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InvalidInputError(f"array {name}: {error}", where=where, hint=hint) from None
    if array.dtype != np.uint8 or array.ndim != rank or array.size == 0:
        message = f"array {name} is {array.dtype} of shape {array.shape}, expected uint8 with {rank} dimensions"
        raise InvalidInputError(message, where=where, hint=hint)
    return np.ascontiguousarray(array)
