"""The images on which a run was trained, validated and tested, found again from what its checkpoint says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.checkpoint import Checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Dataset, Split
from cnncli.shapes import format_hwc
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


def images_of_run(
    checkpoint: Checkpoint,
    where: str,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    part: str | None = None,
    limit: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> LabelledImages:
    """Return the images of a part of a data set, as the run had them.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the run.
    where : str
        Its name, for messages.
    dataset : str, optional
        Another data set than that of the run.
    data_dir : path, optional
        Where its files are.
    part : str, optional
        One of `PARTS`; by itself the first that holds images.
    limit : int, optional
        Only the first images.
    say : callable, optional
        Takes a line about a download.

    Raises
    ------
    InvalidInputError
        The images or classes are not those of the network.
    UsageError
        The part is empty, or the checkpoint names no data set.
    """
    facts = checkpoint.training
    name = dataset or facts.get("dataset")
    if not isinstance(name, str):
        raise UsageError("the checkpoint names no data set", hint="name one with --dataset")
    data = load_dataset(name, data_dir, say)
    notes = list(data.notes)
    known = facts.get("data_sha256")
    is_own = dataset is None or (known is not None and data.sha256 == known)
    if is_own and known is not None and data.sha256 != known:
        notes.append(f"these are not the images of the run: SHA-256 {data.sha256[:12]}, then {str(known)[:12]}")
    _check_images(data, checkpoint, where)
    splits = _parts(data, facts if is_own else {})
    chosen = part or next(one for one in PARTS if len(splits[one]))
    split = splits[chosen]
    if not len(split):
        kept = ", ".join(f"{one} ({len(splits[one])})" for one in PARTS if len(splits[one]))
        what = "the run" if is_own else data.name
        raise UsageError(f"{what} has no images for {chosen}", where=where, hint=f"it has {kept}")
    if part is None and chosen != PARTS[0]:
        notes.append(f"{data.name} has no images for {PARTS[0]}: these are those for {chosen}")
    if is_own and chosen == "train":
        notes.append("the network has learnt these images: the figures say little about others")
    split = _renamed(split, data, checkpoint, where)
    return LabelledImages(data.name, chosen, split if limit is None else split.first(limit), tuple(notes))


def _check_images(data: Dataset, checkpoint: Checkpoint, where: str) -> None:
    wanted = checkpoint.preprocessing.shape
    if data.image_shape != wanted:
        message = f"{data.name} has images of {format_hwc(data.image_shape)}, the network takes {format_hwc(wanted)}"
        raise InvalidInputError(message, where=where, hint="name another data set")


def _parts(data: Dataset, facts: Any) -> dict[str, Split]:
    """Return the parts of a data set; where the facts are those of a run, divided as the run did."""
    share, limit, seed = (facts.get(key) for key in ("val_split", "limit", "seed"))
    options = TrainingOptions(
        arch="", dataset=data.name, val_split=share or 0.0, limit=limit, seed=seed if isinstance(seed, int) else 0
    )
    train, test = (part if limit is None else part.first(limit) for part in (data.train, data.test))
    order, validation = held_out(data, train, options)
    rest = train if len(order) == len(train) else Split(train.images[order], train.labels[order])
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
    return Split(split.images, numbers[split.labels])
