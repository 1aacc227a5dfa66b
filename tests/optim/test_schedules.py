"""The learning rate over a run."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.optim.recipes import default_architecture, default_epochs
from cnncli.optim.schedules import learning_rate


@given(st.floats(1e-6, 10), st.integers(1, 1000), st.integers(0, 100))
def test_cosine_falls_from_the_rate_towards_zero(base, total, warmup):
    rates = [learning_rate("cosine", base, step, total + warmup, warmup) for step in range(total + warmup)]
    assert rates[warmup] == pytest.approx(base)
    assert all(0 < rate <= base * (1 + 1e-12) for rate in rates)
    assert all(b <= a for a, b in itertools.pairwise(rates[warmup:]))
    assert all(b > a for a, b in itertools.pairwise(rates[:warmup]))


def test_cosine_agrees_with_the_formula():
    for step in range(50):
        assert learning_rate("cosine", 0.3, step, 50) == pytest.approx(0.15 * (1 + math.cos(math.pi * step / 50)))


def test_constant_stays():
    assert {learning_rate("constant", 0.3, step, 50) for step in range(50)} == {0.3}


def test_defaults():
    assert default_epochs(844) == 10
    assert default_epochs(1) == 100
    assert default_architecture(28, 28) == "lenet5"
    assert default_architecture(8, 8) == "digits"
