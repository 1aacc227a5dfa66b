"""From any picture to the pixels a network was trained on, saying every change that was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.placement import Placement
from cnncli.io.images.image import Image
from cnncli.io.preprocessing import Preprocessing
from cnncli.io.resample import fit_inside, resample
from cnncli.tasks.predict.ink import Ink, find_ink, frame_is_light

_LARGEST_SEARCH = 512  # side of the picture in which ink is looked for [px]
_SMALL_SIDE = 32  # up to here the frame decides the polarity [px]
# how far from the middle the digits of the data sets lie: by mass within a pixel, by their box (8x8) up to 1.5 [px]
_TOLERANCE = {"mass": 1.0, "box": 1.5}
_NEARLY = 2  # a digit whose size differs by no more from that of the data set is not scaled [px]
_INVERTED = "dark ink on a light ground: inverted"


@dataclass(frozen=True)
class Fitted:
    """A picture ready for the network.

    Attributes
    ----------
    pixels : ndarray of uint8, (H, W, C)
        Of the network's input shape.
    notes : tuple of str
        Every change that was made, in words.
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


def fit_picture(image: Image, wanted: Preprocessing, invert: str = "auto", where: str = "") -> Fitted:
    """Bring a picture to the form of the training images.

    A picture that has it already passes unchanged. For digits, dark ink on a light ground is inverted, and a picture
    of another size is searched for its ink, which is scaled and centred as the makers of the data set did; other
    pictures are scaled as `wanted.fit` says.

    Parameters
    ----------
    image : Image
        As decoded.
    wanted : Preprocessing
        From the checkpoint.
    invert : str
        ``auto`` decides by the frame of the picture, ``yes`` and ``no`` do not look.
    where : str
        Name of the file, for messages.

    Raises
    ------
    InvalidInputError
        A number of channels that cannot be converted, or samples that are not finite.
    """
    notes = list(image.notes)
    channels, height, width = wanted.shape
    pixels = _with_channels(_eight_bit(image, notes, where), channels, notes, where)
    if wanted.light_on_dark and channels == 1 and wanted.placement is not None:
        gray = pixels[..., 0]
        dark = None if invert == "auto" else invert == "yes"
        return Fitted(_fit_digit(gray, dark, wanted, wanted.placement, notes)[..., None], tuple(notes))
    if invert == "yes":
        pixels = 255 - pixels
        notes.append("inverted")
    if pixels.shape[:2] == (height, width):
        return Fitted(np.ascontiguousarray(pixels), tuple(notes))
    fit = {"pad": _letterbox, "crop": _cut, "stretch": _stretch}[wanted.fit]
    return Fitted(fit(pixels, wanted, notes), tuple(notes))


def _eight_bit(image: Image, notes: list[str], where: str) -> NDArray[np.uint8]:
    """Return colour samples as bytes, alpha flattened."""
    pixels = _to_bytes(image.pixels, notes, where)
    if image.alpha is None:
        return pixels
    alpha = _to_bytes(image.alpha, [], where)[..., None].astype(np.uint32)
    if alpha.min() == 255:
        return pixels
    # light ink on nothing would vanish on white
    seen = float((pixels * (alpha / 255)).sum() / max(float(alpha.sum()) / 255 * pixels.shape[2], 1.0))
    ground = 0 if seen > 127 else 255
    notes.append(f"transparent parts laid on {'black' if ground == 0 else 'white'}")
    flat = (pixels.astype(np.uint32) * alpha + ground * (255 - alpha) + 127) // 255
    return flat.astype(np.uint8)


def _to_bytes(samples: NDArray, notes: list[str], where: str) -> NDArray[np.uint8]:
    """Return 16-bit and float samples as bytes: floats up to 1 mean 0..1, larger ones the next power of two less 1."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.uint16:
        return ((samples.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    values = samples.astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError("holds samples that are not finite", where=where, hint="give a picture without NaN")
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    full = 1.0 if most <= 1 else 255.0
    if most > full:
        full = 2.0 ** int(np.floor(most)).bit_length() - 1
        full = full if most <= full else 2 * full + 1
        notes.append(f"samples up to {most:.6g}: 0..{full:.0f} scaled to 0..255")
    if least < 0:
        notes.append(f"samples below 0 (down to {least:.6g}) cut to 0")
    return np.clip(np.rint(values * (255 / full)), 0, 255).astype(np.uint8)


def _with_channels(pixels: NDArray[np.uint8], channels: int, notes: list[str], where: str) -> NDArray[np.uint8]:
    have = pixels.shape[2]
    if have == channels:
        return pixels
    if have == 3 and channels == 1:
        # ITU-R BT.601; equal channels stay exactly what they are
        weighted = pixels.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)
        notes.append("colour turned to gray")
        return ((weighted + 500) // 1000).astype(np.uint8)[..., None]
    if have == 1:
        notes.append(f"gray repeated in {channels} channels")
        return np.repeat(pixels, channels, axis=2)
    message = f"{have} channels, the network takes {channels}"
    raise InvalidInputError(message, where=where, hint="convert the picture to gray or RGB")


def _fit_digit(
    gray: NDArray[np.uint8], dark: bool | None, wanted: Preprocessing, place: Placement, notes: list[str]
) -> NDArray[np.uint8]:
    """Return a digit as the data set has it: light on dark, of its size, where its makers put it.

    Parameters
    ----------
    gray : ndarray of uint8, (H, W)
        Any size.
    dark : bool, optional
        True for dark ink on a light ground; looked for when None.
    wanted, place
        The form of the data set.
    notes : list of str
        Every change is added.
    """
    _, height, width = wanted.shape
    if dark is None and min(gray.shape) <= _SMALL_SIDE:
        dark = frame_is_light(gray)
    in_shape = gray.shape == (height, width)
    if in_shape and dark and np.median(_frame(gray)) == 255:
        gray, dark = np.subtract(255, gray, dtype=np.uint8), False  # the negative of a training image
        notes.append(_INVERTED)
    if in_shape and not dark and (_has_form(gray, place) or frame_is_light(gray)):
        return gray  # a training image, or a light ground that is to be kept
    picture = gray.astype(np.float64)
    shrink = max(1.0, max(gray.shape) / _LARGEST_SEARCH)
    if shrink > 1:
        picture = resample(picture, *fit_inside(gray.shape[0], gray.shape[1], _LARGEST_SEARCH))
    ink = find_ink(picture, dark_on_light=dark) if min(gray.shape) > 2 else None
    if ink is None:
        dark = frame_is_light(gray) if dark is None else dark
        notes.append(f"no ink found in {gray.shape[1]}x{gray.shape[0]}: scaled as a whole")
        return _letterbox((255 - gray if dark else gray)[..., None], wanted, [])[..., 0]
    if ink.dark_on_light:
        notes.append(_INVERTED)
    if ink.shapes > 1:
        notes.append(f"{ink.shapes} shapes found where the network reads one digit: cut them apart")
    if in_shape and not ink.dark_on_light and abs(max(ink.strength.shape) - place.box) <= _NEARLY:
        return _moved(gray, ink, place, notes)
    rows, columns = (round(side * shrink) for side in ink.strength.shape)
    top, left = round(ink.top * shrink), round(ink.left * shrink)
    centred = "centred by mass" if place.centre == "mass" else "centred"
    notes.append(
        f"picture of {gray.shape[1]}x{gray.shape[0]}: ink of {columns}x{rows} at ({left}, {top}) "
        f"scaled into {place.box}x{place.box} and {centred}"
    )
    return place_ink(ink, place, height, width)


def _frame(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])


def _has_form(gray: NDArray[np.uint8], place: Placement) -> bool:
    """Return True where all that is not black has the size and the place of the data set's digits."""
    rows, columns = np.flatnonzero(gray.any(axis=1)), np.flatnonzero(gray.any(axis=0))
    if not len(rows):
        return False
    sides = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    right_size = place.box - 1 <= max(sides) <= place.box
    return right_size and not any(_moves(gray.astype(np.float64), place, (0, 0), gray.shape))


def _moves(
    ink: NDArray[np.float64], place: Placement, corner: tuple[int, int], room: tuple[int, ...]
) -> tuple[int, int]:
    """Return by how many pixels down and right the ink at `corner` has to move; 0 where it is right within a pixel."""
    moves = []
    for axis in (0, 1):
        weights = ink.sum(axis=1 - axis)
        inside = np.flatnonzero(weights)
        if place.centre == "mass":
            # the centre of mass of MNIST's digits lies in the middle of pixel 14 counted from 0
            off = room[axis] / 2 - corner[axis] - float(weights @ np.arange(len(weights)) / weights.sum())
        else:
            off = (room[axis] - 1) / 2 - corner[axis] - (inside[0] + inside[-1]) / 2
        least, most = -corner[axis] - int(inside[0]), room[axis] - 1 - corner[axis] - int(inside[-1])
        moves.append(min(max(round(off), least), most) if abs(off) > _TOLERANCE[place.centre] else 0)
    return moves[0], moves[1]


def _moved(gray: NDArray[np.uint8], ink: Ink, place: Placement, notes: list[str]) -> NDArray[np.uint8]:
    """Move a picture by whole pixels until its ink is centred; what comes in has the grey of the frame."""
    down, right = _moves(ink.strength, place, (ink.top, ink.left), gray.shape)
    if not (down or right):
        return gray
    notes.append(f"moved by ({right}, {down}) to the middle")
    height, width = gray.shape
    result = np.full_like(gray, round(float(np.median(_frame(gray)))))
    into = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    taken = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
    result[into] = gray[taken]
    return result


def place_ink(ink: Ink, place: Placement, height: int, width: int) -> NDArray[np.uint8]:
    """Scale strokes into the box of a digit set and put them where its makers put them.

    Parameters
    ----------
    ink : Ink
        Cut out of a picture.
    place : Placement
        Size of the box, and what is centred.
    height, width : int
        Of the result.

    Returns
    -------
    ndarray of uint8, (height, width)
        Bright ink on black, the strongest at 255.
    """
    size = fit_inside(ink.strength.shape[0], ink.strength.shape[1], place.box)
    small = resample(ink.strength, *size)
    small *= 255 / small.max()  # thin strokes fade when they shrink; those of the data set are at full strength
    result = np.zeros((height, width))
    corner = []
    for axis, room in enumerate((height, width)):
        weights = small.sum(axis=1 - axis)
        centre = float(weights @ (np.arange(size[axis]) + 0.5) / weights.sum())
        # the centre of mass of MNIST's digits lies in the middle of pixel 14 counted from 0, not between two pixels
        middle = centre - 0.5 if place.centre == "mass" else size[axis] / 2
        corner.append(min(max(round(room / 2 - middle), 0), room - size[axis]))
    top, left = corner
    result[top : top + size[0], left : left + size[1]] = small
    return np.rint(result).astype(np.uint8)


def _letterbox(pixels: NDArray[np.uint8], wanted: Preprocessing, notes: list[str]) -> NDArray[np.uint8]:
    """Scale with the aspect kept and pad with the mean colour."""
    channels, height, width = wanted.shape
    before = pixels.shape[:2]
    rows, columns = letterbox_window(before, (height, width))
    size = rows.stop - rows.start, columns.stop - columns.start
    result = np.broadcast_to(np.array(wanted.ground, np.uint8), (height, width, channels)).copy()
    result[rows, columns] = _scaled(pixels, size)
    padded = " and padded" if size != (height, width) else ""
    notes.append(f"scaled from {before[1]}x{before[0]} to {size[1]}x{size[0]}{padded}")
    return result


def letterbox_window(before: tuple[int, ...], after: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that a picture of `before` (height, width) fills in one of `after`."""
    scale = min(after[0] / before[0], after[1] / before[1])
    sizes = [max(1, round(side * scale)) for side in before[:2]]
    starts = [(room - size) // 2 for room, size in zip(after, sizes, strict=True)]
    rows, columns = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return rows, columns


def _cut(pixels: NDArray[np.uint8], wanted: Preprocessing, notes: list[str]) -> NDArray[np.uint8]:
    """Scale with the aspect kept until both sides are filled, and cut the middle out."""
    _, height, width = wanted.shape
    before = pixels.shape[:2]
    scale = max(height / before[0], width / before[1])
    size = max(height, round(before[0] * scale)), max(width, round(before[1] * scale))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    notes.append(f"scaled from {before[1]}x{before[0]} to {size[1]}x{size[0]} and cut to {width}x{height}")
    return np.ascontiguousarray(_scaled(pixels, size)[top : top + height, left : left + width])


def _stretch(pixels: NDArray[np.uint8], wanted: Preprocessing, notes: list[str]) -> NDArray[np.uint8]:
    """Scale height and width by themselves."""
    _, height, width = wanted.shape
    notes.append(f"scaled from {pixels.shape[1]}x{pixels.shape[0]} to {width}x{height}")
    return _scaled(pixels, (height, width))


def _scaled(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = np.clip(np.rint(resample(pixels, *size)), 0, 255).astype(np.uint8)
    return scaled
