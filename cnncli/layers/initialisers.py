"""How parameters start: the rules by name, and the spread that each gives for a layer's fans.

References
----------
He et al. 2015, arXiv:1502.01852, equation 10; Glorot and Bengio 2010, AISTATS, equations 12 and 16.
"""

from __future__ import annotations

import re
from math import sqrt
from typing import Literal, TypeAlias

from cnncli.errors import InvalidInputError, did_you_mean
from cnncli.layers.base import Param

Distribution: TypeAlias = Literal["normal", "uniform", "constant"]

PLAIN = ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "zeros", "ones")
SCALED = ("normal", "uniform", "constant")
RULES = (*PLAIN, *(f"{name}:NUMBER" for name in SCALED))

_NUMBER = re.compile(r"[-+]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][-+]?\d{1,3})?")


def parse_init(text: str) -> str:
    """Return the rule in its one spelling, or raise `InvalidInputError`.

    Examples
    --------
    >>> parse_init("He-Normal")
    'he_normal'
    >>> parse_init("uniform:1")
    'uniform:1'
    """
    name, colon, number = text.strip().lower().partition(":")
    name = name.replace("-", "_")
    if name in PLAIN and not colon:
        return name
    if name in SCALED:
        if not _NUMBER.fullmatch(number) or not abs(float(number)) <= 1e6:
            raise InvalidInputError(f"init {name} needs a number", hint=f"write {name}:0.05")
        if name != "constant" and float(number) <= 0:
            raise InvalidInputError(f"init {name}:{number} has no spread", hint="give a number above 0")
        return f"{name}:{number}"
    hint = did_you_mean(name, (*PLAIN, *SCALED), f"one of {', '.join(RULES)}")
    raise InvalidInputError(f"unknown init {text[:40]!r}", hint=hint)


def spread(param: Param) -> tuple[Distribution, float]:
    """Return how to draw the first values: normal with a deviation, uniform in [-a, a] or a constant.

    Examples
    --------
    >>> spread(Param((6, 1, 5, 5), "he_normal", fan_in=50))
    ('normal', 0.2)
    >>> spread(Param((3,), "uniform:1"))
    ('uniform', 1.0)
    """
    name, _, number = param.init.partition(":")
    if name == "zeros":
        return "constant", 0.0
    if name == "ones":
        return "constant", 1.0
    if number:
        return ("normal" if name == "normal" else "uniform" if name == "uniform" else "constant"), float(number)
    family, _, shape = name.partition("_")
    variance = 2 / param.fan_in if family == "he" else 2 / (param.fan_in + param.fan_out)
    return ("normal", sqrt(variance)) if shape == "normal" else ("uniform", sqrt(3 * variance))
