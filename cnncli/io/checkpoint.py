"""Checkpoints: weights with the architecture, class names and preprocessing they belong to, in one safetensors file.

The same training gives the same bytes of the best checkpoint, with any number of threads, on processors with the same
vector width. The SHA-256 inside covers every byte: weights, architecture, class names and preprocessing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cnncli import __version__
from cnncli.errors import InvalidInputError
from cnncli.io.atomic import LEAST_IN_PARTS, keep_copies, read_regular_file, write_atomically
from cnncli.io.preprocessing import Preprocessing, are_finite
from cnncli.io.safetensors_file import DATA_SHA256, FILE_SHA256, parse, pieces, with_digest

FORMAT_VERSION = 3  # 1: the SHA-256 covers the weights alone; 2: without history
BEST, LAST = "best.safetensors", "last.safetensors"
_OPTIMIZER = "optimizer:"  # in front of the names of optimizer tensors; no layer name holds a colon
_HISTORY = "history:"  # in front of the columns of the history
_LARGEST_FILE = 16 << 30
_LONGEST_NAME = 200  # characters of a class name


@dataclass(frozen=True)
class Checkpoint:
    """A network at one moment of its training.

    Attributes
    ----------
    parameters : mapping of str to ndarray of float32
        ``conv1/weight`` and so on, with the running statistics of batch normalisation (``bn1/mean``).
    architecture : str
        The YAML text of the network.
    classes : tuple of str
        One name an output.
    preprocessing : Preprocessing
        What the network expects of its pictures.
    training : mapping
        JSON values: data set, options, seed, epoch and, in the last checkpoint of a run, the step and the sums of an
        unfinished epoch.
    optimizer : mapping of str to ndarray
        State of the optimizer; empty in the best checkpoint.
    history : mapping of str to ndarray of float64
        Columns with one number per finished epoch; empty in the best checkpoint.
    """

    parameters: Mapping[str, NDArray[np.float32]]
    architecture: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    history: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def write_checkpoint(path: Path | str, checkpoint: Checkpoint, *, keep: int = 1) -> None:
    """Write a checkpoint atomically.

    Parameters
    ----------
    path : path or str
    checkpoint : Checkpoint
    keep : int
        How many checkpoints stay, this one included: the older ones are numbered as by `numbered_path`.

    Raises
    ------
    CnnError
        It cannot be written; what was there before is still there.
    """
    tensors: dict[str, NDArray[Any]] = {
        name: np.asarray(array, np.float32) for name, array in checkpoint.parameters.items()
    }
    tensors |= {f"{_OPTIMIZER}{name}": array for name, array in checkpoint.optimizer.items()}
    tensors |= {f"{_HISTORY}{name}": np.asarray(array, np.float64) for name, array in checkpoint.history.items()}
    metadata = {
        "format": f"cnncli {FORMAT_VERSION}",
        "written_by": f"cnncli {__version__}",
        "architecture": checkpoint.architecture,
        "classes": json.dumps(checkpoint.classes),
        "preprocessing": json.dumps(checkpoint.preprocessing.to_json(), allow_nan=False),
        "training": json.dumps(dict(checkpoint.training), allow_nan=False),
    }
    parts = pieces(tensors, metadata)
    with _computed_meanwhile(parts) as head:
        write_atomically(path, parts, before_rename=lambda: keep_copies(path, keep - 1), head=head)


@contextmanager
def _computed_meanwhile(parts: Sequence[memoryview]) -> Iterator[Callable[[], memoryview]]:
    """Yield what returns the first part of a file, with the digest; of a large file another thread computes it."""
    if sum(part.nbytes for part in parts) < LEAST_IN_PARTS:
        yield partial(with_digest, *parts)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:  # hashing and writing leave Python's lock free
        head: Callable[[], memoryview]
        try:
            head = pool.submit(with_digest, *parts).result
        except RuntimeError:  # the system starts no thread
            head = partial(with_digest, *parts)
        yield head


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint, or the best one of a run directory, and check all of it.

    Raises
    ------
    InvalidInputError
        Missing, damaged, of another program or a newer format, with a class name twice, or with weights that are not
        finite.
    """
    where = _file_of(path)
    tensors, metadata = parse(read_regular_file(where, _LARGEST_FILE), where)
    return _checkpoint(tensors, metadata, where)


def read_weights(path: Path | str) -> tuple[Mapping[str, NDArray[Any]], Preprocessing | None]:
    """Return the tensors of a checkpoint, of the best one of a run directory, or of another program's safetensors file.

    The preprocessing that belongs to them is None for other programs.

    Raises
    ------
    InvalidInputError
        As `read_checkpoint` does for what cnn has written; of other files, damaged or with weights that are not finite.
    """
    where = _file_of(path)
    tensors, metadata = parse(read_regular_file(where, _LARGEST_FILE), where)
    if metadata.get("format", "").startswith("cnncli"):
        checkpoint = _checkpoint(tensors, metadata, where)
        return checkpoint.parameters, checkpoint.preprocessing
    _refuse_infinite(tensors, where)
    return tensors, None


def _file_of(path: Path | str) -> str:
    """Return the name of the file: in a run directory that of the best checkpoint."""
    if not Path(path).is_dir():
        return str(path)
    if not (Path(path) / BEST).exists():
        last = Path(path) / LAST
        hint = "name a run directory of `cnn train` or a .safetensors file"
        if last.exists():
            hint = f"no epoch of this run was finished; {last} holds the weights it stopped with"
        raise InvalidInputError(f"holds no {BEST}", where=str(path), hint=hint)
    return str(Path(path) / BEST)


def _checkpoint(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], where: str) -> Checkpoint:
    """Return what a file holds, after checking it."""
    _check_format(metadata, where)
    try:
        classes = _from_json(metadata["classes"])
        preprocessing = Preprocessing.from_json(_from_json(metadata["preprocessing"]))
        training = _from_json(metadata["training"])
        architecture = metadata["architecture"]
    except (KeyError, ValueError, RecursionError) as error:
        text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        _refuse(f"its metadata cannot be used ({text})", where)
    if not (isinstance(classes, list) and all(isinstance(c, str) and len(c) <= _LONGEST_NAME for c in classes)):
        _refuse(f"its class names are not texts of at most {_LONGEST_NAME} characters", where)
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        _refuse(f"class name {twice!r} stands twice", where)
    if not isinstance(training, dict):
        _refuse("its training facts are not a table", where)
    _refuse_infinite(tensors, where)
    parameters, optimizer, history = {}, {}, {}
    for name, array in tensors.items():
        if name.startswith(_OPTIMIZER):
            optimizer[name.removeprefix(_OPTIMIZER)] = array
        elif name.startswith(_HISTORY):
            history[name.removeprefix(_HISTORY)] = array
        else:
            parameters[name] = array
    return Checkpoint(parameters, architecture, tuple(classes), preprocessing, training, optimizer, history)


def _refuse_infinite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            _refuse(f"tensor {name!r} holds values that are not finite", where)


def check_parameters(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse a checkpoint whose tensors are not exactly those of its architecture.

    Parameters
    ----------
    checkpoint : Checkpoint
        As read.
    expected : mapping of str to shape
        Every parameter and running statistic of the network.
    where : str
        Name of the file, for messages.

    Raises
    ------
    InvalidInputError
        Names the first three differences.
    """
    found = checkpoint.parameters
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{name} is not in the architecture" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and found[name].shape != tuple(shape):
            differences.append(f"{name} is {_shown(found[name].shape)}, expected {_shown(shape)}")
        elif name in found and found[name].dtype != np.float32:
            differences.append(f"{name} is {found[name].dtype}, expected float32")
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        _refuse(f"weights and architecture differ: {', '.join(differences[:3])}{more}", where)


def target_scale_of(checkpoint: Checkpoint, where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation by which the targets of a network were standardised; empty where they were not.

    Raises
    ------
    InvalidInputError
        They are not one finite number per output, or a deviation is not above 0.
    """
    facts, outputs = checkpoint.training, len(checkpoint.classes)
    if facts.get("target_std") is None:
        return (), ()
    mean, std = facts.get("target_mean"), facts["target_std"]
    if not (are_finite(mean, outputs) and are_finite(std, outputs) and min(std) > 0):
        _refuse("target_mean and target_std are not one number per output", where)
    return tuple(mean), tuple(std)


def _check_format(metadata: Mapping[str, str], where: str) -> None:
    name, _, version = metadata.get("format", "").partition(" ")
    if name != "cnncli" or not version.isascii() or not version.isdigit() or len(version) > 9:
        _refuse("a safetensors file, but not a checkpoint of cnn", where)
    if int(version) > FORMAT_VERSION:
        writer = metadata.get("written_by", "a newer cnncli")[:40]
        message = f"written by {writer} (format {version}); this is {__version__} (format {FORMAT_VERSION})"
        raise InvalidInputError(message, where=where, hint="upgrade cnncli")
    if (FILE_SHA256 if int(version) > 1 else DATA_SHA256) not in metadata:
        _refuse("its SHA-256 is missing", where)


def _from_json(text: str) -> Any:
    """Return the value of a JSON text; `NaN` and `Infinity`, which are not JSON, raise ValueError."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a number of JSON")

    return json.loads(text, parse_constant=refuse)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _refuse(message: str, where: str) -> NoReturn:
    raise InvalidInputError(message, where=where, hint="take another copy, or the other checkpoint of the run")
