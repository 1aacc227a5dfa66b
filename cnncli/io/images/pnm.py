"""PBM, PGM and PPM (P1 to P6): read and written exactly, 8 and 16 bits.

https://netpbm.sourceforge.net/doc/pgm.html; two bytes per sample are stored with the high byte first.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.image import Image, check_size

_GAP = rb"(?:\s|#[^\n]*\n)"
_NUMBER = re.compile(_GAP + rb"*([0-9]{1,9})")


def read_pnm(data: bytes, where: str, max_pixels: int) -> Image:
    """Decode one PBM, PGM or PPM picture.

    Raises
    ------
    InvalidInputError
        A header that cannot be read, too many pixels, too few samples, or a sample above the maximum.
    """
    kind = int(data[1:2])
    plain, bits, channels = kind <= 3, kind in (1, 4), 3 if kind in (3, 6) else 1
    position = 2
    numbers = []
    for name in ("width", "height") if bits else ("width", "height", "maximum"):
        match = _NUMBER.match(data, position)
        if match is None:
            raise InvalidInputError(f"PNM header without {name}", where=where, hint="write it again")
        numbers.append(int(match[1]))
        position = match.end()
    width, height = numbers[:2]
    maximum = 1 if bits else numbers[2]
    check_size(width, height, where, max_pixels)
    if not 1 <= maximum <= 65_535:
        raise InvalidInputError(f"PNM maximum {maximum} is not in 1..65535", where=where, hint="write it again")
    shape = (height, width, channels)
    body = memoryview(data)[position + (0 if plain else 1) :]
    samples = _plain(body, shape, bits, where) if plain else _raw(body, shape, bits, maximum, where)
    if samples.size and samples.max() > maximum:
        raise InvalidInputError(
            f"PNM sample {samples.max()} is above the maximum {maximum}", where=where, hint="write it again"
        )
    notes: tuple[str, ...] = ()
    if bits:
        samples = np.where(samples == 0, 255, 0)  # PBM: 1 is black
        notes = ("1 bit became gray 0 and 255",)
    elif maximum not in (255, 65_535):
        notes = (f"samples run from 0 to {maximum} and are kept so",)
    dtype = np.uint8 if maximum <= 255 else np.uint16
    return Image(np.ascontiguousarray(samples, dtype), mode=f"P{kind}", notes=notes)


def write_pnm(pixels: NDArray) -> bytes:
    """Return PGM (1 channel) or PPM (3 channels) of (H, W, C) uint8 or uint16."""
    height, width, channels = pixels.shape
    maximum = np.iinfo(pixels.dtype).max
    header = f"P{5 if channels == 1 else 6}\n{width} {height}\n{maximum}\n".encode()
    return header + pixels.astype(pixels.dtype.newbyteorder(">"), copy=False).tobytes()


def _plain(body: memoryview, shape: tuple[int, ...], bits: bool, where: str) -> NDArray:
    text = re.sub(rb"#[^\n]*", b"", bytes(body))
    # in plain PBM the digits need no gaps between them
    words = re.findall(rb"[01]", text) if bits else text.split()
    count = shape[0] * shape[1] * shape[2]
    if len(words) < count:
        raise _short(count, len(words), "numbers", where)
    if not all(re.fullmatch(rb"[0-9]{1,5}", word) for word in words[:count]):
        raise InvalidInputError("PNM holds something that is not a number", where=where, hint="write it again")
    return np.array(words[:count]).astype(np.int64).reshape(shape)


def _raw(body: memoryview, shape: tuple[int, ...], bits: bool, maximum: int, where: str) -> NDArray:
    height, width, channels = shape
    stride = -(-width // 8) if bits else width * channels * (1 if maximum < 256 else 2)
    if len(body) < height * stride:
        raise _short(height * stride, len(body), "bytes of samples", where)
    body = body[: height * stride]
    if bits:
        packed = np.frombuffer(body, np.uint8).reshape(height, stride)
        return np.unpackbits(packed, axis=1)[:, :width].reshape(shape)
    return np.frombuffer(body, np.uint8 if maximum < 256 else ">u2").reshape(shape)


def _short(expected: int, found: int, what: str, where: str) -> InvalidInputError:
    return InvalidInputError(
        f"truncated PNM ({expected} {what} expected, {found} found)", where=where, hint="fetch it again"
    )
