"""The images on which a run was trained, validated and tested, found again from what its checkpoint says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.checkpoint import Checkpoint
from cnncli.io.datasets.catalogue import DATASETS, is_own
from cnncli.io.datasets.dataset import Dataset, Split
from cnncli.shapes import format_hwc
from cnncli.tasks.data.decode import decode_all, encoded_images, without
from cnncli.tasks.data.load import as_dataset, load_data, picture_source
from cnncli.tasks.data.request import DataRequest
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.plan import held_out

PARTS = ("test", "validation", "train")


@dataclass(frozen=True)
class LabelledImages:
    """The images that are to be measured.

    Attributes
    ----------
    dataset : str
        Its name.
    part : str
        One of `PARTS`.
    images : Split
        One or more.
    notes : tuple of str
        What the user should know.
    """

    dataset: str
    part: str
    images: Split
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which images are to be measured.

    Attributes
    ----------
    dataset : str, optional
        Another data set than that of the run: a name, or a folder, archive or file of pictures.
    data_dir : path, optional
        Where the files of named sets are.
    part : str, optional
        One of `PARTS`; by itself the first that holds images.
    limit : int, optional
        Only the first images.
    threads : int
        That decode pictures.
    """

    dataset: str | None = None
    data_dir: Path | None = None
    part: str | None = None
    limit: int | None = None
    threads: int = 1


def images_of_run(
    checkpoint: Checkpoint, where: str, wanted: Wanted, say: Callable[[str], None] = lambda _: None
) -> LabelledImages:
    """Return the images of a part of a data set, as the run had them.

    Pictures of the user's own are prepared as `cnn predict` prepares them for this network.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the run.
    where : str
        Its name, for messages.
    wanted : Wanted
    say : callable, optional
        Takes a line about a download.

    Raises
    ------
    InvalidInputError
        The images or classes are not those of the network, or cannot be read.
    UsageError
        The part is empty, or the data set of the run is not where it was.
    """
    facts = checkpoint.training
    request = _request(checkpoint, where, wanted)
    try:
        data = _load(request, checkpoint, wanted.threads, say)
    except UsageError:
        if wanted.dataset is None or not request.classes:
            raise
        data = _load(replace(request, classes=()), checkpoint, wanted.threads, say)  # it has not all of these classes
    notes = list(data.notes)
    known = facts.get("data_sha256")
    is_own = wanted.dataset is None or (known is not None and data.sha256 == known)
    if is_own and known is not None and data.sha256 != known:
        notes.append(f"these are not the images of the run: SHA-256 {data.sha256[:12]}, then {str(known)[:12]}")
    _check_images(data, checkpoint, where)
    splits = _parts(data, facts if is_own else {})
    chosen = wanted.part or next(one for one in PARTS if len(splits[one]))
    split = splits[chosen]
    if not len(split):
        kept = ", ".join(f"{one} ({len(splits[one])})" for one in PARTS if len(splits[one]))
        what = "the run" if is_own else data.name
        raise UsageError(f"{what} has no images for {chosen}", where=where, hint=f"it has {kept}")
    if wanted.part is None and chosen != PARTS[0] and is_own:
        notes.append(f"{data.name} has no images for {PARTS[0]}: these are those for {chosen}")
    if is_own and chosen == "train":
        notes.append("the network has learnt these images: the figures say little about others")
    split = _renamed(split, data, checkpoint, where)
    split = split if wanted.limit is None else split.first(wanted.limit)
    return LabelledImages(data.name, chosen, split, tuple(notes))


def _request(checkpoint: Checkpoint, where: str, wanted: Wanted) -> DataRequest:
    """Return what is asked of the data set, the run's own where no other is named."""
    facts = checkpoint.training
    loss, normalize = str(facts.get("loss", "auto")), str(facts.get("normalize") or "auto")
    classes = checkpoint.classes if facts.get("classes") else ()
    if wanted.dataset is not None:
        return DataRequest(wanted.dataset, wanted.data_dir, loss=loss, classes=classes, normalize=normalize)
    machine = facts.get("machine")
    named = (facts.get("source"), machine.get("source") if isinstance(machine, dict) else None, facts.get("dataset"))
    sources = [name for name in named if isinstance(name, str) and name]
    if not sources:
        raise UsageError("the checkpoint names no data set", where=where, hint="name one with --dataset")
    for source in sources:
        if source in DATASETS or Path(source).exists():
            return DataRequest(
                source, wanted.data_dir, skip_bad=facts.get("skip_bad") is True, loss=loss, classes=classes,
                normalize=normalize,
            )  # fmt: skip
    message = f"the images of the run, {sources[0]}, are not there"
    raise UsageError(message, where=where, hint="name them with --dataset")


def _load(request: DataRequest, checkpoint: Checkpoint, threads: int, say: Callable[[str], None]) -> Dataset:
    """Return a data set in the form that the network takes."""
    prepared = checkpoint.preprocessing
    if not is_own(request.source):
        return load_data(replace(request, skip_bad=False), say=say)
    if request.source.lower().endswith(".npz"):
        height, width = prepared.shape[1:]
        return load_data(replace(request, resize=(height, width), channels=prepared.shape[0]), threads=threads)
    source = picture_source(request)
    images, count = encoded_images(source.contents(), source.path), len(source.pictures)
    decoded = decode_all(images, count, prepared, source.path, threads=threads, invert="auto")
    if decoded.failures and not request.skip_bad:
        number, error = decoded.failures[0]
        message = f"{len(decoded.failures)} of {count} pictures cannot be read"
        hint = f"the first: {error.located(source.path(number))}"
        raise InvalidInputError(message, where=source.where, hint=hint)
    bad = {number for number, _ in decoded.failures}
    kept = [number for number in range(count) if number not in bad]
    pictures = tuple(source.pictures[number] for number in kept)
    return as_dataset(replace(source, pictures=pictures), without(decoded, bad).images, prepared)


def _check_images(data: Dataset, checkpoint: Checkpoint, where: str) -> None:
    wanted = checkpoint.preprocessing.shape
    if data.image_shape != wanted:
        message = f"{data.name} has images of {format_hwc(data.image_shape)}, the network takes {format_hwc(wanted)}"
        raise InvalidInputError(message, where=where, hint="name another data set")


def _parts(data: Dataset, facts: Any) -> dict[str, Split]:
    """Return the parts of a data set, divided as a run with these facts did."""
    share, limit, seed = (facts.get(key) for key in ("val_split", "limit", "seed"))
    options = TrainingOptions(
        arch="", dataset=data.name, val_split=share or 0.0, limit=limit, seed=seed if isinstance(seed, int) else 0
    )
    train, test = (part if limit is None else part.first(limit) for part in (data.train, data.test))
    order, validation = held_out(data, train, options)
    rest = train if len(order) == len(train) else train.chosen(order)
    return {"train": rest, "validation": validation, "test": test}


def _renamed(split: Split, data: Dataset, checkpoint: Checkpoint, where: str) -> Split:
    """Return the split with the class numbers of the network: classes are told by their names."""
    if data.classes == checkpoint.classes:
        return split
    if split.labels.ndim > 1 or not set(data.classes) <= set(checkpoint.classes):
        unknown = [name for name in data.classes if name not in checkpoint.classes]
        named = ", ".join(repr(name) for name in unknown[:3]) + (" ..." if len(unknown) > 3 else "")
        what = f"{named} of {data.name} is no class of the network" if unknown else "the targets differ in their names"
        known = ", ".join(checkpoint.classes[:4]) + (" ..." if len(checkpoint.classes) > 4 else "")
        raise InvalidInputError(what, where=where, hint=f"it knows {known}")
    numbers = np.array([checkpoint.classes.index(name) for name in data.classes], np.int64)
    return Split(split.images, numbers[split.labels], split.names)
