"""Samples -> encoded bytes; a format that cannot hold them is refused with the ones that can."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, UsageError
from cnncli.io.images import npy, png_write, pnm
from cnncli.io.images.image import Image
from cnncli.io.images.tiff import exif as tiff_exif

PNG_LEVEL = 1  # chosen by the table in benchmarks/README.md
QUALITY = 92


@dataclass(frozen=True)
class _Capacity:
    extensions: tuple[str, ...]
    depths: tuple[str, ...]
    channels: tuple[int, ...]
    alpha: bool


_ANY = ("uint8", "uint16", "float32", "float64")
_FORMATS = {
    "PNG": _Capacity((".png",), ("uint8", "uint16"), (1, 3), True),
    "JPEG": _Capacity((".jpg", ".jpeg", ".jpe", ".jfif"), ("uint8",), (1, 3), False),
    "TIFF": _Capacity((".tif", ".tiff"), ("uint8", "uint16", "float32"), tuple(range(1, 65)), True),
    "BMP": _Capacity((".bmp",), ("uint8",), (1, 3), False),
    "WEBP": _Capacity((".webp",), ("uint8",), (1, 3), True),
    "GIF": _Capacity((".gif",), ("uint8",), (1,), False),
    "PGM": _Capacity((".pgm",), ("uint8", "uint16"), (1,), False),
    "PPM": _Capacity((".ppm",), ("uint8", "uint16"), (3,), False),
    "PNM": _Capacity((".pnm",), ("uint8", "uint16"), (1, 3), False),
    "NPY": _Capacity((".npy",), _ANY, tuple(range(1, 4097)), True),
    "TEXT": _Capacity((".txt", ".csv", ".tsv"), _ANY, tuple(range(1, 4097)), False),
}
_BY_EXTENSION = {extension: name for name, c in _FORMATS.items() for extension in c.extensions}


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
    if extension not in _BY_EXTENSION:
        known = " ".join(sorted(_BY_EXTENSION))
        found = f"extension {extension} is not written" if extension else "no extension says which format to write"
        folder = "" if extension else f", or {path}/ if it is a folder"
        raise UsageError(found, where=path, hint=f"use one of {known}{folder}")
    return _BY_EXTENSION[extension]


def obstacle(format: str, dtype: np.dtype, channels: int, alpha: bool) -> str:
    """Return why a format cannot hold samples without loss, or an empty text.

    Examples
    --------
    >>> obstacle("GIF", np.dtype(np.uint8), 3, False)
    'GIF holds 1 channel, the result has 3'
    """
    able = _FORMATS[format]
    if dtype.name not in able.depths:
        return f"{format} holds no {dtype.name} samples"
    if channels not in able.channels:
        few = len(able.channels) < 3
        held = " or ".join(map(str, able.channels)) if few else f"{able.channels[0]}-{able.channels[-1]}"
        return f"{format} holds {held} channel{'' if held == '1' else 's'}, the result has {channels}"
    return f"{format} holds no transparency" if alpha and not able.alpha else ""


def check_holds(format: str, dtype: np.dtype, channels: int, alpha: bool, where: str) -> None:
    """Refuse a format that would lose depth, channels or alpha; nothing is ever converted silently.

    Raises
    ------
    CnnError
        Names the formats that hold the result.
    """
    problem = obstacle(format, dtype, channels, alpha)
    if not problem:
        return
    able = _FORMATS[format]
    others = [
        c.extensions[0]
        for name, c in _FORMATS.items()
        if name not in ("TEXT", "PNM") and dtype.name in c.depths and channels in c.channels and (c.alpha or not alpha)
    ]
    ways = f"write {' or '.join(others)}"
    if alpha and not able.alpha:
        ways += ", or drop it with --alpha drop"
    elif channels not in able.channels:
        ways += ", or use --split-channels"
    elif dtype.kind == "f":
        ways += ", or use --dtype uint8"
    raise CnnError(problem, where=where, hint=ways)


def encode_image(
    image: Image, format: str, *, where: str = "", level: int = PNG_LEVEL, quality: int = QUALITY, threads: int = 1
) -> bytes | bytearray:
    """Encode an image; its colour profile, EXIF block and density go along where the format has a place for them.

    Parameters
    ----------
    format : str
        A name that `format_of` returns, but TEXT, which is numbers (`matrix_text`).
    where : str
        Name of the output in messages.
    level : int
        PNG and TIFF: zlib's 0 (stored) to 9.
    quality : int
        JPEG and WebP: 1 to 100; WebP at 100 is lossless.
    threads : int
        For PNG; the bytes do not depend on it.

    Raises
    ------
    CnnError
        The format cannot hold the image (`check_holds`).
    """
    samples = image.pixels
    check_holds(format, samples.dtype, samples.shape[2], image.alpha is not None, where)
    if image.alpha is not None:
        samples = np.concatenate([samples, image.alpha[..., None]], axis=2)
    if format == "PNG":
        return png_write.write_png(
            samples, level=level, threads=threads, icc=image.icc, density=image.density, exif=image.exif
        )
    if format in ("PGM", "PPM", "PNM"):
        return pnm.write_pnm(samples)
    if format == "NPY":
        return npy.write_npy(samples[..., 0] if samples.shape[2] == 1 else samples)
    if format == "JPEG":
        return _jpeg(samples, image, quality)
    if format == "TIFF":
        return _tiff(samples, image, level)
    return _by_imageio(samples, image, format, quality)


def _jpeg(samples: NDArray, image: Image, quality: int) -> bytes:
    from PIL import JpegImagePlugin  # noqa: F401  registers the encoder; Pillow would import thirty others
    from PIL.Image import new

    height, width, channels = samples.shape
    picture = new("L" if channels == 1 else "RGB", (width, height), None)  # None: nothing is filled in first
    picture.frombytes(np.ascontiguousarray(samples).data)
    # colours that came in coarse stay so; elsewhere that would smear the sharp edges of a filter's result
    finest = 0 if quality >= 90 else 2
    options: dict[str, Any] = {"quality": quality, "subsampling": finest if image.sampling is None else image.sampling}
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **options, **_metadata(image))
    return stream.getvalue()


def _metadata(image: Image) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if image.icc:
        found["icc_profile"] = image.icc
    if image.exif:
        found["exif"] = image.exif
    if image.density:
        found["dpi"] = tuple(image.density)
    return found


def _tiff(samples: NDArray, image: Image, level: int) -> bytes:
    import imageio.v3 as imageio

    options: dict[str, Any] = {
        "photometric": "rgb" if image.pixels.shape[2] == 3 else "minisblack",
        "planarconfig": "contig",
        "compression": "zlib" if level else None,
        "compressionargs": {"level": level} if level else None,
    }
    colours = 3 if image.pixels.shape[2] == 3 else 1
    extra = ["unspecified"] * (image.pixels.shape[2] - colours) + ["unassalpha"] * (image.alpha is not None)
    if extra:
        options["extrasamples"] = extra
    if image.icc:
        options["iccprofile"] = image.icc
    if image.density:
        options |= {"resolution": image.density, "resolutionunit": "INCH"}
    if samples.shape[2] == 1:
        samples = samples[..., 0]
    encoded: bytes = imageio.imwrite("<bytes>", samples, extension=".tif", plugin="tifffile", **options)
    return tiff_exif.with_exif(encoded, image.exif) if image.exif else encoded


def _by_imageio(samples: NDArray, image: Image, format: str, quality: int) -> bytes:
    import imageio.v3 as imageio

    options = _metadata(image)
    if format == "WEBP":
        options |= {"lossless": quality == 100, "quality": quality, "exact": True}
    elif format == "BMP":
        options = {name: value for name, value in options.items() if name == "dpi"}
    else:
        options = {}
    if samples.shape[2] == 1:
        samples = samples[..., 0]
    encoded: bytes = imageio.imwrite(
        "<bytes>", samples, extension=_FORMATS[format].extensions[0], plugin="pillow", **options
    )
    return encoded
