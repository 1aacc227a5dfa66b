"""Images and labels in NumPy's ``.npz`` files."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import open_regular_file
from cnncli.io.datasets.dataset import Split
from cnncli.io.datasets.own.source import PARTS
from cnncli.npy import read_npy

_MEMBERS = {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
_WHOLE = ("x", "y")
_LARGEST_ARRAY = 64 << 30
_SIZES_OF_NAMES = 26  # where they stand in the header of a member of a zip archive
_MOST_CLASSES = 65_536
_HINT = "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...), or x= and y= alone"


@dataclass(frozen=True)
class Arrays:
    """Images and targets that need no decoding; `targets` and `classes` as in a `Dataset`."""

    parts: Mapping[str, Split]
    classes: tuple[str, ...]
    targets: str
    notes: tuple[str, ...] = ()


def read_arrays(where: str, loss: str = "auto") -> Arrays:
    """Return the arrays ``x_train y_train [x_val y_val] [x_test y_test]``, or ``x y``, of an ``.npz`` file.

    Images are (N, H, W) or (N, H, W, C) with 1 or 3 channels: bytes, other numbers from 0 to 255, or floats from 0 to
    1. Whole labels (N,) are classes counted from 0; rows (N, K) with a single 1 are classes, too; other rows of 0 and 1
    are labels that may apply together; anything else is numbers.

    Parameters
    ----------
    where : str
        The file.
    loss : str
        ``mse`` makes numbers of every label, ``binary_cross_entropy`` labels of every row.

    Raises
    ------
    InvalidInputError
        Damaged, other arrays or types, images and labels of different number, or a class without training images.
    CnnError
        It cannot be read.
    """
    arrays = _members(where)
    names = {part: pair for part, pair in _MEMBERS.items() if pair[0] in arrays}
    if not names and _WHOLE[0] in arrays:
        names = {"train": _WHOLE}
    if "train" not in names:
        found = ", ".join(arrays) or "nothing"
        raise InvalidInputError(f"no x_train or x among its arrays ({found})", where=where, hint=_HINT)
    for image_name, label_name in names.values():
        _check_pair(arrays, image_name, label_name, where)
    images = _bytes({part: arrays[pair[0]] for part, pair in names.items()}, where)
    targets, classes, labels = _targets({part: arrays[pair[1]] for part, pair in names.items()}, loss, where)
    parts = {part: Split(images[part], labels[part]) for part in PARTS if part in names}
    return Arrays(parts, classes, targets)


def _members(where: str) -> dict[str, NDArray]:
    arrays: dict[str, NDArray] = {}
    wanted = {name for pair in (*_MEMBERS.values(), _WHOLE) for name in pair}
    with os.fdopen(open_regular_file(where), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if name not in wanted:
                        continue
                    if info.file_size > _LARGEST_ARRAY or name in arrays:
                        what = f"claims {info.file_size} B" if name not in arrays else "stands twice"
                        raise InvalidInputError(f"{name} {what}", where=where, hint=_HINT)
                    arrays[name] = read_npy(_content(archive, info, file, size), f"{where}: {name}")
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            message = f"damaged archive ({error})"
            raise InvalidInputError(message, where=where, hint="write it again with numpy.savez") from None
    return arrays


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: BufferedReader, size: int) -> bytes | memoryview:
    """Return a member of an archive of `size` bytes, after its CRC has been checked.

    What is not compressed, and so not larger than the archive, is read by one call into memory in large pages: at the
    same time another thread can import the engine.
    """
    with archive.open(info) as stream:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
            return stream.read(info.file_size + 1)
    file.seek(info.header_offset + _SIZES_OF_NAMES)
    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
    content = np.empty(info.file_size, np.uint8)
    if file.readinto(content.data) != info.file_size or zlib.crc32(content.data) != info.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 for file {info.filename!r}")
    content.flags.writeable = False
    return content.data


def _check_pair(arrays: Mapping[str, NDArray], image_name: str, label_name: str, where: str) -> None:
    if label_name not in arrays:
        raise InvalidInputError(f"{image_name} without {label_name}", where=where, hint=_HINT)
    images, labels = arrays[image_name], arrays[label_name]
    shape = "x".join(map(str, images.shape))
    if images.ndim not in (3, 4) or 0 in images.shape or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        is_turned = images.ndim == 4 and images.shape[1] in (1, 3)
        hint = "transpose it with x.transpose(0, 2, 3, 1)" if is_turned else "give (N, H, W) or (N, H, W, C), C 1 or 3"
        raise InvalidInputError(f"{image_name} is {shape}, not images", where=where, hint=hint)
    if labels.ndim not in (1, 2) or 0 in labels.shape:
        message = f"{label_name} is {'x'.join(map(str, labels.shape)) or 'one number'}"
        raise InvalidInputError(message, where=where, hint="give (N,), or (N, K) for K numbers per image")
    if len(images) != len(labels):
        message = f"{len(labels)} labels in {label_name} for the {len(images)} images of {image_name}"
        raise InvalidInputError(message, where=where, hint="give one per image")


def _bytes(images: Mapping[str, NDArray], where: str) -> dict[str, NDArray[np.uint8]]:
    """Return images as bytes (N, H, W, C); floats that all lie in 0..1 are scaled by 255."""
    shapes = {part: array.shape[1:] for part, array in images.items()}
    if len(set(shapes.values())) > 1 or len({array.dtype for array in images.values()}) > 1:
        words = ", ".join(f"{part} {array.dtype} {array.shape[1:]}" for part, array in images.items())
        raise InvalidInputError(f"the parts differ in form ({words})", where=where, hint="give them the same")
    whole = {part: array.reshape(*array.shape[:3], -1) for part, array in images.items()}
    if all(array.dtype == np.uint8 for array in whole.values()):
        return whole
    least = min(float(array.min()) for array in whole.values())
    most = max(float(array.max()) for array in whole.values())
    if not (least >= 0 and most <= 255):  # also where one is NaN
        message = f"pixels from {least:g} to {most:g}"
        raise InvalidInputError(message, where=where, hint="give bytes, or floats from 0 to 1")
    is_float = next(iter(whole.values())).dtype.kind == "f"
    factor = 255.0 if is_float and most <= 1 else 1.0
    return {part: np.rint(array * factor).astype(np.uint8) for part, array in whole.items()}


def _targets(labels: Mapping[str, NDArray], loss: str, where: str) -> tuple[str, tuple[str, ...], dict[str, NDArray]]:
    """Return the kind of targets, the names of classes or numbers, and the labels of each part."""
    columns = {array.shape[1:] for array in labels.values()}
    if len(columns) > 1:
        raise InvalidInputError("the labels of the parts differ in width", where=where, hint="give them the same")
    rows = {part: array.reshape(len(array), -1) for part, array in labels.items()}
    width = next(iter(rows.values())).shape[1]
    if not all(np.isfinite(array).all() for array in rows.values()):
        raise InvalidInputError("a label that is not finite", where=where, hint="give finite numbers")
    is_whole = all((array == np.rint(array)).all() for array in rows.values())
    is_binary = is_whole and all(((array == 0) | (array == 1)).all() for array in rows.values())
    names = tuple(f"y{k}" for k in range(1, width + 1)) if width > 1 else ("y",)
    if loss == "mse" or not is_whole or (width > 1 and not is_binary):
        return "numbers", names, {part: array.astype(np.float64) for part, array in rows.items()}
    if width > 1 and (loss == "binary_cross_entropy" or any((array.sum(1) != 1).any() for array in rows.values())):
        return "labels", names, {part: array.astype(np.float64) for part, array in rows.items()}
    classes = {part: array.argmax(1) if width > 1 else array[:, 0] for part, array in rows.items()}
    return "classes", _class_names(classes, where), {part: array.astype(np.int64) for part, array in classes.items()}


def _class_names(labels: Mapping[str, NDArray], where: str) -> tuple[str, ...]:
    least = min(int(array.min()) for array in labels.values())
    most = max(int(array.max()) for array in labels.values())
    if least < 0 or most >= _MOST_CLASSES:
        wrong = least if least < 0 else most
        message = f"label {wrong}: classes are counted from 0 to {_MOST_CLASSES - 1} at most"
        raise InvalidInputError(message, where=where, hint="count them from 0, or use --loss mse for numbers")
    missing = sorted(set(range(most + 1)) - set(np.unique(labels["train"]).tolist()))
    if missing or most < 1:
        message = f"no training image of class {missing[0]} (labels {least} to {most})" if missing else "only class 0"
        raise InvalidInputError(message, where=where, hint="count classes from 0, two or more")
    return tuple(map(str, range(most + 1)))
