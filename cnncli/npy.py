"""NumPy's ``.npy`` format: numbers only, sizes checked before anything is allocated.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError

_LONGEST_HEADER = 1 << 17  # bytes; NumPy refuses one of 10,000


def read_npy(data: bytes | memoryview, where: str) -> NDArray:
    """Return the array of a ``.npy`` file, in C order and native byte order.

    Raises
    ------
    InvalidInputError
        Objects instead of numbers, a header that cannot be read, or a size that is not the file's.
    """
    stream = io.BytesIO(memoryview(data)[:_LONGEST_HEADER])
    try:
        version = np.lib.format.read_magic(stream)
        reader = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, fortran, dtype = reader(stream)
    except Exception as error:  # whatever a made-up header provokes
        text = " ".join(str(error).split())[:120]
        raise InvalidInputError(f"npy header: {text}", where=where, hint="write it with numpy.save") from None
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
