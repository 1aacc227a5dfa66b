"""The table of image formats: how each is recognised, read and written, and what it can hold.

A format is one entry of `FORMATS`, with a decoder in `decoders.py` and an encoder in `encoders.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.images import decoders, encoders
from cnncli.io.images.decoders import Decoder, by_pillow
from cnncli.io.images.encoders import Encoder
from cnncli.io.matrix_text import MATRIX_EXTENSIONS

_ANY_DEPTH = ("uint8", "uint16", "float32", "float64")


@dataclass(frozen=True)
class Format:
    """One format.

    Parameters
    ----------
    name : str
        In messages.
    extensions : tuple of str
        Those of files that are written, the usual one first.
    magic : bytes
        Pattern of the first bytes of a file; empty where nothing is read under this name.
    decode : callable, optional
        Returns the image of a file that begins so.
    encode : callable, optional
        Returns the bytes of a file.
    depths, channels, alpha
        What can be written without loss: sample types, numbers of channels, opacity.
    settings : tuple of str
        The fields of `EncodeOptions` that change its files: ``level``, ``quality``.
    also : tuple of str
        Further extensions, of files that are read only.
    content : str
        The name that the first bytes give to what is written, where that is another one.
    label : str
        The name in lists of what is read, where that is another one.
    is_proposed : bool
        Whether it is named where another format cannot hold a result.
    is_searched : bool
        Whether folders are searched for its extensions.
    """

    name: str
    extensions: tuple[str, ...]
    magic: bytes = b""
    decode: Decoder = decoders.unread
    encode: Encoder = encoders.unwritten
    depths: tuple[str, ...] = ("uint8",)
    channels: tuple[int, ...] = (1, 3)
    alpha: bool = False
    settings: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    content: str = ""
    label: str = ""
    is_proposed: bool = True
    is_searched: bool = True


# fmt: off
_TABLE = (
    Format("PNG", (".png",), rb"\x89PNG\r\n\x1a\n", decoders.read_png, encoders.png,
           depths=("uint8", "uint16"), alpha=True, settings=("level",)),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), rb"\xff\xd8\xff", by_pillow("JpegImagePlugin.JpegImageFile"),
           encoders.jpeg, settings=("quality",)),
    Format("TIFF", (".tif", ".tiff"), rb"II\*\0|MM\0\*|II\+\0|MM\0\+", decoders.read_tiff, encoders.tiff,
           depths=("uint8", "uint16", "float32"), channels=tuple(range(1, 65)), alpha=True, settings=("level",)),
    Format("BMP", (".bmp",), rb"BM", by_pillow("BmpImagePlugin.BmpImageFile"), encoders.bmp),
    Format("WEBP", (".webp",), rb"RIFF....WEBP", by_pillow("WebPImagePlugin.WebPImageFile"), encoders.webp,
           channels=(1, 3), alpha=True, settings=("quality",), label="WebP"),
    Format("GIF", (".gif",), rb"GIF8[79]a", by_pillow("GifImagePlugin.GifImageFile"), encoders.gif, channels=(1,)),
    Format("PGM", (".pgm",), encode=encoders.pnm, depths=("uint8", "uint16"), channels=(1,), content="PNM"),
    Format("PPM", (".ppm",), encode=encoders.pnm, depths=("uint8", "uint16"), channels=(3,), content="PNM"),
    Format("PNM", (".pnm",), rb"P[1-6][\s#]", decoders.read_one_pnm, encoders.pnm, depths=("uint8", "uint16"),
           also=(".pbm",), label="PGM/PPM", is_proposed=False),
    Format("NPY", (".npy",), rb"\x93NUMPY", decoders.read_one_npy, encoders.npy,
           depths=_ANY_DEPTH, channels=tuple(range(1, 4097)), alpha=True, label="npy"),
    # numbers as text: read by `filters`, written by `matrix_text`
    Format("TEXT", MATRIX_EXTENSIONS, depths=_ANY_DEPTH, channels=tuple(range(1, 4097)), is_proposed=False,
           is_searched=False),  # folders of images hold notes and tables as well
)
# fmt: on
FORMATS = {format.name: format for format in _TABLE}
SUPPORTED = ", ".join(format.label or format.name for format in _TABLE if format.magic)
IMAGE_EXTENSIONS = tuple(end for format in _TABLE if format.is_searched for end in format.extensions + format.also)
_WRITTEN = {extension: format.name for format in _TABLE for extension in format.extensions}
_READ = {extension: format.content or format.name for format in _TABLE for extension in format.extensions + format.also}
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
    patterns = [format.magic for format in _TABLE if format.magic] + [pattern for pattern, _ in _REFUSED]
    return any(re.match(pattern, head, re.DOTALL) for pattern in patterns)


def sniff(data: bytes, where: str) -> str:
    """Return the format of an encoded image, by its first bytes; the name of the file is not used.

    Raises
    ------
    InvalidInputError
        Nothing in the file, a format that is not read, or no image at all.

    Examples
    --------
    >>> sniff(b"P5 1 1 255 x", "a.png")
    'PNM'
    """
    if not data:
        raise InvalidInputError("file is empty", where=where, hint="write it again or leave it out")
    head = data[:64]
    for format in _TABLE:
        if format.magic and re.match(format.magic, head, re.DOTALL):
            return format.name
    for pattern, name in _REFUSED:
        if re.match(pattern, head, re.DOTALL):
            raise InvalidInputError(
                f"format {name} is not supported", where=where, hint=f"convert it to one of {SUPPORTED}"
            )
    start = head[:12].decode("ascii", "backslashreplace").replace("\\x", "\\x")
    raise InvalidInputError(f"not an image (starts with {start!r})", where=where, hint=f"{SUPPORTED} are read")


def format_of(path: str) -> str:
    """Return the format that an output name asks for.

    Raises
    ------
    UsageError
        No extension or one that is not written.

    Examples
    --------
    >>> format_of("out/a.JPG")
    'JPEG'
    """
    extension = PurePath(path).suffix.lower()
    if extension not in _WRITTEN:
        known = " ".join(sorted(_WRITTEN))
        found = f"extension {extension} is not written" if extension else "no extension says which format to write"
        folder = "" if extension else f", or {path}/ if it is a folder"
        raise UsageError(found, where=path, hint=f"use one of {known}{folder}")
    return _WRITTEN[extension]


def named_content(path: str) -> str:
    """Return the format that the name of an input stands for, as `Image.format` has it; empty for none.

    Examples
    --------
    >>> named_content("a.pgm"), named_content("a.pbm"), named_content("a.xyz")
    ('PNM', 'PNM', '')
    """
    return _READ.get(PurePath(path).suffix.lower(), "")
