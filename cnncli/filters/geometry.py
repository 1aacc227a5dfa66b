"""Padding, strides and sizes of a filter: what the options say, resolved for one image."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from cnncli.errors import ShapeError, UsageError
from cnncli.filters.numbers_text import to_fraction
from cnncli.shapes import Pads, Pair, out_length, same_padding

Padding: TypeAlias = str | Pads  # "same", "valid", "full", or top, bottom, left, right
Scale: TypeAlias = Fraction | Literal["sum"]
MAX_PADDING = 65535


@dataclass(frozen=True)
class Geometry:
    """Where the windows of a kernel lie on an image of one size.

    Parameters
    ----------
    pads : (int, int, int, int)
        Pixels added at the top, bottom, left and right.
    size : (int, int)
        Rows and columns of the result.
    centre : (int, int)
        Row and column of the pixel in the middle of each window, counted from the first pixel of the window.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: Pads
    size: Pair
    centre: Pair


def resolve(
    image: Pair,
    kernel: Pair,
    padding: Padding,
    *,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    late_anchor: tuple[bool, bool] = (False, False),
    keras_same: bool = False,
    halved: bool = False,
    what: str = "kernel",
    hint: str = "use --padding same",
) -> Geometry:
    """Return pads and result size.

    ``same`` puts ``d*(k-1)`` pixels around, whatever the stride: ``d*((k-1)//2)`` of them before the image, or
    ``d*(k//2)`` on an axis with `late_anchor`. With `halved` it is ``d*(k-1)//2``, which differs where an even kernel
    is dilated (PyTorch). With `keras_same` it pads what ``ceil(n/s)`` outputs need. ``full`` adds ``d*(k-1)`` on each
    side.

    Raises
    ------
    ShapeError
        The kernel is larger than the padded image; the message calls it `what` and ends with `hint`.

    Examples
    --------
    >>> resolve((28, 28), (5, 5), (1, 1, 1, 1)).size
    (26, 26)
    """
    pads: list[int] = []
    centre: list[int] = []
    for axis in (0, 1):
        span = dilation[axis] * (kernel[axis] - 1)
        late = late_anchor[axis]
        if halved:
            centre.append((span + 1) // 2 if late else span // 2)
        else:
            centre.append(dilation[axis] * (kernel[axis] // 2 if late else (kernel[axis] - 1) // 2))
        if not isinstance(padding, str):
            pads += padding[2 * axis : 2 * axis + 2]
        elif padding == "valid":
            pads += [0, 0]
        elif padding == "full":
            pads += [span, span]
        elif keras_same:
            pads += same_padding(image[axis], kernel[axis], stride[axis], dilation[axis])
        else:
            pads += [centre[axis], span - centre[axis]]
    top, bottom, left, right = pads
    height = out_length(image[0], kernel[0], stride[0], (top, bottom), dilation[0])
    width = out_length(image[1], kernel[1], stride[1], (left, right), dilation[1])
    if height < 1 or width < 1:
        sides = (top + bottom, left + right)
        raise ShapeError(_too_large(image, kernel, stride, dilation, sides, what), hint=hint)
    return Geometry(kernel, stride, dilation, (top, bottom, left, right), (height, width), (centre[0], centre[1]))


def _too_large(image: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pair, what: str) -> str:
    """Return the message for a window larger than the padded image; `pads` are the sums per axis."""
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [(n + p - r) // s + 1 for n, p, r, s in zip(image, pads, reach, stride, strict=True)]
    dilated = f" (dilated to {reach[0]}x{reach[1]})" if max(dilation) > 1 else ""
    outcome = f"output would be {size[0]}x{size[1]}" if min(size) == 0 else f"the {what} is larger than the image"
    return f"{image[0]}x{image[1]} image, {kernel[0]}x{kernel[1]} {what}{dilated}: {outcome}"


def parse_padding(text: str) -> Padding:
    """Return the padding for ``same``, ``valid``, ``full``, ``N``, ``ROWS,COLUMNS`` or ``T,B,L,R``.

    Examples
    --------
    >>> parse_padding("1"), parse_padding("1,2,3,4")
    ((1, 1, 1, 1), (1, 2, 3, 4))
    """
    word = text.strip().lower()
    if word in ("same", "valid", "full"):
        return word
    numbers = _whole_numbers(word, "--padding", 0, "use same, valid, full, N or T,B,L,R")
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0], numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[0], numbers[1], numbers[1]
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    raise UsageError(f"'{text}' has {len(numbers)} numbers", where="--padding", hint="use N or T,B,L,R")


def parse_pair(text: str, option: str) -> Pair:
    """Return rows and columns for ``N``, ``N,M`` or ``NxM``; at least 1.

    Examples
    --------
    >>> parse_pair("2", "--stride"), parse_pair("2,1", "--stride")
    ((2, 2), (2, 1))
    """
    numbers = _whole_numbers(text.strip().lower().replace("x", ","), option, 1, "use N or ROWS,COLUMNS")
    if len(numbers) > 2:
        raise UsageError(f"'{text}' has {len(numbers)} numbers", where=option, hint="use N or ROWS,COLUMNS")
    return numbers[0], numbers[-1]


def parse_scale(text: str) -> Scale:
    """Return ``"sum"`` or the exact value of a number or fraction."""
    if text.strip().lower() == "sum":
        return "sum"
    try:
        return to_fraction(text.strip())
    except ValueError as error:
        raise UsageError(str(error), where="--scale", hint="use a number, a fraction such as 1/9, or sum") from None


def parse_biases(text: str) -> tuple[float, ...]:
    """Return the numbers of ``B`` or ``B,B...``; fractions are allowed.

    Examples
    --------
    >>> parse_biases("1,-1/2")
    (1.0, -0.5)
    """
    try:
        return tuple(float(to_fraction(word.strip())) for word in text.split(","))
    except ValueError as error:
        raise UsageError(str(error), where="--bias", hint="give a number, or one per filter: 1,0") from None


def _whole_numbers(text: str, option: str, least: int, hint: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.lstrip("-").isdigit() for word in words):
        raise UsageError(f"'{text}' is not understood", where=option, hint=hint)
    numbers = [int(word) for word in words]
    for number in numbers:
        if not least <= number <= MAX_PADDING:
            raise UsageError(f"{number} is not in the range {least} to {MAX_PADDING}", where=option, hint=hint)
    return numbers
