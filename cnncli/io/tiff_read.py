"""TIFF pictures that Pillow does not hold: float colour, planes apart, 16-bit gray with alpha, stacks of those."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.image_data import Image, check_size

_EXPANSION = 1100  # deflate makes at most 1032 bytes of one
_BITS, _FORMAT, _PLANES = 258, 339, 284  # TIFF 6.0: BitsPerSample, SampleFormat, PlanarConfiguration

# tifffile reports what it repairs through logging, which would reach the terminal
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def wide_colour(picture: Any) -> bool:
    """Whether Pillow opened a 16-bit colour TIFF and would drop half of each sample."""
    if picture.format != "TIFF" or len(picture.tile) == 0:
        return False
    arguments = picture.tile[0].args
    rawmode = arguments if isinstance(arguments, str) else arguments[0]
    return isinstance(rawmode, str) and rawmode.split(";16")[0] in ("RGB", "RGBA") and ";16" in rawmode


def needs_tifffile(picture: Any) -> bool:
    """Whether Pillow opened a TIFF that it would convert: planes apart, signed or 64-bit samples."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(_BITS, (1,))
    wide = max(bits) > 8
    return (wide and len(bits) > 1) or max(bits) == 64 or (wide and tags.get(_PLANES, 1) == 2)


def read_tiff(data: bytes, where: str, frame: int, max_pixels: int) -> Image:
    """Decode one page of a TIFF with tifffile.

    Raises
    ------
    InvalidInputError
        Damaged, too large, complex samples, or a compression that needs a decoder which is not here.
    """
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        count = len(file.pages)
        if frame >= count:
            raise InvalidInputError(
                f"there is no picture {frame}: the file holds {count}",
                where=where,
                hint=f"use --frame 0 to {count - 1}",
            )
        page = file.pages[frame].aspage()
        check_size(page.imagewidth, page.imagelength, where, max_pixels)
        if page.samplesperpixel > 64:
            raise InvalidInputError(f"TIFF with {page.samplesperpixel} channels", where=where, hint="store at most 64")
        if page.compression not in (1, 8, 32946, 32773):
            name = getattr(page.compression, "name", page.compression)
            message = f"{name}-compressed TIFF of {page.dtype} {page.samplesperpixel} channels is not supported"
            raise InvalidInputError(message, where=where, hint="store it uncompressed or with deflate")
        promised = page.imagewidth * page.imagelength * page.samplesperpixel * (page.bitspersample // 8)
        if promised > _EXPANSION * len(data):
            message = f"TIFF header promises {promised} B of samples, the file has {len(data)} B"
            raise InvalidInputError(message, where=where, hint="delete it or fetch it again")
        samples = page.asarray()
        extra = page.extrasamples
        icc = page.tags.get(34675)
        tag = page.tags.get(274)
        orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
        resolution = page.get_resolution("inch") if 282 in page.tags else (0.0, 0.0)
        if page.planarconfig == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
    if samples.dtype.kind not in "buif" or samples.ndim not in (2, 3):
        raise InvalidInputError(f"TIFF of {samples.dtype} is not supported", where=where, hint="store numbers")
    notes: tuple[str, ...] = () if count == 1 or frame else (f"first of {count} pictures (--frame N takes another)",)
    if samples.dtype not in (np.uint8, np.uint16, np.float32):
        notes += (f"{samples.dtype} became float32",)
        samples = samples.astype(np.float32)
    samples = np.ascontiguousarray(samples.reshape(*samples.shape[:2], -1), samples.dtype.newbyteorder("="))
    alpha = None
    if samples.shape[2] in (2, 4) and extra and int(extra[0]) in (1, 2):
        samples, alpha = np.ascontiguousarray(samples[..., :-1]), np.ascontiguousarray(samples[..., -1])
        if int(extra[0]) == 1:
            samples = _straight(samples, alpha)
            notes += ("colours were stored premultiplied and were divided by alpha",)
    return Image(
        samples,
        mode=f"TIFF {samples.dtype}" + (f" orientation {orientation}" if orientation != 1 else ""),
        alpha=alpha,
        icc=bytes(icc.value) if icc is not None else None,
        density=resolution if min(resolution) > 0 else None,
        format="TIFF",
        notes=notes,
    )


def _straight(samples: NDArray, alpha: NDArray) -> NDArray:
    """Return colours divided by the opacity they were multiplied with (TIFF 6.0, ExtraSamples 1)."""
    white = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    share = alpha[..., None].astype(np.float64) / white
    straight = np.divide(samples, share, out=np.zeros(samples.shape), where=share > 0)
    if alpha.dtype.kind == "u":
        straight = np.rint(np.clip(straight, 0, white))
    return np.asarray(straight, samples.dtype)
