"""Of what size and with how many channels the pictures of a data set enter a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cnncli.errors import CnnError
from cnncli.io.images.image import Image
from cnncli.io.preprocessing import Preprocessing
from cnncli.shapes import Shape
from cnncli.tasks.data.decode import Decoded, Images, decode_all

_SIDE = 64  # where the pictures have no common size that a network can take [px]
_LARGEST_OWN_SIDE = 96  # pictures that are all of one size, no larger than this, keep it [px]


@dataclass(frozen=True)
class Form:
    """What is known of it before a picture is read.

    Attributes
    ----------
    size : (int, int) or None
        Height and width as on the command line.
    channels : int or None
        As on the command line.
    fit : str
        As in a `Preprocessing`.
    input_shape : (int, int, int) or None
        C, H, W that the architecture names.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: str = "pad"
    input_shape: Shape | None = None


@dataclass(frozen=True)
class _Guess:
    """A form that is tried; what was not `named` has to be that of every picture."""

    size: tuple[int, int]
    channels: int
    is_size_named: bool
    are_channels_named: bool


class _MixedError(Exception):
    """A picture does not have the form that was guessed."""

    def __init__(self, image: Image) -> None:
        super().__init__()
        self.image = image


def decode_in_form(
    images: Callable[[], Images], count: int, form: Form, where: Callable[[int], str], *, threads: int
) -> tuple[Decoded, Preprocessing, tuple[str, ...]]:
    """Decode pictures in the form that was asked for, or in the one that suits the network or them.

    A size that nobody names is that of the pictures where all have the same, of at most 96 pixels; otherwise 64x64. A
    number of channels that nobody names is 1 where all pictures are gray, otherwise 3. The first picture is taken for
    an example; the work begins again where another one does not agree.

    Parameters
    ----------
    images : callable
        Gives decoders of all pictures; called for every attempt.
    count : int
        How many there are.
    where : callable
        Name of a picture, for messages.
    threads : int
        How many are decoded at the same time.

    Returns
    -------
    decoded : Decoded
    preprocessing : Preprocessing
        Mean 0 and deviation 1.
    notes : tuple of str
        What was chosen, where the user may want to know.
    """
    guess = _first_guess(images, form)
    while True:
        wanted = Preprocessing(
            (guess.channels, *guess.size), (0.0,) * guess.channels, (1.0,) * guess.channels, fit=form.fit
        )
        try:
            decoded = decode_all(images(), count, wanted, where, threads=threads, check=_checker(guess))
        except _MixedError as mixed:
            guess = _corrected(guess, mixed.image)
            continue
        notes: tuple[str, ...] = ()
        if form.size is None and form.input_shape is None and guess.is_size_named:
            height, width = guess.size
            notes = (f"pictures are scaled to {height}x{width} ({form.fit}); --resize HxW takes another size",)
        return decoded, wanted, notes


def _first_guess(images: Callable[[], Images], form: Form) -> _Guess:
    shape = form.input_shape
    size = form.size or ((shape[1], shape[2]) if shape else None)
    channels = form.channels or (shape[0] if shape else None)
    guess = _Guess(size or (_SIDE, _SIDE), channels or 1, size is not None, channels is not None)
    if size is not None and channels is not None:
        return guess
    for _, decode in images():
        try:
            image = decode()
        except CnnError:
            continue
        if size is None:
            guess = replace(guess, size=_size(image))
        return _corrected(guess, image)
    return guess


def _checker(guess: _Guess) -> Callable[[Image], None]:
    def check(image: Image) -> None:
        is_other_size = not guess.is_size_named and _size(image) != guess.size
        if is_other_size or (not guess.are_channels_named and _is_colour(image) and guess.channels == 1):
            raise _MixedError(image)

    return check


def _corrected(guess: _Guess, image: Image) -> _Guess:
    """Return a guess with which `image` agrees."""
    if not guess.are_channels_named and _is_colour(image):
        guess = replace(guess, channels=3)
    own = _size(image)
    if not guess.is_size_named and (own != guess.size or max(own) > _LARGEST_OWN_SIDE):
        guess = replace(guess, size=(_SIDE, _SIDE), is_size_named=True)
    return guess


def _is_colour(image: Image) -> bool:
    return bool(image.pixels.shape[2] >= 3)


def _size(image: Image) -> tuple[int, int]:
    height, width, _ = image.pixels.shape
    return height, width
