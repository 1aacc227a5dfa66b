"""Encoded bytes -> samples, by a table of formats that is closed.

The decoder is chosen from the first bytes and its class is called directly, so that no other decoder, no
other program and no other file can be reached from the content of an image.

=====================  ==================================================================================
stored as              becomes
=====================  ==================================================================================
1 bit                  gray, 0 or 255
2 to 7 bits            8 bits, the largest number at 255
9 to 15 bits           uint16, the numbers as they are
8, 16 bits             the same
float, wider integers  float32, never rescaled (npy: float64)
palette                RGB; with transparent entries RGB and alpha
transparent colour     alpha (tRNS of gray and RGB)
alpha                  straight; premultiplied colours are divided by it
CMYK                   R = (top - C)(top - K) / top and so on, rounded; the CMYK profile is dropped
YCbCr                  RGB (JPEG's own conversion, ITU-R BT.601)
other channels         channels (TIFF, npy)
PGM, PPM               8 or 16 bits; a maximum other than 255 and 65535 is kept as it is and noted
animation, pages       the first picture, unless `frame` names another one
=====================  ==================================================================================
"""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images import npy, pnm
from cnncli.io.images.image import MAX_PIXELS, Header, Image, check_size, frame_notes, no_frame
from cnncli.io.images.pillow import pillow_planes, split_16_bit
from cnncli.io.images.png_chunks import check_png
from cnncli.io.images.sniff import sniff
from cnncli.io.images.tiff import exif as tiff_exif
from cnncli.io.images.tiff import read as tiff_read
from cnncli.io.images.tiff import samples as tiff_samples
from cnncli.io.images.tiff.libtiff import complaints

_DECODERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
# Decoders warn about what they repair (broken EXIF, odd palettes); what matters is reported as a note or an error.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
logging.getLogger("PIL").propagate = False


def decode_image(
    data: bytes,
    where: str,
    *,
    exif: bool = True,
    frame: int | None = None,
    max_pixels: int = MAX_PIXELS,
    admit: Callable[[Header], None] | None = None,
) -> Image:
    """Decode the bytes of an image file.

    Parameters
    ----------
    data : bytes
        A complete file.
    where : str
        Its name in messages.
    exif : bool
        Turn the picture upright by its EXIF orientation.
    frame : int, optional
        Which picture of an animation or a TIFF stack, counted from 0; the default is the first one, with a note.
    max_pixels : int
        Larger pictures are refused from their header.
    admit : callable, optional
        Sees the header of a compressed picture, and refuses it by an error.

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
        return _decode(data, where, kind, exif, frame, _Limits(max_pixels, admit))
    except CnnError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many types: OSError, SyntaxError, struct.error ...
        raise _damaged(error, kind, data, where) from error


@dataclass(frozen=True)
class _Limits:
    max_pixels: int
    admit: Callable[[Header], None] | None


def _decode(data: bytes, where: str, kind: str, exif: bool, frame: int | None, limits: _Limits) -> Image:
    if kind == "TIFF":
        return _decode_tiff(data, where, exif, frame, limits)
    max_pixels = limits.max_pixels
    header = check_png(data, where, max_pixels) if kind == "PNG" else None
    picture = _open(data, kind, where, limits)
    notes = _seek(picture, kind, frame, where)
    check_size(picture.width, picture.height, where, max_pixels)
    if header is not None and header.depth == 16:
        pixels, alpha, more = split_16_bit(picture, lambda: _open(data, kind, where, limits), frame or 0)
    else:
        pixels, alpha, more = pillow_planes(picture, where)
        if header is not None and header.colour_type == 0:
            more += _scaling(header.depth)
    image = _described(picture, Image(pixels, alpha=alpha, format=kind, notes=notes + more))
    orientation, block, unread = _exif(picture, upright=exif)
    image = replace(image, orientation=orientation, exif=block).noted(*unread)
    return _turned(image) if exif else image


def _decode_tiff(data: bytes, where: str, exif: bool, frame: int | None, limits: _Limits) -> Image:
    with complaints() as damaged:
        image = _either_tiff(data, where, frame, limits)
    if damaged:
        image = image.noted(f"damaged data was met and repaired by libtiff ({damaged[0]}): parts may be wrong")
    image = replace(image, exif=tiff_exif.exif_of(data, 1 if exif else image.orientation))
    return _turned(image) if exif else image


def _either_tiff(data: bytes, where: str, frame: int | None, limits: _Limits) -> Image:
    """Return a TIFF by Pillow if that holds it bit for bit, else by `read_tiff`; not yet turned."""
    image = None
    try:
        picture = _open(data, "TIFF", where, limits)
        notes = _seek(picture, "TIFF", frame, where)
        kept = tiff_read.pillow_keeps_all(picture)
    except CnnError:
        raise
    except Exception:  # a layout that Pillow does not know; what is really wrong, tifffile finds as well
        kept = False
    if kept:
        image = _pillow_tiff(picture, where, notes)
    if image is None:
        image = tiff_read.read_tiff(data, where, frame, limits.max_pixels)
    return image


def _pillow_tiff(picture: Any, where: str, notes: tuple[str, ...]) -> Image | None:
    """Return a TIFF as Pillow decodes it, not yet turned; None where it fails and there is another decoder."""
    tags = picture.tag_v2
    compression, bits = tiff_read.compression_of(picture), tags.get(258, (1,))
    tiff_read.check_compression(compression, where)
    orientation = tiff_exif.orientation_of(tags.get(tiff_exif.ORIENTATION), tags.get(700))
    # Pillow would turn the picture while it loads
    picture.load_end = lambda: None
    picture._size = picture._tile_size
    try:
        pixels, alpha, more = pillow_planes(picture, where)
    except CnnError:
        raise
    except Exception:
        if tiff_samples.readable(compression):
            return None
        raise
    if picture.mode == "L":
        more += _scaling(max(bits))
    image = Image(pixels, alpha=alpha, format="TIFF", notes=notes + more + tiff_read.lossy_notes(picture))
    return replace(_described(picture, image), orientation=orientation)


def _described(picture: Any, image: Image) -> Image:
    """Return `image` with the profile, density and sampling that an opened picture names."""
    icc = picture.info.get("icc_profile") or None
    if picture.mode == "CMYK" and icc:
        icc = None
        image = image.noted("CMYK colour profile dropped")
    sampling = _sampling(picture) if image.format == "JPEG" else None
    return replace(image, mode=picture.mode, icc=icc, density=_density(picture.info.get("dpi")), sampling=sampling)


def _open(data: bytes, kind: str, where: str, limits: _Limits) -> Any:
    """Return the opened picture, its pixels not yet decoded."""
    module, name = _DECODERS[kind]
    opener = getattr(importlib.import_module(module), name)
    # `check_size` decides, and --max-pixels moves it
    setattr(importlib.import_module("PIL.Image"), "MAX_IMAGE_PIXELS", None)  # noqa: B010
    picture = opener(io.BytesIO(data))
    check_size(picture.width, picture.height, where, limits.max_pixels)
    if limits.admit is not None:
        limits.admit(_header(picture))
    return picture


def _header(picture: Any) -> Header:
    bands = picture.getbands()
    alpha = bands[-1] in ("A", "a") or "transparency" in picture.info
    channels = 3 if len(bands) >= 3 or picture.mode in ("P", "PA") else 1
    deep = picture.mode.startswith("I;16") or any(";16" in str(tile) for tile in picture.tile)
    dtype = "uint16" if deep else "float32" if picture.mode in ("F", "I") else "uint8"
    return Header((picture.height, picture.width, channels), dtype, alpha)


def _seek(picture: Any, kind: str, frame: int | None, where: str) -> tuple[str, ...]:
    if not getattr(picture, "is_animated", False):
        if frame:
            raise no_frame(frame, 1, where)
        return ()
    count = picture.n_frames
    if frame is None:
        return () if kind == "JPEG" else frame_notes(None, count)
    if frame >= count:
        raise no_frame(frame, count, where)
    picture.seek(frame)
    return frame_notes(frame, count)


def _only_frame(image: Image, frame: int | None, where: str) -> Image:
    if frame:
        raise no_frame(frame, 1, where)
    return image


def _scaling(depth: int) -> tuple[str, ...]:
    """Return what to say about gray of 2 or 4 bits, which every decoder spreads over 8."""
    return (f"{depth}-bit samples were scaled from 0..{(1 << depth) - 1} to 0..255",) if depth in (2, 4) else ()


def _exif(picture: Any, *, upright: bool) -> tuple[int, bytes | None, tuple[str, ...]]:
    """Return the stored orientation 1-8, the EXIF block to pass on, and notes.

    The block is the file's own, ImageMagick's text ("Raw profile type exif"), or made for an orientation that only XMP
    names. Where the picture will be turned upright its orientation is 1.
    """
    info = picture.info
    own = bool(info.get("exif") or info.get("Raw profile type exif"))
    if not own and not info.get("xmp") and not info.get("XML:com.adobe.xmp"):
        return 1, None, ()
    try:
        found = picture.getexif()
        value = found.get(tiff_exif.ORIENTATION, 1)
        if value not in range(2, 9):
            return 1, info.get("exif") or (found.tobytes() if own else None), ()
        if upright:
            found[tiff_exif.ORIENTATION] = 1
        return value, found.tobytes() if own or not upright else None, ()
    except Exception:  # EXIF is written by many programs; the picture can be read without it
        return 1, None, ("EXIF cannot be read and was dropped",)


def _sampling(picture: Any) -> int | None:
    """Return 0, 1 or 2 for 4:4:4, 4:2:2 or 4:2:0; None for anything else."""
    if getattr(picture, "layers", 0) != 3 or [layer[1:3] for layer in picture.layer[1:]] != [(1, 1), (1, 1)]:
        return None
    return {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get(picture.layer[0][1:3])


def _turned(image: Image) -> Image:
    """Return a picture turned from its orientation to 1."""
    if image.orientation == 1:
        return image
    alpha = None if image.alpha is None else _upright(image.alpha, image.orientation)
    pixels = _upright(image.pixels, image.orientation)
    note = f"turned upright (EXIF orientation {image.orientation})"
    return replace(image, pixels=pixels, alpha=alpha, orientation=1).noted(note)


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
    if isinstance(
        error, TypeError | AttributeError | KeyError | IndexError
    ):  # its text is about Python, not about the file
        text = "its header contradicts itself"
    early = ("truncated", "unrecognized data stream", "not enough data", "ran out", "eof", "decoder error -2")
    if isinstance(error, EOFError) or any(word in text.lower() for word in early):
        message = f"truncated or damaged {kind} (file has {len(data)} B: {text})"
    else:
        message = f"damaged {kind} ({text})"
    return InvalidInputError(message, where=where, hint="delete it or fetch it again")
