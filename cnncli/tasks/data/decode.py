"""Decode the pictures of a data set once, in parallel, into one array of bytes."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError
from cnncli.io.datasets.own.source import Contents
from cnncli.io.file_errors import write_error
from cnncli.io.images.decode import decode_image
from cnncli.io.images.image import Image
from cnncli.io.preprocessing import Preprocessing
from cnncli.tasks.free_memory import free_memory
from cnncli.tasks.predict.fit_picture import fit_picture, letterbox_window

_IN_A_GROUP = 16  # pictures that a thread decodes before it reports
_GROUPS_AHEAD = 4  # per thread
_SHARE_OF_MEMORY = 0.4  # a larger array is a file that the system maps

# the number of a picture, and a function that decodes it in any thread, or raises CnnError
Images = Iterator[tuple[int, Callable[[], Image]]]
Failures = list[tuple[int, CnnError]]


@dataclass
class Decoded:
    """Pictures as a network takes them.

    Attributes
    ----------
    images : ndarray of uint8, (N, H, W, C)
    windows : dict
        Rows and columns that a padded picture fills, by the number of the picture.
    failures : list of (int, CnnError)
        Pictures that cannot be read, by number; their rows are empty.
    """

    images: NDArray[np.uint8]
    windows: dict[int, tuple[slice, slice]] = field(default_factory=dict)
    failures: Failures = field(default_factory=list)


def empty_pixels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array for pictures, in memory or, where it is large, in a mapped file without a name.

    Raises
    ------
    CnnError
        No space on the disk of temporary files (TMPDIR, or /var/tmp).
    """
    size = int(np.prod(shape, dtype=object))
    if size <= _SHARE_OF_MEMORY * free_memory():
        return np.zeros(shape, np.uint8)
    folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - on a disk; /tmp may be memory
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk would otherwise be a SIGBUS
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise write_error(f"{folder}/pictures", error, size) from None


def encoded_images(contents: Contents, where: Callable[[int], str]) -> Images:
    """Give decoders of the files of a source."""

    def decode(read: Callable[[], bytes], name: str) -> Image:
        return decode_image(read(), name)

    for number, read in contents:
        yield number, partial(decode, read, where(number))


def decode_all(
    images: Images,
    count: int,
    wanted: Preprocessing,
    where: Callable[[int], str],
    *,
    threads: int,
    check: Callable[[Image], None] = lambda _: None,
    invert: str = "no",
) -> Decoded:
    """Decode and fit every picture as `cnn predict` does; padding is 0 until `fill_padding`.

    Parameters
    ----------
    images : iterator
        Decoders of the pictures.
    count : int
        How many there are.
    wanted : Preprocessing
        Size, channels and fit.
    where : callable
        Name of a picture, for messages.
    threads : int
        How many decode at the same time; the result does not depend on it.
    check : callable
        Sees each decoded picture; what it raises ends the work.
    invert : str
        As in `fit_picture`.

    Raises
    ------
    CnnError
        An archive that is damaged, or no space for the pixels. Pictures that cannot be read are in the result.
    """
    channels, height, width = wanted.shape
    result = Decoded(empty_pixels((count, height, width, channels)))

    def work(number: int, decode: Callable[[], Image]) -> None:
        try:
            image = decode()
        except CnnError as error:
            result.failures.append((number, error))
            return
        check(image)
        try:
            result.images[number] = fit_picture(image, wanted, invert, where(number)).pixels
        except CnnError as error:
            result.failures.append((number, error))
            return
        if wanted.fit == "pad" and image.pixels.shape[:2] != (height, width):
            result.windows[number] = letterbox_window(image.pixels.shape, (height, width))

    _in_threads(images, work, threads)
    result.failures.sort(key=lambda failure: failure[0])
    return result


def _in_threads(images: Images, work: Callable[[int, Callable[[], Image]], None], threads: int) -> None:
    """Run `work` on all pictures; few are read ahead, so that an archive is never in memory as a whole."""

    def run(group: list[tuple[int, Callable[[], Image]]]) -> None:
        for number, decode in group:
            work(number, decode)

    running: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while group := list(islice(images, _IN_A_GROUP)):
            running.append(pool.submit(run, group))
            while len(running) > _GROUPS_AHEAD * threads:
                running.popleft().result()
        while running:
            running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def without(decoded: Decoded, bad: set[int]) -> Decoded:
    """Return the pictures whose numbers are not in `bad`, in the same memory."""
    kept = [number for number in range(len(decoded.images)) if number not in bad]
    for row, number in enumerate(kept):
        decoded.images[row] = decoded.images[number]
    windows = {row: decoded.windows[number] for row, number in enumerate(kept) if number in decoded.windows}
    return Decoded(decoded.images[: len(kept)], windows)


def fill_padding(decoded: Decoded, ground: tuple[int, ...]) -> None:
    """Give what lies beside the pictures the colour of the ground."""
    colour = np.array(ground, np.uint8)
    for number, (rows, columns) in decoded.windows.items():
        image = decoded.images[number]
        image[: rows.start], image[rows.stop :] = colour, colour
        image[:, : columns.start], image[:, columns.stop :] = colour, colour
