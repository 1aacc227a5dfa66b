"""Which data sets are on this machine, fetching them, and what is in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnncli.errors import UnavailableError
from cnncli.io.datasets.catalogue import DATASETS, Entry, Say, find_entry, is_own, load_dataset
from cnncli.io.datasets.dataset import Dataset
from cnncli.io.datasets.download import cache_folder
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest


@dataclass(frozen=True)
class Holding:
    """A data set of the catalogue; `paths` are its files here, empty where there are none or it is bundled."""

    entry: Entry
    paths: tuple[Path, ...]

    @property
    def is_here(self) -> bool:
        """Return True where nothing is to be fetched."""
        return self.entry.is_bundled or bool(self.paths)

    @property
    def place(self) -> str:
        """Return the path of the file, or of the folder of several."""
        if self.entry.is_bundled:
            return "bundled"
        if not self.paths:
            return ""
        return str(self.paths[0] if len(self.paths) == 1 else self.paths[0].parent)


def holdings(data_dir: Path | None) -> Iterator[Holding]:
    """Give every data set of the catalogue with its files here; no file is opened."""
    for entry in DATASETS.values():
        yield Holding(entry, entry.locate(cache_folder(data_dir)))


def holding(name: str, data_dir: Path | None) -> Holding:
    """Return one of `holdings`.

    Raises
    ------
    UsageError
        An unknown name.
    """
    entry = find_entry(name)
    return Holding(entry, entry.locate(cache_folder(data_dir)))


def require(name: str, data_dir: Path | None) -> Holding:
    """Return a data set that is on this machine.

    Raises
    ------
    UnavailableError
        It is not, with the command that fetches it.
    """
    found = holding(name, data_dir)
    if not found.is_here:
        message = f"{name} is not in {cache_folder(data_dir)}"
        raise UnavailableError(message, hint=f"`cnn data get {name}` fetches it")
    return found


def get(name: str, data_dir: Path | None, say: Say) -> Holding:
    """Fetch and check a data set, unless a good copy is here.

    Raises
    ------
    UnavailableError, InvalidInputError
        As `load_dataset`.
    """
    load_dataset(name, data_dir, say)
    return require(name, data_dir)


def load_here(request: DataRequest, threads: int) -> Dataset:
    """Return a data set of the catalogue or the user's own without touching the network.

    Raises
    ------
    UnavailableError
        It is not on this machine.
    InvalidInputError, CnnError
        It is damaged or cannot be read.
    """
    if not is_own(request.source):
        require(request.source, request.data_dir)
    return load_data(request, threads=threads)


def verify(request: DataRequest, threads: int) -> Dataset:
    """Read all of a data set and check it: checksums of the catalogue, or that every picture can be decoded.

    Raises
    ------
    UnavailableError
        Not on this machine, or its checksum is not the known one.
    InvalidInputError, CnnError
        It is damaged or cannot be read.
    """
    data = load_here(request, threads)
    unverified = [note for note in data.notes if note.startswith("unverified copy")]
    if unverified and not is_own(request.source):
        where = require(request.source, request.data_dir).place
        raise UnavailableError(unverified[0], where=where, hint="delete it, and fetch it with `cnn data get`")
    return data


@dataclass(frozen=True)
class Statistics:
    """What is in a data set.

    Attributes
    ----------
    images : dict
        Number of images by part.
    counts : dict
        Number of images of each class, or with each label, by part; empty for numbers.
    ranges : dict
        Least, mean and greatest target number by name; empty for classes.
    """

    data: Dataset
    images: dict[str, int]
    counts: dict[str, list[int]]
    ranges: dict[str, tuple[float, float, float]]


def statistics(data: Dataset) -> Statistics:
    """Count images by part and class."""
    counts, ranges = {}, {}
    for name, part in data.parts.items():
        if data.targets == "classes":
            counts[name] = np.bincount(part.labels, minlength=len(data.classes)).tolist()
        elif data.targets == "labels":
            counts[name] = part.labels.sum(0).astype(int).tolist()
    if data.targets == "numbers":
        rows = np.concatenate([part.labels for part in data.parts.values()])
        for column, name in zip(rows.T, data.classes, strict=True):
            ranges[name] = float(column.min()), float(column.mean()), float(column.max())
    return Statistics(data, {name: len(part) for name, part in data.parts.items()}, counts, ranges)
