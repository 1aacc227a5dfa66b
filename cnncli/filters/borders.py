"""Border rules: their names in other libraries, and the index of the pixel used for each position outside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import UsageError, did_you_mean
from cnncli.filters.numbers_text import to_float

KINDS = {
    "replicate": "aaaa|abcd|dddd",
    "zero": "0000|abcd|0000",
    "constant": "kkkk|abcd|kkkk",
    "reflect": "dcba|abcd|dcba",
    "mirror": "dcb|abcd|cba",
    "wrap": "abcd|abcd|abcd",
}

# names in OpenCV, SciPy, NumPy, PyTorch, Keras, vips, ImageMagick, MATLAB
ALIASES = {
    "edge": "replicate", "nearest": "replicate", "copy": "replicate", "border-replicate": "replicate",
    "clamp": "replicate", "extend": "replicate", "duplicate": "replicate",
    "zeros": "zero", "black": "zero",
    "symmetric": "reflect", "border-reflect": "reflect", "grid-mirror": "reflect", "half": "reflect",
    "reflect101": "mirror", "reflect-101": "mirror", "border-reflect-101": "mirror", "border-default": "mirror",
    "default": "mirror", "whole": "mirror",
    "circular": "wrap", "periodic": "wrap", "grid-wrap": "wrap", "repeat": "wrap", "tile": "wrap",
    "border-wrap": "wrap",
    "border-constant": "constant", "grid-constant": "constant",
}  # fmt: skip


@dataclass(frozen=True)
class Border:
    """A border rule: one of KINDS, and the value outside for ``constant``."""

    kind: str
    value: float = 0.0

    def __str__(self) -> str:
        """Return the word as a user may type it."""
        return f"constant:{self.value:g}" if self.kind == "constant" else self.kind


def parse_border(text: str) -> Border:
    """Return the border for ``replicate``, ``constant:V`` or another library's name such as ``reflect101``.

    Raises
    ------
    UsageError
        Unknown word (with the nearest), a constant that is not a number.

    Examples
    --------
    >>> str(parse_border("BORDER_REFLECT_101"))
    'mirror'
    """
    word, colon, number = text.strip().lower().replace("_", "-").partition(":")
    kind = ALIASES.get(word, word)
    if kind not in KINDS:
        hint = did_you_mean(word, [*KINDS, *ALIASES], f"choose {', '.join(KINDS)}")
        raise UsageError(f"unknown border '{text}'", where="--border", hint=hint)
    if kind != "constant":
        if colon:
            raise UsageError(f"border {kind} takes no value", where="--border")
        return Border(kind)
    try:
        value = to_float(number.strip()) if colon else 0.0
    except ValueError as error:
        raise UsageError(f"constant: {error}", where="--border", hint="write constant:128") from None
    return Border(kind, value) if value or math.copysign(1, value) < 0 else Border("zero")


def source_index(length: int, before: int, after: int, border: Border) -> NDArray[np.int64]:
    """Return for each padded position the index of the pixel that stands there, -1 where the constant stands.

    Positions further out than the image is long repeat the pattern.

    Examples
    --------
    >>> source_index(4, 2, 2, Border("mirror")).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    index = np.arange(-before, length + after, dtype=np.int64)
    if border.kind == "replicate":
        return np.clip(index, 0, length - 1)
    if border.kind == "wrap":
        return index % length
    if border.kind == "reflect":
        folded = index % (2 * length)
        return np.minimum(folded, 2 * length - 1 - folded)
    if border.kind == "mirror":
        period = max(2 * length - 2, 1)
        folded = index % period
        return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(index)
    index[(index < 0) | (index >= length)] = -1
    return index
