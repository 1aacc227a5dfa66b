"""EXIF in TIFF: out of the file's own directory, and into that of a file that was written without it."""

from __future__ import annotations

import io
import re
import struct
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


def exif_of(data: bytes, orientation: int) -> bytes | None:
    """Return the camera's fields in the first directory of a TIFF as an EXIF block; None if there are none.

    Parameters
    ----------
    orientation : int
        What the block will say of it; 1 is left out.
    """
    from PIL.Image import Exif

    try:
        found = Exif()
        found.load_from_fp(io.BytesIO(data))
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


def with_exif(tiff: bytes, block: bytes) -> bytes:
    """Return a one-page little-endian TIFF with the EXIF `block` in its directory.

    The directory is written anew behind the samples, which stay where they are; the old one is no longer named.
    """
    from PIL.Image import Exif

    if tiff[:4] != b"II*\0":
        return tiff
    (old,) = struct.unpack_from("<I", tiff, 4)
    exif = Exif()
    exif.load(block)
    exif.endian = "<"
    start = len(tiff) + len(tiff) % 2
    inside = exif.tobytes(start)[14:]  # behind "Exif\0\0" and a TIFF header
    entries = _entries(tiff, old)
    entries |= {tag: entry for tag, entry in _entries(inside, 0).items() if tag in (*_TEXTS, ORIENTATION, *_SUB)}
    body = tiff.ljust(start, b"\0") + inside
    body += bytes(len(body) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


def _entries(data: bytes, start: int) -> dict[int, bytes]:
    """Return the entries of a little-endian directory, 12 bytes each, by tag."""
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return {struct.unpack_from("<H", data, place)[0]: data[place : place + 12] for place in places}
