"""Encoded bytes -> samples, by a table of formats that is closed.

The decoder is chosen from the first bytes and its class is called directly, so that no other decoder, no
other program and no other file can be reached from the content of an image.

==================  =====================================================================================
stored as           becomes
==================  =====================================================================================
1 bit               gray, 0 or 255
palette             RGB; with transparent entries RGB and alpha
gray, RGB           the same, 8 or 16 bits as stored; a transparent colour (tRNS) becomes alpha
gray+alpha, RGBA    the colours and alpha, 8 or 16 bits as stored
CMYK (8 bit)        R = (255 - C)(255 - K) / 255 and so on, rounded; the CMYK profile is dropped
YCbCr               RGB (JPEG's own conversion, ITU-R BT.601)
float, 32-bit int   gray or RGB float32, never rescaled
PGM, PPM            8 or 16 bits; a maximum other than 255 and 65535 is kept as it is and noted
animation, pages    the first picture, unless `frame` names another one
==================  =====================================================================================
"""

from __future__ import annotations

import importlib
import io
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io import npy, pnm, tiff_read
from cnncli.io.image_data import MAX_PIXELS, Image, check_size
from cnncli.io.image_sniff import sniff
from cnncli.io.pillow_pixels import pillow_planes, split_16_bit
from cnncli.io.png_chunks import check_png

_DECODERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_STILL = ("PNG", "JPEG", "BMP")  # formats whose further pictures nobody asks for, unless they are animated

# Decoders warn about what they repair (broken EXIF, odd palettes); what matters is reported as a note or an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode_image(
    data: bytes, where: str, *, exif: bool = True, frame: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image:
    """Decode the bytes of an image file.

    Parameters
    ----------
    data : bytes
        A complete file.
    where : str
        Its name in messages.
    exif : bool
        Turn the picture upright as its EXIF orientation says.
    frame : int, optional
        Which picture of an animation or a TIFF stack, counted from 0; the default is the first one, with a note.
    max_pixels : int
        Larger pictures are refused from their header.

    Raises
    ------
    InvalidInputError
        Not an image, a format that is not read, damaged, truncated, or too large.
    """
    kind = sniff(data, where)
    if kind == "PNM":
        return _only_frame(pnm.read_pnm(data, where, max_pixels), frame, where)
    if kind == "NPY":
        return _only_frame(npy.read_npy_image(data, where, max_pixels), frame, where)
    try:
        return _decode(data, where, kind, exif, frame, max_pixels)
    except CnnError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # a decoder raises whatever it likes: OSError, SyntaxError, struct.error ...
        raise _damaged(error, kind, data, where) from error


def _decode(data: bytes, where: str, kind: str, exif: bool, frame: int | None, max_pixels: int) -> Image:
    wide = kind == "PNG" and check_png(data, where, max_pixels).depth == 16
    picture = _open(data, kind, where, max_pixels)
    if picture is None:
        return _turned(tiff_read.read_tiff(data, where, frame or 0, max_pixels), exif)
    notes = _seek(picture, kind, frame, where)
    mode = picture.mode
    check_size(picture.width, picture.height, where, max_pixels)
    if wide or tiff_read.wide_colour(picture):
        pixels, alpha = split_16_bit(picture, lambda: _open(data, kind, where, max_pixels), frame or 0)
    elif kind == "TIFF" and tiff_read.needs_tifffile(picture):
        return _turned(tiff_read.read_tiff(data, where, frame or 0, max_pixels), exif)
    else:
        pixels, alpha, more = pillow_planes(picture, where)
        notes += more
    orientation, block = _orientation(picture) if exif else (1, picture.info.get("exif"))
    if kind == "TIFF":  # Pillow has turned it already
        stored = getattr(picture, "stored_orientation", 1)
        notes += _turning(stored if exif else 1)
        orientation = 1 if exif else {6: 8, 8: 6}.get(stored, stored)
    else:
        notes += _turning(orientation)
    icc = picture.info.get("icc_profile") or None
    if mode == "CMYK" and icc:
        icc = None
        notes += ("CMYK colour profile dropped",)
    return Image(
        pixels=_upright(pixels, orientation),
        alpha=None if alpha is None else _upright(alpha, orientation),
        mode=mode,
        icc=icc,
        density=_density(picture.info.get("dpi")),
        format=kind,
        notes=notes,
        exif=block,
        sampling=_sampling(picture) if kind == "JPEG" else None,
    )


def _open(data: bytes, kind: str, where: str, max_pixels: int) -> Any:
    """Return the opened picture, its pixels not yet decoded; None for a TIFF whose layout Pillow does not know."""
    module, name = _DECODERS[kind]
    opener = getattr(importlib.import_module(module), name)
    try:
        picture = opener(io.BytesIO(data))
    except SyntaxError as error:
        if kind == "TIFF" and "unknown pixel mode" in str(error):
            return None
        raise
    check_size(picture.width, picture.height, where, max_pixels)
    if kind == "TIFF":
        value = picture.tag_v2.get(_ORIENTATION, 1)
        picture.stored_orientation = value if value in range(1, 9) else 1
    return picture


def _seek(picture: Any, kind: str, frame: int | None, where: str) -> tuple[str, ...]:
    if not getattr(picture, "is_animated", False):
        if frame:
            raise _no_frame(frame, 1, where)
        return ()
    count = picture.n_frames
    if frame is None:
        return () if kind == "JPEG" else (f"first of {count} pictures (--frame N takes another)",)
    if frame >= count:
        raise _no_frame(frame, count, where)
    picture.seek(frame)
    return (f"picture {frame} of {count}",)


def _only_frame(image: Image, frame: int | None, where: str) -> Image:
    if frame:
        raise _no_frame(frame, 1, where)
    return image


def _no_frame(frame: int, count: int, where: str) -> InvalidInputError:
    return InvalidInputError(
        f"there is no picture {frame}: the file holds {count}", where=where, hint=f"use --frame 0 to {count - 1}"
    )


def _orientation(picture: Any) -> tuple[int, bytes | None]:
    """Return the EXIF orientation 1-8 and the EXIF block with the orientation reset."""
    if not picture.info.get("exif") or picture.format == "TIFF":  # there it is the file's own directory
        return 1, None
    block = picture.getexif()
    value = block.get(_ORIENTATION, 1)
    if value in range(1, 9) and value != 1:
        block[_ORIENTATION] = 1
        return value, block.tobytes()
    return 1, picture.info.get("exif")


def _sampling(picture: Any) -> int | None:
    """Return 0, 1 or 2 for 4:4:4, 4:2:2 or 4:2:0; None for anything else."""
    if getattr(picture, "layers", 0) != 3 or [layer[1:3] for layer in picture.layer[1:]] != [(1, 1), (1, 1)]:
        return None
    return {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get(picture.layer[0][1:3])


def _turning(orientation: int) -> tuple[str, ...]:
    return (f"turned upright (EXIF orientation {orientation})",) if orientation != 1 else ()


def _turned(image: Image, exif: bool) -> Image:
    """Return a picture of tifffile, whose mode carries the orientation that it was stored with, turned upright."""
    name, _, number = image.mode.partition(" orientation ")
    orientation = int(number or 1)
    image = replace(image, mode=name)
    if orientation == 1 or not exif:
        return image
    alpha = None if image.alpha is None else _upright(image.alpha, orientation)
    return replace(image, pixels=_upright(image.pixels, orientation), alpha=alpha).noted(*_turning(orientation))


def _upright(samples: NDArray, orientation: int) -> NDArray:
    """Return `samples` (H, W, ...) turned from an EXIF orientation to 1.

    CIPA DC-008, EXIF 2.32, section 4.6.4, tag 274: where row 0 and column 0 of the stored picture belong.
    """
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def _density(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _damaged(error: Exception, kind: str, data: bytes, where: str) -> InvalidInputError:
    text = " ".join(str(error).split()) or type(error).__name__
    early = ("truncated", "unrecognized data stream", "not enough data", "ran out", "eof", "decoder error -2")
    if isinstance(error, EOFError) or any(word in text.lower() for word in early):
        message = f"truncated or damaged {kind} (file has {len(data)} B: {text})"
    else:
        message = f"damaged {kind} ({text})"
    return InvalidInputError(message, where=where, hint="delete it or fetch it again")
