"""`cnncli.filter`: what `cnn filter` does, on an array."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnncli import threads as thread_count
from cnncli.errors import InvalidInputError, UsageError
from cnncli.filters.conventions import convention
from cnncli.filters.kernel_array import kernel_from_array
from cnncli.filters.steps import KernelStep, Step
from cnncli.io.images.npy import array_image
from cnncli.tasks.filter.one_file import Loaded, apply, finite
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.plan_words import PlanWords

#: a number, or one for rows and one for columns
Lengths: TypeAlias = int | tuple[int, int]
Numbers: TypeAlias = float | Fraction


def filter(
    image: ArrayLike,
    *steps: str | NDArray[Any],
    border: str | None = None,
    padding: str | int | Sequence[int] | None = None,
    stride: Lengths = 1,
    dilation: Lengths = 1,
    flip: bool | None = None,
    scale: str | Numbers | None = None,
    bias: Numbers | Sequence[Numbers] = 0,
    range: str = "auto",
    dtype: str = "same",
    gray: bool | str = False,
    channels: str | Sequence[int] | None = None,
    tool: str | None = None,
    nan_to: float | None = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Return an image after kernels and other steps: what ``cnn filter in.npy -k ... -o out.npy`` writes.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        uint8, uint16 and float32 are pixels with white at 255, 65535 and 1; other numbers are a matrix in float64.
    *steps : str or ndarray
        From left to right, each as after ``-k``. An array is a kernel (KH, KW), (C, KH, KW) or (F, C, KH, KW), with
        ``tool="keras"`` (KH, KW, C) or (KH, KW, C, F).
    gray : bool or str
        As ``--gray``: True is ``"bt601"``.
    tool : str, optional
        As ``--as``: ``"opencv"``, ``"torch"`` ...
    others
        As the options of their names, in words or numbers: ``padding=1``, ``stride=(2, 1)``, ``scale="1/9"``.

    Returns
    -------
    ndarray, shape (H, W) where the result has one channel, else (H, W, C)

    Raises
    ------
    CnnError
        With the text of the command, in which options have the names that they have there.

    Examples
    --------
    >>> filter([[1.0, 2, 4]], "-1 0 1", padding="valid", scale="1/2")
    array([[1.5]])
    """
    texts = {
        "padding": padding, "border": border, "stride": stride, "dilation": dilation, "scale": scale, "bias": bias,
        "range": range, "dtype": dtype, "gray": "bt601" if gray is True else gray or None, "channels": channels,
        "tool": tool,
    }  # fmt: skip
    words = PlanWords(flip, **{name: _text(value) for name, value in texts.items() if value is not None})
    plan = words.plan(tuple(_step(words, step) for step in steps))
    options = FileOptions(nan_to=nan_to, threads=thread_count.resolve(threads))
    source = finite(array_image(_array(image), "image"), options, "image")
    pixels = apply(Loaded(source), plan, options).image.pixels
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _array(image: ArrayLike) -> NDArray[Any]:
    if isinstance(image, str | PathLike):
        hint = "read it first: numpy.asarray(PIL.Image.open(...)); files go through `cnn filter`"
        raise InvalidInputError(f"{str(image)[:60]!r} is a name, not an array", where="image", hint=hint)
    return np.asarray(image)


def _step(words: PlanWords, step: str | NDArray[Any]) -> Step:
    if isinstance(step, str):
        return words.steps([step])[0]
    if not isinstance(step, np.ndarray) or step.dtype.kind not in "buif":
        raise UsageError(f"a step is a text or an array of numbers, not {type(step).__name__}")
    order = convention(words.tool).order or None if words.tool else None
    return KernelStep(kernel_from_array(step.astype(np.float64), "kernel", "custom", order))


def _text(value: str | Numbers | Sequence[Any]) -> str:
    """Return a value as it would be typed: ``1,2`` for (1, 2)."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence | np.ndarray):
        return ",".join(_text(item) for item in value)
    return repr(float(value)) if isinstance(value, float | np.floating) else str(value)
