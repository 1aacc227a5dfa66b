"""The IDX format of MNIST: big-endian header, then unsigned bytes.

References
----------
LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError

GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_LARGEST_DIM = 1 << 31
_LARGEST_DATA = 1 << 32  # 4 GiB of pixels
_ANOTHER_COPY = "delete it and take another copy"


def decompress(data: bytes, where: str, limit: int = _LARGEST_DATA) -> bytes:
    """Return the content of a gzip file, at most `limit` bytes of it.

    Raises
    ------
    InvalidInputError
        Truncated, damaged (CRC), followed by other bytes, or larger than `limit`.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise InvalidInputError(f"damaged gzip data ({error})", where=where, hint=_ANOTHER_COPY) from None
    if len(content) > limit:
        raise InvalidInputError(f"holds more than {limit} B", where=where, hint=_ANOTHER_COPY)
    if not stream.eof:
        message = f"truncated gzip file (ends after {len(data)} B)"
        raise InvalidInputError(message, where=where, hint=_ANOTHER_COPY)
    if stream.unused_data:
        message = f"{len(stream.unused_data)} B follow the gzip data"
        raise InvalidInputError(message, where=where, hint=_ANOTHER_COPY)
    return content


def parse_idx(data: bytes, rank: int, where: str) -> NDArray[np.uint8]:
    """Read an IDX array of unsigned bytes.

    Parameters
    ----------
    data : bytes
        The whole uncompressed file.
    rank : int
        Number of dimensions expected: 3 for images, 1 for labels.
    where : str
        Name of the file, for messages.

    Returns
    -------
    ndarray of uint8
        A read-only view of `data`.

    Raises
    ------
    InvalidInputError
        Wrong magic, type, rank, a dimension that is zero or huge, or a size that is not the file's.
    """
    start = 4 + 4 * rank
    if not data:
        raise InvalidInputError("file is empty", where=where, hint=_ANOTHER_COPY)
    if len(data) < start or data[:2] != b"\0\0":
        raise InvalidInputError(f"not an IDX file (starts with {data[:8]!r})", where=where, hint=_ANOTHER_COPY)
    if data[2] != _UNSIGNED_BYTE:
        raise InvalidInputError(f"IDX type 0x{data[2]:02x}, expected 0x08", where=where, hint=_ANOTHER_COPY)
    if data[3] != rank:
        message = f"IDX array of {data[3]} dimensions, expected {rank}"
        raise InvalidInputError(message, where=where, hint="check that images and labels are not swapped")
    dims = [int.from_bytes(data[4 * k : 4 * k + 4], "big") for k in range(1, rank + 1)]
    shown = "x".join(map(str, dims))
    # a zero would hide a huge other dimension from the product below
    if not all(1 <= dim < _LARGEST_DIM for dim in dims):
        raise InvalidInputError(f"header says {shown}; a dimension is out of range", where=where, hint=_ANOTHER_COPY)
    if math.prod(dims) != len(data) - start:
        message = f"header says {shown} = {math.prod(dims)} B, file has {len(data) - start} B"
        raise InvalidInputError(message, where=where, hint=_ANOTHER_COPY)
    return np.frombuffer(data, np.uint8, offset=start).reshape(dims)
