"""Samples -> encoded bytes; a format that cannot hold them is refused with the ones that can."""

from __future__ import annotations

import numpy as np

from cnncli.errors import CnnError
from cnncli.io.images.formats import FORMATS
from cnncli.io.images.image import EncodeOptions, Image

PNG_LEVEL = 1  # chosen by the table in benchmarks/README.md
QUALITY = 92


def obstacle(format: str, dtype: np.dtype, channels: int, alpha: bool) -> str:
    """Return why a format cannot hold samples without loss, or an empty text.

    Examples
    --------
    >>> obstacle("GIF", np.dtype(np.uint8), 3, False)
    'GIF holds 1 channel, the result has 3'
    """
    able = FORMATS[format]
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
    able = FORMATS[format]
    others = [
        other.extensions[0]
        for name, other in FORMATS.items()
        if other.is_proposed and not obstacle(name, dtype, channels, alpha)
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
    return FORMATS[format].encode(samples, image, EncodeOptions(level, quality, threads))
