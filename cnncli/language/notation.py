"""Shapes as users write them: ``28x28x3`` (height x width x channels), ``3@28x28`` (depth @ width x height), ``28``."""

from __future__ import annotations

import re

from cnncli.errors import InvalidInputError
from cnncli.shapes import Shape

MAX_SIDE = 65_535
MAX_CHANNELS = 1_000_000
MAX_VECTOR = 10**12

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
    channels, height, width = _sizes(text)
    return checked_shape(height, width, 1 if channels is None else channels)


def parse_output(text: str) -> tuple[int | None, int, int]:
    """Return channels (None where they are left open), height and width of a wanted output; errors as above.

    Examples
    --------
    >>> parse_output("26x26"), parse_output("8@26x26")
    ((None, 26, 26), (8, 26, 26))
    """
    channels, height, width = _sizes(text)
    checked_shape(height, width, 1 if channels is None else channels)
    return channels, height, width


def is_shape(text: str) -> bool:
    """Return whether an argument begins like a shape and not like the name of a file, preset or layer.

    Examples
    --------
    >>> is_shape("28x28x3"), is_shape("(28, 28, 3)"), is_shape("3d-net.yaml")
    (True, True, False)
    """
    return re.match(r"\s*[(\[]?\s*\d+\s*([x@×*,]|$)", text.lower()) is not None


def _sizes(text: str) -> tuple[int | None, int, int]:
    """Return channels, height and width as they were written."""
    cleaned = text.strip().lower().replace("×", "x").replace("*", "x")
    if match := _DWH.fullmatch(cleaned):
        return int(match[1]), int(match[3]), int(match[2])
    if match := _HWC.fullmatch(cleaned) or _PYTHON.fullmatch(cleaned):
        height = int(match[1])
        return int(match[3]) if match[3] else None, height, int(match[2] or height)
    raise InvalidInputError(
        f"{text[:40]!r} is not a shape", hint="write height x width x channels as 28x28x3, or D@WxH as 3@28x28"
    )


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


def checked_vector(length: int) -> Shape:
    """Return (n,), or raise `InvalidInputError` for a length out of range."""
    if not 1 <= length <= MAX_VECTOR:
        raise InvalidInputError(
            f"a vector of {length} values as input is out of range", hint=f"use 1 to {MAX_VECTOR:,}"
        )
    return (length,)
