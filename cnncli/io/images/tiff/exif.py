"""EXIF in TIFF: out of the file's own directory, and into that of a file that was written without it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from typing import Any

ORIENTATION = 0x0112  # EXIF 2.32, table 4
_SUB = (0x8769, 0x8825)  # directories of their own: EXIF, GPS
# description, make, model, software, date, artist, host, copyright
_TEXTS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298)
_TIFFFILE = ('{"shape":', "tifffile.py")  # what tifffile writes about the array itself


def orientation_of(value: Any, xmp: Any) -> int:
    """Return the orientation 1-8 of a directory's tag, or of its XMP packet where there is no tag."""
    if value is None and isinstance(xmp, bytes):
        match = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp)
        value = int(match[1]) if match else 1
    return value if value in range(1, 9) else 1


def exif_of(data: bytes, orientation: int, page: int = 0) -> bytes | None:
    """Return the camera's fields in the directory of a page of a TIFF as an EXIF block; None if there are none.

    Parameters
    ----------
    orientation : int
        What the block will say of it; 1 is left out.
    page : int
        Counted from 0.
    """
    from PIL.Image import Exif

    try:
        found = Exif()
        stream = io.BytesIO(data)
        found.load_from_fp(stream)
        if page:
            found.load_from_fp(stream, _directory(data, page))
        kept = Exif()
        if orientation != 1:
            kept[ORIENTATION] = orientation
        for tag in _TEXTS:
            if tag in found and not str(found[tag]).startswith(_TIFFFILE):
                kept[tag] = found[tag]
        for tag in _SUB:
            if inside := found.get_ifd(tag):
                kept.get_ifd(tag).update(inside)
        said = len(kept) > 0 or any(kept.get_ifd(tag) for tag in _SUB)
        return kept.tobytes() if said else None
    except Exception:  # a directory that only tifffile reads, or values that cannot be written again
        return None


def with_exif(tiff: bytes, blocks: Sequence[bytes | None]) -> bytes | bytearray:
    """Return a little-endian TIFF with an EXIF block in the directory of each page, where it has one.

    A directory is written anew behind the samples, which stay where they are; the old one is no longer named.
    """
    if tiff[:4] != b"II*\0" or not any(blocks):
        return tiff
    body = bytearray(tiff)
    link = 4  # where the place of the directory stands
    for block in blocks:
        (old,) = struct.unpack_from("<I", body, link)
        entries = _entries(body, old)
        last = old + 2 + 12 * len(entries)
        if block is None:
            link = last
            continue
        following = body[last : last + 4]
        body += bytes(len(body) % 2)
        inside = _directory_of(block, len(body))
        entries |= {tag: entry for tag, entry in _entries(inside, 0).items() if tag in (*_TEXTS, ORIENTATION, *_SUB)}
        body += inside
        body += bytes(len(body) % 2)
        struct.pack_into("<I", body, link, len(body))
        body += struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + following
        link = len(body) - 4
    return body


def _directory_of(block: bytes, start: int) -> bytes:
    """Return an EXIF block as a little-endian directory that lies at byte `start` of a file."""
    from PIL.Image import Exif

    exif = Exif()
    exif.load(block)
    exif.endian = "<"
    return exif.tobytes(start)[14:]  # behind "Exif\0\0" and a TIFF header


def _directory(data: bytes, page: int) -> int:
    """Return the place of the directory of a page of a TIFF (not a BigTIFF)."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "I", data, 4)
    for _ in range(page):
        (count,) = struct.unpack_from(order + "H", data, place)
        (place,) = struct.unpack_from(order + "I", data, place + 2 + 12 * count)
    return int(place)


def _entries(data: bytes | bytearray, start: int) -> dict[int, bytes]:
    """Return the entries of a little-endian directory, 12 bytes each, by tag."""
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return {struct.unpack_from("<H", data, place)[0]: bytes(data[place : place + 12]) for place in places}
