"""The data sets that have a name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from cnncli.errors import UsageError
from cnncli.io.datasets.dataset import Dataset
from cnncli.io.datasets.digits import load_digits
from cnncli.io.datasets.download import RemoteFile, cache_folder, download
from cnncli.io.datasets.mnist import MNIST, IdxSet, find_copy, load_idx_set

DATASETS = {
    "digits": "1,797 handwritten digits of 8x8, bundled",
    "mnist": "70,000 handwritten digits of 28x28, read from --data-dir or fetched (12 MB)",
}


def load_dataset(name: str, data_dir: Path | None = None, say: Callable[[str], None] = lambda _: None) -> Dataset:
    """Return a data set by name.

    Parameters
    ----------
    name : str
        A key of `DATASETS`.
    data_dir : path, optional
        Where its files are looked for and fetched to; default: ``CNN_DATA_DIR``, else the user's cache.
    say : callable, optional
        Takes a line about a download.

    Raises
    ------
    UsageError
        Unknown name, with the nearest one.
    UnavailableError
        Not on this machine and not to be had.
    InvalidInputError
        A copy that is damaged.
    """
    check_name(name)
    if name == "digits":
        return load_digits()
    if data_dir is None and os.environ.get("CNN_DATA_DIR"):
        data_dir = Path(os.environ["CNN_DATA_DIR"])
    return _load_idx_set(MNIST, cache_folder(data_dir), say)


def check_name(name: str) -> None:
    """Refuse a name that is not in the catalogue.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    if name in DATASETS:
        return
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DATASETS)}"
    raise UsageError(f"unknown data set {name!r}", hint=hint)


def _load_idx_set(known: IdxSet, folder: Path, say: Callable[[str], None]) -> Dataset:
    paths = find_copy(folder, known)
    if paths is None:
        wanted = [RemoteFile(f"{file.name}.gz", file.sha256, file.size_bytes) for file in known.files]
        download(wanted, known.mirrors, folder / known.name, known.title, say)
        paths = find_copy(folder, known)
    if paths is None:
        raise UsageError(f"{known.title} disappeared from {folder} while it was read", hint="run the command again")
    return load_idx_set(paths, known)
