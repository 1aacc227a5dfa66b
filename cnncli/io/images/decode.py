"""Encoded bytes -> samples, by the table of formats, which is closed.

The decoder is chosen from the first bytes and called directly, so that no other decoder, no other program and no
other file can be reached from the content of an image.

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

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images.formats import FORMATS, sniff
from cnncli.io.images.image import MAX_PIXELS, DecodeOptions, Header, Image

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
    opened: dict[str, Any] | None = None,
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
    opened : dict, optional
        As in `DecodeOptions`: the same one for all pictures of one file.

    Raises
    ------
    InvalidInputError
        Not an image, a format that is not read, damaged, truncated, or too large.
    """
    name = sniff(data, where)
    try:
        image = FORMATS[name].decode(data, DecodeOptions(where, exif, frame, max_pixels, admit, opened))
    except (CnnError, MemoryError):
        raise
    except Exception as error:  # decoders raise many types: OSError, SyntaxError, struct.error ...
        raise _damaged(error, name, data, where) from error
    image = replace(image, format=name)
    return _turned(image) if exif else image


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
