"""A decoded image, and the limits on the size of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from cnncli.errors import InvalidInputError

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535  # [px]
MAX_FILE_BYTES = 512 << 20


@dataclass(frozen=True)
class Image:
    """Samples of one picture and the metadata of its file.

    Attributes
    ----------
    pixels : array (H, W, C) of uint8, uint16, float32 or float64
        Colour samples without alpha; C is 1 for gray, 3 for RGB, anything for TIFF and ``.npy``.
    mode : str
        How the file stored them: ``RGB``, ``P``, ``CMYK``, ``I;16`` ...
    alpha : array (H, W) of the dtype of `pixels`, optional
        Opacity, straight (not premultiplied).
    icc, exif : bytes, optional
        Colour profile; EXIF block, whose orientation is that of `pixels`.
    density : (float, float), optional
        Pixels per inch, horizontal and vertical.
    format : str
        ``PNG``, ``JPEG``, ``TIFF``, ``BMP``, ``WEBP``, ``GIF``, ``PNM`` or ``NPY``.
    sampling : int, optional
        How coarsely a JPEG stored its colours: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
    orientation : int
        EXIF orientation 1 to 8 of `pixels` as they are; 1 is upright.
    notes : tuple of str
        Every conversion that was made, in words.
    """

    pixels: NDArray
    mode: str = ""
    alpha: NDArray | None = None
    icc: bytes | None = None
    density: tuple[float, float] | None = None
    format: str = ""
    notes: tuple[str, ...] = ()
    exif: bytes | None = None
    sampling: int | None = None
    orientation: int = 1

    @property
    def size(self) -> str:
        """Return height x width x channels, alpha counted: ``512x512x3``."""
        channels = self.pixels.shape[2] + (self.alpha is not None)
        return f"{self.pixels.shape[0]}x{self.pixels.shape[1]}x{channels}"

    def noted(self, *notes: str) -> Image:
        """Return the same image with more notes."""
        return replace(self, notes=self.notes + notes)


@dataclass(frozen=True)
class Header:
    """The samples of a file as its header describes them, before any is decoded.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns, channels without alpha; what turns out to be gray may have fewer.
    dtype : str
        ``uint8``, ``uint16`` or ``float32``.
    alpha : bool
        Whether opacity follows.
    """

    shape: tuple[int, int, int]
    dtype: str
    alpha: bool


@dataclass(frozen=True)
class DecodeOptions:
    """What every decoder is told.

    Parameters
    ----------
    where : str
        Name of the file in messages.
    upright : bool
        The picture will be turned by its orientation: the EXIF block to pass on says 1.
    frame : int, optional
        Which picture of an animation or a TIFF stack, counted from 0; the default is the first one, with a note.
    max_pixels : int
        Larger pictures are refused from their header.
    admit : callable, optional
        Sees the header of a compressed picture, and refuses it by an error.
    opened : dict, optional
        Holds what a decoder keeps open between the pictures of one file, by the name of the decoder: an animation that
        is asked for in order is decoded once, and not from its start for each picture.
    """

    where: str
    upright: bool = True
    frame: int | None = None
    max_pixels: int = MAX_PIXELS
    admit: Callable[[Header], None] | None = None
    opened: dict[str, Any] | None = None


@dataclass(frozen=True)
class EncodeOptions:
    """What every encoder is told; each uses what its entry of `FORMATS` names.

    Parameters
    ----------
    level : int
        zlib's 0 (stored) to 9.
    quality : int
        1 to 100; WebP at 100 is lossless.
    threads : int
        The bytes do not depend on it.
    """

    level: int
    quality: int
    threads: int = 1


def check_size(width: int, height: int, where: str, max_pixels: int) -> None:
    """Refuse a size before anything of it is allocated.

    Raises
    ------
    InvalidInputError
        No pixels, a side beyond `MAX_SIDE`, or more than `max_pixels`.
    """
    for name, length in (("width", width), ("height", height)):
        if length < 1:
            raise InvalidInputError(f"image has zero {name}", where=where, hint="choose another file")
        if length > MAX_SIDE and width * height <= max_pixels:
            raise InvalidInputError(
                f"image {name} {length} exceeds {MAX_SIDE} pixels", where=where, hint="cut it into parts"
            )
    if width * height > max_pixels:
        message = f"{width}x{height} = {_count(width * height)} exceeds {_count(max_pixels)}"
        hint = f"make it smaller; `cnn filter` takes it with --max-pixels {width * height}"
        raise InvalidInputError(message, where=where, hint=hint)


def frame_notes(frame: int | None, count: int) -> tuple[str, ...]:
    """Return what to say about the choice of one picture out of `count`; None where the user chose none."""
    if count == 1:
        return ()
    return (
        f"first of {count} pictures (--frame N takes another)"
        if frame is None
        else f"picture {frame} of {count}, counted from 0",
    )


def no_frame(frame: int, count: int, where: str) -> InvalidInputError:
    """Return the error for a picture that is not in the file."""
    return InvalidInputError(
        f"there is no picture {frame}: the file holds {count}", where=where, hint=f"use --frame 0 to {count - 1}"
    )


def _count(pixels: int) -> str:
    for unit, name in ((10**9, "Gpx"), (10**6, "Mpx"), (10**3, "kpx")):
        if pixels >= unit:
            return f"{pixels / unit:.4g} {name}"
    return f"{pixels} px"
