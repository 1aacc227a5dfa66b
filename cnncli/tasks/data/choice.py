"""Which classes of a data set are used, and which mean and deviation its pixels get."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cnncli.errors import UsageError, did_you_mean
from cnncli.io.datasets.dataset import Dataset, Split, pixel_statistics
from cnncli.io.datasets.own.source import Contents, PictureSource, in_order

PixelStatistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation, per channel
_LISTED = 8  # classes that a hint names


def parse_classes(text: str) -> tuple[str, ...]:
    """Return the names of ``cat,dog``; one that holds a comma stands in double quotes, as in CSV.

    Raises
    ------
    UsageError
        Fewer than two, or one twice.

    Examples
    --------
    >>> parse_classes('frog,"fish, dried"')
    ('frog', 'fish, dried')
    """
    hint = "write them as in --classes cat,dog, and a name with a comma as in '\"cat, wild\",dog'"
    try:
        rows = list(csv.reader([text], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise UsageError(f"{text!r}: {error}", hint=hint) from None
    names = tuple(name.strip() for name in rows[0]) if rows else ()
    if "" in names or len(names) < 2:
        what = "a name is empty" if "" in names else f"{len(names)} class, need 2 or more"
        raise UsageError(f"{text!r}: {what}", hint=hint)
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{text!r}: {twice[0]!r} stands twice", hint="write it once")
    return names


def join_classes(names: Sequence[str]) -> str:
    """Return names as `parse_classes` reads them."""
    return ",".join('"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name for name in names)


def parse_normalization(text: str) -> tuple[float, ...] | None:
    """Return the numbers of ``0.5,0.25``; none for ``none`` and None for ``auto``.

    Raises
    ------
    UsageError
        Another text, means beyond 0..1, or deviations that are not above 0.

    Examples
    --------
    >>> parse_normalization("0.5,0.25"), parse_normalization("none"), parse_normalization("auto")
    ((0.5, 0.25), (), None)
    """
    if text in ("auto", "none"):
        return None if text == "auto" else ()
    hint = "give auto, none, or mean,deviation of pixels scaled to 0..1, as in 0.5,0.25, or all means, then deviations"
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    half = len(values) // 2
    means, deviations = values[:half], values[half:]
    are_good = all(0 <= mean <= 1 for mean in means) and all(0 < one < math.inf for one in deviations)
    if len(values) not in (2, 6) or not are_good:
        raise UsageError(f"--normalize {text!r} is not understood", hint=hint)
    return values


def pixel_scale(text: str, found: PixelStatistics) -> PixelStatistics:
    """Return mean and deviation of every channel: those that were found, none, or those of `parse_normalization`.

    Raises
    ------
    UsageError
        Three channels' numbers for one.
    """
    values, channels = parse_normalization(text), len(found[0])
    if values is None:
        return found
    if not values:
        return (0.0,) * channels, (1.0,) * channels
    if len(values) not in (2, 2 * channels):
        message = f"--normalize {text}: {len(values) // 2} means for images of {channels} channel"
        raise UsageError(message, hint="give one mean and one deviation")
    half = len(values) // 2
    return values[:half] * (channels // half), values[half:] * (channels // half)


def pictures_of_classes(source: PictureSource, classes: Sequence[str]) -> PictureSource:
    """Return the pictures of some classes alone, which are counted in their order here.

    The result is that of a folder, archive or table that holds nothing else.

    Raises
    ------
    UsageError
        An unknown class, or targets that are no classes.
    """
    check_chosen(classes, source.classes, source.targets, source.where)
    numbers = {source.classes.index(name): new for new, name in enumerate(classes)}
    kept = [(old, picture) for old, picture in enumerate(source.pictures) if picture.target in numbers]
    found = [replace(picture, target=numbers[int(str(picture.target))]) for _, picture in kept]
    olds = {id(picture): old for picture, (old, _) in zip(found, kept, strict=True)}
    pictures = in_order(found)
    places = {olds[id(picture)]: new for new, picture in enumerate(pictures)}

    def contents() -> Contents:
        return ((places[number], read) for number, read in source.contents() if number in places)

    return replace(source, pictures=pictures, classes=tuple(classes), contents=contents)


def data_of_classes(data: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the images of some classes alone, counted in their order here, with the pixel statistics of these.

    Raises
    ------
    UsageError
        As `pictures_of_classes`.
    """
    check_chosen(classes, data.classes, data.targets, data.name)
    train, test = (split_of_classes(part, data.classes, classes) for part in (data.train, data.test))
    validation = data.validation and split_of_classes(data.validation, data.classes, classes)
    mean, std = pixel_statistics(train.images)
    return replace(data, train=train, test=test, validation=validation, classes=tuple(classes), mean=mean, std=std)


def split_of_classes(split: Split, known: Sequence[str], classes: Sequence[str]) -> Split:
    """Return the images of some of the `known` classes, in the order of the split."""
    numbers = np.full(len(known), -1, np.int64)
    numbers[[known.index(name) for name in classes]] = np.arange(len(classes))
    kept = split.chosen(np.flatnonzero(numbers[split.labels] >= 0))
    return replace(kept, labels=numbers[kept.labels])


def check_chosen(classes: Sequence[str], known: Sequence[str], targets: str, where: str) -> None:
    """Refuse classes that a data set does not have."""
    if targets != "classes":
        raise UsageError(f"--classes: the targets of {where} are {targets}", hint="leave it away")
    for name in classes:
        if name not in known:
            more = ", ..." if len(known) > _LISTED else ""
            listed = f"it has {join_classes(known[:_LISTED])}{more}"
            raise UsageError(f"--classes: {where} has no class {name!r}", hint=did_you_mean(name, known, listed))
