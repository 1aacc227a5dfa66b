"""Initialisers by name, and the spread they give."""

from __future__ import annotations

from math import sqrt

import pytest

from cnncli.errors import InvalidInputError
from cnncli.layers.base import Param
from cnncli.layers.initialisers import parse_init, spread


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he_normal", ("normal", sqrt(2 / 50))),
        ("he-uniform", ("uniform", sqrt(6 / 50))),
        ("glorot_normal", ("normal", sqrt(2 / 80))),
        ("Glorot_Uniform", ("uniform", sqrt(6 / 80))),
        ("normal:0.01", ("normal", 0.01)),
        ("uniform:1", ("uniform", 1.0)),
        ("constant:-0.5", ("constant", -0.5)),
        ("zeros", ("constant", 0.0)),
        ("ones", ("constant", 1.0)),
    ],
)
def test_spread(text, expected):
    kind, value = spread(Param((4,), parse_init(text), fan_in=50, fan_out=30))
    assert kind == expected[0]
    assert value == pytest.approx(expected[1], rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "he", "henormal:1", "normal", "normal:", "normal:0", "normal:-1", "uniform:nan", "uniform:1e999", "zeros:1"],
)
def test_refused(text):
    with pytest.raises(InvalidInputError):
        parse_init(text)
