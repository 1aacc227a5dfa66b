"""The format of a file, from its first bytes; its name is not used."""

from __future__ import annotations

import re

from cnncli.errors import InvalidInputError

SUPPORTED = "PNG, JPEG, TIFF, BMP, WebP, GIF, PGM/PPM, npy"

_READ = (
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM", "BMP"),
    (rb"P[1-6][\s#]", "PNM"),
    (rb"\x93NUMPY", "NPY"),
)
# formats that libraries decode with another program, from other files, or that are not fuzzed
_REFUSED = (
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
    (rb"%PDF", "PDF"),
    (rb"8BPS", "PSD"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "WMF"),
    (rb"SIMPLE  =", "FITS"),
    (rb"\0\0\x01\0", "ICO"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb".{4}ftyp(?:avif|avis)", "AVIF"),
    (rb".{4}ftyp", "HEIF or MP4"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\x89HDF", "HDF5"),
    (rb"PK\x03\x04", "ZIP"),
    (rb"\x1f\x8b", "gzip"),
    (rb"\s*(?:<\?xml|<svg|<!DOCTYPE svg)", "SVG"),
    (rb"P[Ff]\s", "PFM"),
    (rb"/\* XPM|#define ", "XPM or XBM"),
)


def looks_like_image(data: bytes) -> bool:
    """Whether a stream is an encoded image of any kind, read or refused, and not a matrix as text."""
    head = data[:64]
    return any(re.match(pattern, head, re.DOTALL) for pattern, _ in (*_READ, *_REFUSED))


def sniff(data: bytes, where: str) -> str:
    """Return the format of an encoded image.

    Raises
    ------
    InvalidInputError
        Nothing in the file, a format that is not read, or no image at all.

    Examples
    --------
    >>> sniff(b"P5 1 1 255 x", "a.pgm")
    'PNM'
    """
    if not data:
        raise InvalidInputError("file is empty", where=where, hint="write it again or leave it out")
    head = data[:64]
    for pattern, name in _READ:
        if re.match(pattern, head, re.DOTALL):
            return name
    for pattern, name in _REFUSED:
        if re.match(pattern, head, re.DOTALL):
            raise InvalidInputError(
                f"format {name} is not supported", where=where, hint=f"convert it to one of {SUPPORTED}"
            )
    start = head[:12].decode("ascii", "backslashreplace").replace("\\x", "\\x")
    raise InvalidInputError(f"not an image (starts with {start!r})", where=where, hint=f"{SUPPORTED} are read")
