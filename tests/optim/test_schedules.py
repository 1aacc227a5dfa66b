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


def test_step_falls_to_a_tenth_after_half_and_again_after_three_quarters():
    rates = [learning_rate("step", 1.0, step, 22, 2) for step in range(22)]
    assert rates == [0.5, 1.0] + [1.0] * 10 + [0.1] * 5 + [0.01] * 5


def test_one_cycle_rises_during_its_warm_up():
    rates = [learning_rate("one-cycle", 1.0, step, 20, 5) for step in range(20)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[4] == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 / 25e4)
    assert all(math.isfinite(learning_rate("one-cycle", 1.0, 0, 1, warmup)) for warmup in (0, 1))


def test_defaults():
    assert default_epochs(844) == 10
    assert default_epochs(1) == 100
    assert default_architecture(1, 28, 28) == "lenet5"
    assert default_architecture(3, 8, 8) == "digits"
    assert default_architecture(3, 32, 32) == "resnet20-cifar"
