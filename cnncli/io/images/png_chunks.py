"""The chunks of a PNG file, walked and checked before any decoder sees them.

W3C, Portable Network Graphics (PNG) Specification, Third Edition, 2025, chapters 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cnncli.errors import InvalidInputError
from cnncli.io.images.image import check_size

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
_DEFLATE_RATIO = 1040  # 258 bytes for two bits at best: 1032 (RFC 1951), and some slack
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PngHeader:
    """What IHDR says: size in pixels, bits per sample, colour type (0 gray, 2 RGB, 3 palette, 4 LA, 6 RGBA)."""

    width: int
    height: int
    depth: int
    colour_type: int


def check_png(data: bytes, where: str, max_pixels: int) -> PngHeader:
    """Walk all chunks; return the header.

    Raises
    ------
    InvalidInputError
        Too many pixels or none, or more than the data can fill; the file ends inside a chunk, a checksum does not
        match, or IHDR, IDAT or IEND is missing.
    """
    header = None
    packed = 0
    view = memoryview(data)
    for kind, start, length in _chunks(data, where):
        body = view[start : start + length]
        (stored,) = struct.unpack_from(">I", data, start + length)
        if zlib.crc32(body, zlib.crc32(kind)) != stored:
            name = kind.decode("ascii", "replace")
            raise InvalidInputError(
                f"PNG checksum of chunk {name} at byte {start - 8} does not match",
                where=where,
                hint="the file is damaged: fetch or write it again",
            )
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise InvalidInputError("PNG does not begin with IHDR", where=where, hint="write it again")
            header = PngHeader(*struct.unpack_from(">IIBB", data, start))
            check_size(header.width, header.height, where, max_pixels)
        packed += length if kind == b"IDAT" else 0
    if header is None or not packed:
        raise InvalidInputError("PNG holds no image data", where=where, hint="write it again")
    _check_packed(header, packed, where)
    return header


def _check_packed(header: PngHeader, packed: int, where: str) -> None:
    """Refuse a size that the data cannot fill, before anything is allocated for it."""
    bits = header.width * header.depth * _SAMPLES.get(header.colour_type, 1)
    needed = header.height * (bits // 8)
    if needed > _DEFLATE_RATIO * (packed + 16):
        message = f"PNG header declares {header.width}x{header.height}, which {packed} B of data cannot fill"
        raise InvalidInputError(message, where=where, hint="delete it or fetch it again")


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start of the body, its length) up to and with IEND."""
    position = len(SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise _truncated(position + 12, data, where)
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _truncated(end, data, where)
        yield kind, position + 8, length
        if kind == b"IEND":
            return
        position = end


def _truncated(expected: int, data: bytes, where: str) -> InvalidInputError:
    message = f"truncated PNG (at least {expected} B expected, file has {len(data)} B)"
    return InvalidInputError(message, where=where, hint="delete it or fetch it again")
