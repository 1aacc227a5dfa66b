"""A loaded data set: pixels, labels, class names, and what a later prediction needs."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.placement import Placement

_IMAGES = 1 << 16  # whose squared pixels are added as uint32: 2**16 * 255**2 < 2**32


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes
    ----------
    images : ndarray of uint8, (N, H, W, C)
        Read-only, C order.
    labels : ndarray of int64, (N,), or of float64, (N, K)
        Indices into the class names; or K target numbers per image.
    names : tuple of str
        Of the images where they are files, otherwise none.
    """

    images: NDArray[np.uint8]
    labels: NDArray
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def first(self, count: int) -> Split:
        """Return the first `count` images, fewer where there are fewer."""
        return Split(self.images[:count], self.labels[:count], self.names[:count])

    def chosen(self, numbers: NDArray[np.int64]) -> Split:
        """Return a copy of the images with these numbers, in this order."""
        names = tuple(self.names[number] for number in numbers) if self.names else ()
        return Split(self.images[numbers], self.labels[numbers], names)


@dataclass(frozen=True)
class Dataset:
    """Labelled images in parts, with what a later prediction must know.

    Attributes
    ----------
    name : str
        As on the command line.
    train, test : Split
        Disjoint parts, in a fixed order; `test` may be empty.
    classes : tuple of str
        One name per label or target number.
    mean, std : tuple of float
        Per channel, of all training pixels scaled to 0..1.
    light_on_dark : bool
        True where ink is bright on a dark ground.
    placement : Placement or None
        For sets of single digits.
    notes : tuple of str
        What the user should know, e.g. an unverified copy.
    validation : Split or None
        Where the data set brings its own; otherwise a share of `train` serves.
    targets : str
        ``classes``: one class per image; ``labels``: each of K labels is there or not (0 or 1); ``numbers``: K numbers.
    fit : str
        How pictures of another size were fitted, as in a `Preprocessing`.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    light_on_dark: bool = False
    placement: Placement | None = None
    notes: tuple[str, ...] = ()
    validation: Split | None = None
    targets: str = "classes"
    fit: str = "pad"

    @property
    def parts(self) -> dict[str, Split]:
        """Return the parts that hold images, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None and len(part)}

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of names, labels and pixels as the network sees them, whatever files they came from."""
        total = hashlib.sha256(json.dumps([self.targets, self.classes]).encode())
        for name, part in self.parts.items():
            total.update(f"{name} {part.images.shape} {part.labels.shape}".encode())
            total.update(np.ascontiguousarray(part.labels, "<f8" if part.labels.dtype.kind == "f" else "<i8").data)
            total.update(np.ascontiguousarray(part.images).data)
        return total.hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of every image."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width


def pixel_statistics(images: NDArray[np.uint8], padding: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of pixels scaled to 0..1.

    Both come from exact sums, so they do not depend on the order of the pixels. A channel without any variation gets 1
    as its deviation, so that dividing by it is harmless.

    Parameters
    ----------
    images : ndarray of uint8, (N, H, W, C)
        Read only.
    padding : int
        How many of the pixels that are 0 in all channels lie beside the pictures: they are not counted.
    """
    means, deviations = [], []
    total = images.size // images.shape[-1] - padding
    for first, second in zip(*_sums(images), strict=True):
        means.append(first / (total * 255))
        deviations.append(math.sqrt(total * second - first * first) / (total * 255) or 1.0)
    return tuple(means), tuple(deviations)


def _sums(images: NDArray[np.uint8]) -> tuple[list[int], ...]:
    """Return the sums of pixels and of their squares per channel, exactly."""
    rows = images.reshape(len(images), -1)
    first, second = np.zeros(rows.shape[1], np.int64), np.zeros(rows.shape[1], np.int64)
    for start in range(0, len(rows), _IMAGES):
        part = rows[start : start + _IMAGES]
        # single calls, which leave Python's lock to the thread that imports the engine
        first += np.add.reduce(part, 0, dtype=np.uint32)
        second += np.einsum("np,np->p", part, part, dtype=np.uint32)
    # Python integers, as their products are beyond 64 bits
    return tuple(sums.reshape(-1, images.shape[-1]).sum(0).tolist() for sums in (first, second))


def paired(images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int, where: tuple[str, str]) -> Split:
    """Pair images with labels after checking that they fit.

    Parameters
    ----------
    images : ndarray of uint8, (N, H, W)
        Gray images.
    labels : ndarray of uint8, (N,)
        One per image.
    classes : int
        Labels must be below it.
    where : (str, str)
        Names of the two files, for messages.

    Raises
    ------
    InvalidInputError
        Different lengths or a label out of range.
    """
    if len(images) != len(labels):
        message = f"{len(labels)} labels for the {len(images)} images of {where[0]}"
        raise InvalidInputError(message, where=where[1], hint="take both files from the same copy")
    if len(labels) and int(labels.max()) >= classes:
        first = int(np.argmax(labels >= classes))
        message = f"label {labels[first]} at position {first}, but there are {classes} classes (0..{classes - 1})"
        raise InvalidInputError(message, where=where[1], hint="take another copy of the data set")
    return Split(images[..., None], labels.astype(np.int64))
