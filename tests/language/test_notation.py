"""Shapes as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import InvalidInputError
from cnncli.language.notation import parse_shape
from cnncli.reporting.notation import format_shape

sides = st.integers(1, 2000)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("28x28x3", (3, 28, 28)), ("24x32x3", (3, 24, 32)), ("3@32x24", (3, 24, 32)), ("28", (1, 28, 28)),
        ("5x7", (1, 5, 7)), ("28X28X1", (1, 28, 28)), ("(32, 32, 3)", (3, 32, 32)), ("28×28×3", (3, 28, 28)),
    ],
)  # fmt: skip
def test_notations(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["", "x", "28x", "0x3x3", "3@28", "28x28x3x1", "-1x3", "1.5x3", "70000x1x1", "9" * 20])
def test_refused(text):
    with pytest.raises(InvalidInputError) as caught:
        parse_shape(text)
    assert caught.value.hint


@given(sides, sides, sides)
def test_written_and_read_again(channels, height, width):
    shape = channels, height, width
    assert parse_shape(format_shape(shape)) == shape
    assert parse_shape(format_shape(shape, "d@wxh")) == shape
