"""The data sets that have a name: one table, from which the loader, the help and the completion are made.

Nothing here imports NumPy: the help of a command needs the names, not the pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cnncli.errors import UsageError, did_you_mean
from cnncli.io.datasets.cifar_sets import CIFAR_SETS, CifarSet
from cnncli.io.datasets.mnist import IDX_SETS, IdxSet

if TYPE_CHECKING:
    from cnncli.io.datasets.dataset import Dataset

Say = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A data set by name.

    Attributes
    ----------
    name : str
        On the command line.
    purpose : str
        What its images show, with their number and size.
    load : callable
        Takes the folder of ``--data-dir``, or None, and a function for lines about a download; returns the data set.
    size_bytes : int
        How much is fetched where it is not on this machine; 0: it is bundled.
    locate : callable
        Takes a folder of data sets; returns the files of a copy in it, empty where there is none.
    mirrors : tuple of str
        Where it is fetched from.
    """

    name: str
    purpose: str
    load: Callable[[Path | None, Say], Dataset]
    size_bytes: int = 0
    locate: Callable[[Path], tuple[Path, ...]] = lambda _: ()
    mirrors: tuple[str, ...] = ()

    @property
    def is_bundled(self) -> bool:
        """Return True where no file is read from the user's folders."""
        return self.size_bytes == 0

    @property
    def summary(self) -> str:
        """Return the purpose and where the data set comes from."""
        return f"{self.purpose}, {'bundled' if self.is_bundled else f'{self.size_bytes / 1e6:.0f} MB to fetch'}"


def _load_digits(data_dir: Path | None, say: Say) -> Dataset:  # noqa: ARG001
    from cnncli.io.datasets.digits import load_digits

    return load_digits()


def _load_idx_set(known: IdxSet, data_dir: Path | None, say: Say) -> Dataset:
    from cnncli.io.datasets.idx_sets import fetch_or_load

    return fetch_or_load(known, data_dir, say)


def _locate_idx_set(known: IdxSet, folder: Path) -> tuple[Path, ...]:
    from cnncli.io.datasets.idx_sets import find_copy

    return find_copy(folder, known) or ()


def _locate_cifar(known: CifarSet, folder: Path) -> tuple[Path, ...]:
    from cnncli.io.datasets.cifar import find_copy

    copy = find_copy(folder, known)
    return copy.paths if copy else ()


def _load_cifar(known: CifarSet, data_dir: Path | None, say: Say) -> Dataset:
    from cnncli.io.datasets.cifar import fetch_or_load

    return fetch_or_load(known, data_dir, say)


DATASETS = {
    entry.name: entry
    for entry in (
        Entry("digits", "1,797 handwritten digits of 8x8", _load_digits),
        *(
            Entry(
                known.name,
                known.purpose,
                partial(_load_idx_set, known),
                known.size_bytes,
                partial(_locate_idx_set, known),
                known.mirrors,
            )
            for known in IDX_SETS
        ),
        *(
            Entry(
                known.name,
                known.purpose,
                partial(_load_cifar, known),
                known.size_bytes,
                partial(_locate_cifar, known),
                known.mirrors,
            )
            for known in CIFAR_SETS
        ),
    )
}


def load_dataset(name: str, data_dir: Path | None = None, say: Say = lambda _: None) -> Dataset:
    """Return a data set by name.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    data_dir : path, optional
        Where its files are looked for and fetched to; default: the user's cache.
    say : callable, optional
        Takes a line about a download.

    Raises
    ------
    UsageError
        Unknown name, with the nearest one.
    UnavailableError
        Not on this machine and not to be had.
    InvalidInputError
        A copy that is damaged, or of another data set.
    """
    return find_entry(name).load(data_dir, say)


def is_own(source: str) -> bool:
    """Return True for a path to the user's own pictures, False for a name of the table.

    Raises
    ------
    UsageError
        Neither a name nor a path that exists, with the nearest name.
    """
    if source in DATASETS:
        return False
    if os.path.lexists(source) or os.sep in source:
        return True
    names = f"known are {', '.join(DATASETS)}; or give a folder of pictures"
    raise UsageError(f"unknown data set {source!r}", hint=did_you_mean(source.lower(), DATASETS, names))


def find_entry(name: str) -> Entry:
    """Return the entry of a data set.

    Raises
    ------
    UsageError
        A name that is not in the table, with the nearest one.
    """
    if name not in DATASETS:
        hint = did_you_mean(name.lower(), DATASETS, f"known are {', '.join(DATASETS)}")
        raise UsageError(f"unknown data set {name!r}", hint=hint)
    return DATASETS[name]


def is_bundled(name: str) -> bool:
    """Return True for the name of a data set of which no file is read from the user's folders."""
    return name in DATASETS and DATASETS[name].is_bundled
