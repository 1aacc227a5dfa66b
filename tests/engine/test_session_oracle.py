"""Losses, probabilities and gradients of whole networks against the slow oracle, in float64."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference_gradients import run_network
from small_networks import NETWORKS, build

from cnncli.engine.session import Session
from cnncli.errors import CnnError


def check(model, count, batch_size, seed=0):
    rng = np.random.default_rng(seed)
    channels, height, width = model.input_shape
    images = rng.integers(0, 256, (count + 5, height, width, channels), dtype=np.uint8)
    labels = rng.integers(0, 4, count + 5)
    picks = rng.permutation(count + 5)[:count]
    mean, std = rng.uniform(0.2, 0.6, channels), rng.uniform(0.2, 0.5, channels)
    session = Session(
        model, batch_size=batch_size, threads=2, optimizer="sgd", seed=seed, mean=mean, std=std, dtype="float64"
    )
    session.parameters[:] += rng.normal(0, 0.05, model.parameter_count)  # biases must not be zero
    before = session.parameters.copy()
    x = ((images[picks] / 255 - mean) / std).transpose(0, 3, 1, 2)
    losses, probs, gradient = run_network(model, before, x, labels[picks])
    np.testing.assert_allclose(session.predict(images, picks), probs, rtol=1e-9, atol=1e-12)
    total, hits = session.train_batch(images, labels, picks, 0.5, (0, 0))
    assert total == pytest.approx(losses.sum(), rel=1e-9)
    assert hits == (probs.argmax(1) == labels[picks]).sum()
    np.testing.assert_allclose(session.gradients, gradient, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(session.parameters, before - 0.5 * gradient, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_agrees_with_oracle(name):
    check(build(*NETWORKS[name]), count=37, batch_size=40)


@pytest.mark.parametrize("name", NETWORKS)
def test_oracle_agrees_with_central_differences(name):
    model = build(*NETWORKS[name])
    rng = np.random.default_rng(1)
    x, labels = rng.normal(0.5, 1, (4, *model.input_shape)), rng.integers(0, 4, 4)
    parameters = rng.normal(0, 0.3, model.parameter_count)
    _, _, gradient = run_network(model, parameters, x, labels)
    for place in rng.permutation(len(parameters))[:40]:
        step = np.zeros_like(parameters)
        step[place] = 1e-5
        (above, _, _), (below, _, _) = (run_network(model, parameters + sign * step, x, labels) for sign in (1, -1))
        assert (above - below).mean() / 2e-5 == pytest.approx(gradient[place], abs=1e-7, rel=1e-6), place


def test_batch_smaller_than_a_vector_of_images():
    check(build(*NETWORKS["lenet-like"]), count=3, batch_size=3)


def test_batch_of_many_blocks():
    check(build(*NETWORKS["lenet-like"]), count=150, batch_size=150)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(1, 4)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilation=st.integers(1, 2),
    filters=st.sampled_from([1, 3, 8]),  # each other number is one more tile to compile
    second=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_any_convolution_agrees_with_oracle(size, kernel, stride, padding, dilation, filters, second, seed):
    options = f"kernel: {list(kernel)}, stride: {list(stride)}, padding: {padding}, dilation: {dilation}"
    layers = (f"- conv: {{filters: {filters}, kernel: {second}}}", "- relu", f"- conv: {{filters: 3, {options}}}",
              "- flatten", "- dense: classes")  # fmt: skip
    try:
        model = build(list(size), *layers)
    except CnnError:
        assume(False)
    check(model, count=5, batch_size=20, seed=seed)
