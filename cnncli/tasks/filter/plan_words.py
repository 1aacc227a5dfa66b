"""The options of a filter as a user writes them, and the plan that they become: for the command and for Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.errors import UsageError
from cnncli.filtering.plan import FilterPlan
from cnncli.filters.borders import parse_border
from cnncli.filters.conventions import convention
from cnncli.filters.geometry import parse_biases, parse_padding, parse_pair, parse_scale
from cnncli.filters.steps import GRAY_WEIGHTS, Step
from cnncli.tasks.filter.read_steps import parse_steps

_PLAIN = {"R": 0, "G": 1, "B": 2, "RED": 0, "GREEN": 1, "BLUE": 2}


@dataclass(frozen=True)
class PlanWords:
    """The options of `cnn filter` that change numbers, each as the text that is typed.

    None stands for an option that is not given; `range`, `dtype` and the others have the defaults of the command.
    """

    flip: bool | None = None
    padding: str | None = None
    border: str | None = None
    stride: str = "1"
    dilation: str = "1"
    scale: str | None = None
    bias: str = "0"
    range: str = "auto"
    dtype: str = "same"
    gray: str | None = None
    channels: str | None = None
    tool: str | None = None

    def steps(self, kernels: Sequence[str]) -> tuple[Step, ...]:
        """Return the steps for the texts of ``-k``; errors as `parse_steps`, or an unknown tool."""
        if self.tool:
            convention(self.tool)
        return parse_steps(kernels, self.tool)

    def plan(self, steps: tuple[Step, ...]) -> FilterPlan:
        """Return the arithmetic that the options ask for.

        Raises
        ------
        UsageError
            An option that is not understood.
        """
        if self.tool:
            convention(self.tool)
        return FilterPlan(
            steps=steps,
            flip=self.flip,
            padding=None if self.padding is None else parse_padding(self.padding),
            border=None if self.border is None else parse_border(self.border),
            stride=parse_pair(self.stride, "--stride"),
            dilation=parse_pair(self.dilation, "--dilation"),
            scale=None if self.scale is None else parse_scale(self.scale),
            bias=parse_biases(self.bias),
            range=self.range,
            dtype=self.dtype,
            gray=None if self.gray is None else parse_gray(self.gray),
            channels=None if self.channels is None else parse_channels(self.channels),
            convention=self.tool,
        )


def parse_gray(method: str) -> str:
    """Return a method of GRAY_WEIGHTS.

    Raises
    ------
    UsageError
        Another word.
    """
    if method.lower() not in GRAY_WEIGHTS:
        raise UsageError(f"unknown method '{method}'", where="--gray", hint=f"choose {', '.join(GRAY_WEIGHTS)}")
    return method.lower()


def parse_channels(text: str) -> tuple[int, ...]:
    """Return the numbers of channels for ``R,G``, ``BGR`` or ``0,2``.

    Examples
    --------
    >>> parse_channels("BGR"), parse_channels("red,1")
    ((2, 1, 0), (0, 1))
    """
    words: Sequence[str] = [word.strip().upper() for word in text.split(",")]
    if len(words) == 1 and re.fullmatch("[RGB]{2,3}", words[0]):
        words = list(words[0])
    found = []
    for word in words:
        if word not in _PLAIN and not re.fullmatch(r"[0-9]{1,4}", word, re.ASCII):
            raise UsageError(f"'{text}' is not understood", where="--channels", hint="use R,G,B or numbers from 0")
        found.append(_PLAIN[word] if word in _PLAIN else int(word))
    return tuple(found)
