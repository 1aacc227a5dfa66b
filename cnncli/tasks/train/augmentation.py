"""Random changes of training images that depend on (seed, epoch, image) alone.

No state is carried: an image gets the same change in any batch, in any order, with any number of threads, and in a run
that was continued.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnncli.engine.moving import move_images
from cnncli.errors import UsageError, did_you_mean
from cnncli.io.resample import rotate

Pixels = NDArray[np.uint8]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def uniform(seed: int, epoch: int, images: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
    """Return one number in [0, 1) per image, a hash of (seed, epoch, image, stream).

    Parameters
    ----------
    seed : int
        0 .. 2**64 - 1.
    epoch : int
        From 1.
    images : ndarray of int64, (n,)
        Numbers of the images in the training set.
    stream : int
        Which of several independent numbers.

    References
    ----------
    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64): its finalizer, applied to
    the key one word after the other.

    Examples
    --------
    >>> bool((uniform(0, 1, np.array([7, 8]), 0) == uniform(0, 1, np.array([8, 7]), 0)[::-1]).all())
    True
    """
    key = np.full(len(images), seed, np.uint64)
    for position, word in enumerate((epoch, images, stream), start=1):
        key = _finalize(key + np.uint64(_GOLDEN * position & _MASK)) ^ np.asarray(word).astype(np.uint64)
    return (_finalize(key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _finalize(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


Draw = Callable[[int], NDArray[np.float64]]  # number of a stream -> one number in [0, 1) per image


def _flip(images: Pixels, draw: Draw, amount: float, ground: Pixels) -> Pixels:  # noqa: ARG001
    moves = np.zeros((len(images), 4), np.int64)
    moves[:, 2] = draw(0) < 0.5
    return move_images(images, moves, ground)


def _shift(images: Pixels, draw: Draw, amount: float, ground: Pixels, *, repeats_edge: bool = True) -> Pixels:
    moves = np.zeros((len(images), 4), np.int64)
    for axis in (0, 1):
        moves[:, axis] = (draw(axis) * (2 * int(amount) + 1)).astype(np.int64) - int(amount)
    moves[:, 3] = repeats_edge
    return move_images(images, moves, ground)


def _crop(images: Pixels, draw: Draw, amount: float, ground: Pixels) -> Pixels:
    return _shift(images, draw, amount, ground, repeats_edge=False)


def _rotate(images: Pixels, draw: Draw, amount: float, ground: Pixels) -> Pixels:
    degrees = (2 * draw(0) - 1) * amount
    for number, angle in enumerate(degrees.tolist()):
        images[number] = rotate(images[number], angle, ground)
    return images


def _brightness(images: Pixels, draw: Draw, amount: float, ground: Pixels) -> Pixels:  # noqa: ARG001
    factors = 1 + (2 * draw(0) - 1) * amount
    tables = np.rint(np.minimum(np.arange(256) * factors[:, None], 255)).astype(np.uint8)
    for number, table in enumerate(tables):
        images[number] = table[images[number]]
    return images


def _cutout(images: Pixels, draw: Draw, amount: float, ground: Pixels) -> Pixels:
    side = int(amount)
    tops, lefts = ((draw(axis) * images.shape[1 + axis]).astype(np.int64) - side // 2 for axis in (0, 1))
    for image, top, left in zip(images, tops.tolist(), lefts.tolist(), strict=True):
        image[max(top, 0) : top + side, max(left, 0) : left + side] = ground
    return images


@dataclass(frozen=True)
class Change:
    """One kind of random change.

    Attributes
    ----------
    apply : callable
        Takes images (n, H, W, C), which it may overwrite, the draws, the amount and the colour of the ground.
    purpose : str
        With N for the amount.
    default : float or None
        The amount where none is written; None: it takes no amount.
    most : float
        The largest amount; infinity: the shorter side less one [px], and whole numbers only.
    """

    apply: Callable[[Pixels, Draw, float, Pixels], Pixels]
    purpose: str
    default: float | None
    most: float = math.inf


# in the order in which they are applied; the place in this table is part of the key of the random numbers
CHANGES = {
    "flip": Change(_flip, "left to right, every second image", None),
    "shift": Change(_shift, "by up to N pixels, the edge repeated", 2),
    "crop": Change(_crop, "N pixels of padding, then a crop of the old size", 4),
    "rotate": Change(_rotate, "by up to N degrees", 10, 180),
    "brightness": Change(_brightness, "times 1 - N to 1 + N", 0.2, 1),
    "cutout": Change(_cutout, "a square of N pixels hidden", 8),
}
_STREAMS = 8  # random numbers reserved for each kind


@dataclass(frozen=True)
class Augmentation:
    """Which random changes the training images get.

    Attributes
    ----------
    amounts : tuple of (str, float)
        Keys of `CHANGES` in its order, with their amounts; empty: none.
    """

    amounts: tuple[tuple[str, float], ...] = ()

    @property
    def text(self) -> str:
        """Return it as on the command line: ``flip,crop:4`` or ``none``."""
        words = [name if CHANGES[name].default is None else f"{name}:{amount:g}" for name, amount in self.amounts]
        return ",".join(words) or "none"

    def apply(
        self, images: Pixels, numbers: NDArray[np.int64], *, seed: int, epoch: int, ground: Iterable[int]
    ) -> Pixels:
        """Return changed images; `images` may be overwritten.

        Parameters
        ----------
        images : ndarray of uint8, (n, H, W, C)
        numbers : ndarray of int64, (n,)
            Numbers of these images in the training set.
        seed, epoch : int
            With the number they decide what happens to an image.
        ground : iterable of int
            What comes in from outside the picture, one value per channel.
        """
        kinds, colour = list(CHANGES), np.array(list(ground), np.uint8)
        for name, amount in self.amounts:
            first = kinds.index(name) * _STREAMS

            def draw(stream: int, first: int = first) -> NDArray[np.float64]:
                return uniform(seed, epoch, numbers, first + stream)

            images = CHANGES[name].apply(images, draw, amount, colour)
        return images

    def check(self, height: int, width: int) -> None:
        """Refuse amounts that images of this size do not allow.

        Raises
        ------
        UsageError
            An amount in pixels that is not below both sides.
        """
        side = min(height, width)
        for name, amount in self.amounts:
            if CHANGES[name].most == math.inf and CHANGES[name].default is not None and amount >= side:
                message = f"--augment {name}:{amount:g} is too much for images of {height}x{width}"
                raise UsageError(message, hint=f"give at most {name}:{side - 1}")


UNCHANGED = Augmentation()


def parse_augmentation(text: str) -> Augmentation:
    """Return what ``flip,crop:4`` says; ``none`` is no change.

    Raises
    ------
    UsageError
        An unknown word, one that stands twice, or an amount out of range.

    Examples
    --------
    >>> parse_augmentation("crop:4,flip").text
    'flip,crop:4'
    """
    if text.strip() in ("none", ""):
        return UNCHANGED
    found: dict[str, float] = {}
    for word in text.split(","):
        name, colon, written = word.strip().partition(":")
        if name not in CHANGES:
            hint = did_you_mean(name, CHANGES, f"known are {', '.join(CHANGES)}, none")
            raise UsageError(f"unknown change {name!r} in --augment {text}", hint=hint)
        if name in found:
            raise UsageError(f"{name} stands twice in --augment {text}", hint="write it once")
        found[name] = _amount(name, written) if colon else CHANGES[name].default or 0
    return Augmentation(tuple((name, found[name]) for name in CHANGES if name in found))


def _amount(name: str, written: str) -> float:
    change = CHANGES[name]
    if change.default is None:
        raise UsageError(f"--augment {name} takes no amount", hint=f"write {name}")
    is_whole = change.most == math.inf
    try:
        value = float(int(written)) if is_whole else float(written)
    except ValueError:
        value = math.nan
    if not 0 < value <= change.most or value > 65_535:
        wanted = "a whole number of pixels" if is_whole else f"a number up to {change.most:g}"
        example = f"as in {name}:{change.default:g}"
        raise UsageError(f"--augment {name}:{written} needs {wanted} above 0", hint=example)
    return value
