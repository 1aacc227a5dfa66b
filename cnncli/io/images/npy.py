"""NumPy's ``.npy`` files as images and matrices: numbers only, sizes checked before anything is allocated."""

from __future__ import annotations

import io
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.image import Image, check_size


def read_npy(data: bytes, where: str) -> NDArray:
    """Return the array of a ``.npy`` file, in C order and native byte order.

    Raises
    ------
    InvalidInputError
        Objects instead of numbers, a header that cannot be read, or a size that is not the file's.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        reader = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # whatever a made-up header provokes
        raise InvalidInputError(f"npy header: {error}", where=where, hint="write it with numpy.save") from None
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InvalidInputError(f"npy of {dtype} is not supported", where=where, hint="store numbers")
    body = memoryview(data)[stream.tell() :]
    expected = prod(int(n) for n in shape) * dtype.itemsize
    if len(body) != expected:
        size = "x".join(map(str, shape)) or "()"
        message = f"npy header says {size} {dtype} = {expected} B, the file has {len(body)} B after it"
        raise InvalidInputError(message, where=where, hint="write it again with numpy.save")
    flat = np.frombuffer(body, dtype)
    array = flat.reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)  # an array of no axes would get one


def read_npy_image(data: bytes, where: str, max_pixels: int) -> Image:
    """Return an (H, W) or (H, W, C) array as an image; numbers other than 8 and 16 bits become floats."""
    array = read_npy(data, where)
    if array.ndim not in (2, 3):
        shape = "x".join(map(str, array.shape)) or "()"
        raise InvalidInputError(f"npy of shape {shape} is no image", where=where, hint="store (H, W) or (H, W, C)")
    check_size(array.shape[1], array.shape[0], where, max_pixels)
    pixels = array.reshape(*array.shape[:2], -1)
    if pixels.shape[2] == 0:
        raise InvalidInputError("npy image without channels", where=where, hint="store (H, W, C)")
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
