"""Shapes as users write them: ``28x28x3`` (height x width x channels), ``3@28x28`` (depth @ width x height), ``28``."""

from __future__ import annotations

import re

from cnncli.errors import InvalidInputError
from cnncli.shapes import Shape

MAX_SIDE = 65_535
MAX_CHANNELS = 1_000_000

_HWC = re.compile(r"(\d{1,12})(?:x(\d{1,12}))?(?:x(\d{1,12}))?")
_DWH = re.compile(r"(\d{1,12})@(\d{1,12})x(\d{1,12})")
_PYTHON = re.compile(r"[(\[]?\s*(\d{1,12})\s*,\s*(\d{1,12})\s*,\s*(\d{1,12})\s*[)\]]?")


def parse_shape(text: str) -> Shape:
    """Return (C, H, W) for a shape as a user writes it.

    ``28`` is 28x28 with one channel, ``5x7`` has one channel too; ``3@32x24`` is 3 channels, 32 wide, 24 high.

    Raises
    ------
    InvalidInputError
        Not a shape, a zero, or a side above the limit.

    Examples
    --------
    >>> parse_shape("24x32x3"), parse_shape("3@32x24"), parse_shape("28")
    ((3, 24, 32), (3, 24, 32), (1, 28, 28))
    """
    cleaned = text.strip().lower().replace("×", "x").replace("*", "x")
    if match := _DWH.fullmatch(cleaned):
        channels, width, height = map(int, match.groups())
    elif match := _HWC.fullmatch(cleaned) or _PYTHON.fullmatch(cleaned):
        height = int(match[1])
        width = int(match[2] or height)
        channels = int(match[3] or 1)
    else:
        raise InvalidInputError(
            f"{text[:40]!r} is not a shape", hint="write height x width x channels as 28x28x3, or D@WxH as 3@28x28"
        )
    return checked_shape(height, width, channels)


def checked_shape(height: int, width: int, channels: int) -> Shape:
    """Return (C, H, W), or raise `InvalidInputError` for a number out of range."""
    for name, value, high in (
        ("height", height, MAX_SIDE),
        ("width", width, MAX_SIDE),
        ("channels", channels, MAX_CHANNELS),
    ):
        if not 1 <= value <= high:
            raise InvalidInputError(f"{name} {value} of the input is out of range", hint=f"use 1 to {high:,}")
    return channels, height, width
