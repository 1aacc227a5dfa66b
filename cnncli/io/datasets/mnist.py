"""MNIST from four IDX files or Keras' one archive, used as they are after checking."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.datasets.dataset import Dataset, Placement, Split, paired, pixel_statistics
from cnncli.io.datasets.idx import GZIP_MAGIC, decompress, parse_idx

_LARGEST_FILE = 1 << 30
_NPZ_MEMBERS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


@dataclass(frozen=True)
class IdxFile:
    """One file of the set: its name without ``.gz`` and what is known of the original.

    Attributes
    ----------
    name : str
        For example ``train-images-idx3-ubyte``.
    sha256 : str
        Of the compressed file that the mirrors serve.
    content_sha256 : str
        Of the uncompressed content: it recognises copies that were compressed again.
    size_bytes : int
        Of the compressed file.
    """

    name: str
    sha256: str
    content_sha256: str
    size_bytes: int

    @property
    def rank(self) -> int:
        """Return 3 for images, 1 for labels."""
        return 3 if "idx3" in self.name else 1


@dataclass(frozen=True)
class IdxSet:
    """A data set of four IDX files.

    Attributes
    ----------
    name, title : str
        On the command line and in sentences.
    classes : tuple of str
        One name a label.
    files : tuple of IdxFile
        Training images and labels, test images and labels.
    mirrors : tuple of str
        Base addresses in the order they are tried; https only.
    npz_sha256 : str
        Of Keras' archive.
    mean, std : float
        Of the verified training images, so that they need not be counted each time.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    npz_sha256: str
    mean: float
    std: float


MNIST = IdxSet(
    name="mnist",
    title="MNIST",
    classes=tuple("0123456789"),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            9_912_422,
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            28_881,
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            1_648_877,
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            4_542,
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    npz_sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    mean=0.13066047627384287,
    std=0.3081078038564627,
)


def find_copy(folder: Path, known: IdxSet) -> tuple[Path, ...] | None:
    """Return the paths of a copy below `folder`, or None.

    ``X/mnist``, ``X`` itself, torchvision's ``X/MNIST/raw`` and ``X/raw`` are looked at in this order, each
    for the four IDX files (compressed or not) and then for Keras' ``mnist.npz``.
    """
    for place in (folder / known.name, folder, folder / known.title / "raw", folder / "raw"):
        found = [_find_idx(place, file.name) for file in known.files]
        if all(found):
            return tuple(path for path in found if path)
        archive = place / f"{known.name}.npz"
        if archive.exists():
            return (archive,)
    return None


def load_idx_set(paths: tuple[Path, ...], known: IdxSet) -> Dataset:
    """Read and check a copy that `find_copy` found.

    Raises
    ------
    InvalidInputError
        A file that is truncated, damaged, or does not fit the others.
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
    mean: tuple[float, ...] = (known.mean,)
    std: tuple[float, ...] = (known.std,)
    if not verified:
        mean, std = pixel_statistics(train.images)
        notes = (f"unverified copy of {known.title} in {paths[0].parent}: its checksums are not the known ones",)
    return Dataset(
        name=known.name,
        train=train,
        test=test,
        classes=known.classes,
        mean=mean,
        std=std,
        light_on_dark=True,
        placement=Placement(box=20, centre="mass"),
        provenance=f"{known.title} ({'verified' if verified else 'unverified'} copy in {paths[0].parent})",
        notes=notes,
    )


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
        verified &= hashlib.sha256(content).hexdigest() == file.content_sha256
        arrays.append(parse_idx(content, file.rank, str(path)))
    names = [str(path) for path in paths]
    train = paired(arrays[0], arrays[1], len(known.classes), (names[0], names[1]))
    test = paired(arrays[2], arrays[3], len(known.classes), (names[2], names[3]))
    return train, test, verified


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
            array = np.lib.format.read_array(io.BytesIO(stream.read(_LARGEST_FILE)))
    except KeyError:
        raise InvalidInputError(f"holds no array {name}", where=where, hint=hint) from None
    except (ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise InvalidInputError(f"array {name}: {error}", where=where, hint=hint) from None
    if array.dtype != np.uint8 or array.ndim != rank or array.size == 0:
        message = f"array {name} is {array.dtype} of shape {array.shape}, expected uint8 with {rank} dimensions"
        raise InvalidInputError(message, where=where, hint=hint)
    return np.ascontiguousarray(array)
