"""From what stands behind ``--dataset`` to a data set in memory, prepared as `cnn predict` prepares pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.atomic import open_regular_file
from cnncli.io.datasets.catalogue import is_own, load_dataset
from cnncli.io.datasets.dataset import Dataset, Split, pixel_statistics
from cnncli.io.datasets.own.archive import ARCHIVES, archive_source
from cnncli.io.datasets.own.arrays import Arrays, read_arrays
from cnncli.io.datasets.own.folder import folder_source
from cnncli.io.datasets.own.source import PARTS, PictureSource, source_name
from cnncli.io.datasets.own.table import table_source
from cnncli.io.images.image import Image
from cnncli.io.preprocessing import Preprocessing
from cnncli.shapes import Shape
from cnncli.tasks.data.choice import check_chosen, data_of_classes, pictures_of_classes, pixel_scale, split_of_classes
from cnncli.tasks.data.decode import Decoded, Failures, encoded_images, fill_padding, without
from cnncli.tasks.data.form import Form, decode_in_form
from cnncli.tasks.data.request import DataRequest

_NAMED = 3  # pictures that a message names
Say = Callable[[str], None]


def load_data(
    request: DataRequest, *, input_shape: Shape | None = None, threads: int = 1, say: Say = lambda _: None
) -> Dataset:
    """Return the data set that was asked for.

    Parameters
    ----------
    request : DataRequest
        What stands on the command line.
    input_shape : (int, int, int), optional
        C, H, W that the architecture names: the form of the user's own pictures where `request` names none.
    threads : int
        How many pictures are decoded at the same time.
    say : callable
        Takes a line of progress.

    Raises
    ------
    UsageError
        An unknown name, or options that this data set would not use.
    UnavailableError, InvalidInputError, CnnError
        Not on this machine; damaged; not to be read.
    """
    if not is_own(request.source):
        for option in ("resize", "fit", "channels", "skip_bad"):
            if getattr(request, option):
                message = f"--{option.replace('_', '-')} is for pictures of your own, not for {request.source}"
                raise UsageError(message, hint="leave it away")
        data = load_dataset(request.source, request.data_dir, say)
        data = data_of_classes(data, request.classes) if request.classes else data
        mean, std = pixel_scale(request.normalize, (data.mean, data.std))
        return replace(data, mean=mean, std=std)
    form = Form(request.resize, request.channels, request.fit or "pad", input_shape)
    if request.source.lower().endswith(".npz"):
        return _load_arrays(read_arrays(request.source, request.loss), form, request, threads)
    return _load_pictures(picture_source(request), form, request, threads)


def picture_source(request: DataRequest) -> PictureSource:
    """Return the labelled pictures of a folder, an archive or a table; none is decoded yet.

    Raises
    ------
    InvalidInputError, CnnError
        It is none of them, or cannot be read.
    """
    source = _source(request)
    return pictures_of_classes(source, request.classes) if request.classes else source


def _source(request: DataRequest) -> PictureSource:
    lower = request.source.lower()
    if lower.endswith(ARCHIVES):
        return archive_source(request.source)
    if lower.endswith(".csv"):
        return table_source(request.source, request.loss)
    if not Path(request.source).is_dir():
        os.close(open_regular_file(request.source))  # a missing file has its own error
        kinds = "a folder of pictures, a zip or tar of one, an .npz file or a .csv table"
        raise InvalidInputError("is no data set by its name", where=request.source, hint=f"give {kinds}")
    return folder_source(request.source)


def _load_arrays(arrays: Arrays, form: Form, request: DataRequest, threads: int) -> Dataset:
    """Return arrays as they are, or brought to another form as `cnn predict` would bring pictures to it."""
    if request.skip_bad:
        raise UsageError("--skip-bad is for files of pictures", where=request.source, hint="leave it away")
    if request.classes:
        check_chosen(request.classes, arrays.classes, arrays.targets, request.source)
        chosen = {name: split_of_classes(part, arrays.classes, request.classes) for name, part in arrays.parts.items()}
        arrays = replace(arrays, parts=chosen, classes=request.classes)
    parts, fit = dict(arrays.parts), form.fit
    _, height, width, channels = parts["train"].images.shape
    wanted = form.size or (height, width), form.channels or channels
    if wanted == ((height, width), channels) and request.fit:
        raise UsageError(f"--fit {fit} has nothing to fit: no --resize", hint="leave it away")
    if wanted != ((height, width), channels):
        form = replace(form, size=wanted[0], channels=wanted[1])
        pixels = [picture for part in parts.values() for picture in part.images]
        decoded, prepared, _ = decode_in_form(
            lambda: ((number, partial(Image, picture)) for number, picture in enumerate(pixels)),
            len(pixels),
            form,
            lambda number: f"{request.source}: image {number}",
            threads=threads,
        )
        count = len(parts["train"])
        mean, std = pixel_scale(request.normalize, pixel_statistics(decoded.images[:count], _padding(decoded, count)))
        fill_padding(decoded, replace(prepared, mean=mean, std=std).ground)
        start = 0
        for name, part in parts.items():
            parts[name] = Split(decoded.images[start : start + len(part)], part.labels)
            start += len(part)
    else:
        mean, std = pixel_scale(request.normalize, pixel_statistics(parts["train"].images))
    train = parts["train"]
    return Dataset(
        name=source_name(request.source),
        train=train,
        validation=parts.get("validation"),
        test=parts.get("test", train.first(0)),
        classes=arrays.classes,
        mean=mean,
        std=std,
        notes=arrays.notes,
        targets=arrays.targets,
        fit=fit,
    )


def _load_pictures(source: PictureSource, form: Form, request: DataRequest, threads: int) -> Dataset:
    count = len(source.pictures)
    decoded, wanted, told = decode_in_form(
        lambda: encoded_images(source.contents(), source.path), count, form, source.path, threads=threads
    )
    notes, pictures = [*source.notes, *told], source.pictures
    if decoded.failures:
        message = _failed(decoded.failures, source)
        if not request.skip_bad:
            hint = "repair or remove them, or use --skip-bad"
            raise InvalidInputError(message, where=source.where, hint=hint)
        notes.append(f"{message}: left out")
        bad = {number for number, _ in decoded.failures}
        decoded = without(decoded, bad)
        pictures = tuple(picture for number, picture in enumerate(pictures) if number not in bad)
    source = replace(source, pictures=pictures, notes=tuple(notes))
    _check_classes(source)
    return _dataset(source, decoded, wanted, request.normalize)


def _failed(failures: Failures, source: PictureSource) -> str:
    words = [f"{source.pictures[number].name}: {error.message}" for number, error in failures[:_NAMED]]
    more = "; ..." if len(failures) > _NAMED else ""
    pictures = f"{len(failures)} of {len(source.pictures)} pictures cannot be read"
    return f"{pictures} ({'; '.join(words)}{more})"


def _check_classes(source: PictureSource) -> None:
    """Refuse a class without training pictures, of which none could be read."""
    if source.targets != "classes":
        return
    present = {picture.target for picture in source.pictures if picture.part == "train"}
    for number, name in enumerate(source.classes):
        if number not in present:
            message = f"no picture of class {name!r} can be read for training"
            raise InvalidInputError(message, where=source.where, hint="add pictures, or remove the class")


def _dataset(source: PictureSource, decoded: Decoded, wanted: Preprocessing, normalize: str) -> Dataset:
    count = sum(picture.part == "train" for picture in source.pictures)
    mean, std = pixel_scale(normalize, pixel_statistics(decoded.images[:count], _padding(decoded, count)))
    wanted = replace(wanted, mean=mean, std=std)
    fill_padding(decoded, wanted.ground)
    return as_dataset(source, decoded.images, wanted)


def as_dataset(source: PictureSource, images: NDArray[np.uint8], prepared: Preprocessing) -> Dataset:
    """Return the pictures of a source, decoded as `prepared` says, as a data set."""
    parts = np.array([PARTS.index(picture.part) for picture in source.pictures])
    labels = np.array(
        [picture.target for picture in source.pictures], np.int64 if source.targets == "classes" else np.float64
    )
    names = tuple(source.path(number) for number in range(len(parts)))
    ends = np.searchsorted(parts, [1, 2, 3]).tolist()
    slices = [slice(start, end) for start, end in zip((0, *ends[:2]), ends, strict=True)]
    splits = [Split(images[part], labels[part], names[part]) for part in slices]
    return Dataset(
        name=source_name(source.where),
        train=splits[0],
        validation=splits[1] if len(splits[1]) else None,
        test=splits[2],
        classes=source.classes,
        mean=prepared.mean,
        std=prepared.std,
        notes=source.notes,
        targets=source.targets,
        fit=prepared.fit,
    )


def _padding(decoded: Decoded, count: int) -> int:
    """Return how many pixels of the first `count` images lie beside the pictures."""
    _, height, width, _ = decoded.images.shape
    return sum(
        height * width - (rows.stop - rows.start) * (columns.stop - columns.start)
        for number, (rows, columns) in decoded.windows.items()
        if number < count
    )
