"""NumPy's ``.npy`` files as images."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.image import MAX_PIXELS, Image, check_size
from cnncli.npy import read_npy


def read_npy_image(data: bytes, where: str, max_pixels: int) -> Image:
    """Return an (H, W) or (H, W, C) array as an image; numbers other than 8 and 16 bits become floats."""
    return array_image(read_npy(data, where), where, max_pixels)


def array_image(array: NDArray, where: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Return an array in memory as the image that its ``.npy`` file is.

    Raises
    ------
    InvalidInputError
        Other axes than (H, W) and (H, W, C), other than numbers, no pixels or too many.
    """
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise InvalidInputError(f"an array of {array.dtype} is not supported", where=where, hint="store numbers")
    if array.ndim not in (2, 3):
        shape = "x".join(map(str, array.shape)) or "()"
        raise InvalidInputError(f"an array of shape {shape} is no image", where=where, hint="it is (H, W) or (H, W, C)")
    check_size(array.shape[1], array.shape[0], where, max_pixels)
    pixels = array.reshape(*array.shape[:2], -1)
    if pixels.shape[2] == 0:
        raise InvalidInputError("an image without channels", where=where, hint="it is (H, W, C)")
    notes: tuple[str, ...] = ()
    if pixels.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        notes = (f"{pixels.dtype} became float64",)
        pixels = pixels.astype(np.float64)
    return Image(pixels, mode=str(array.dtype), notes=notes)


def write_npy(array: NDArray) -> bytes:
    """Return the bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
