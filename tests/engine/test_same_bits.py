"""The same seed gives the same bits: for any thread count, for any vector width the same numbers to rounding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from graph_models import random_images
from small_networks import NETWORKS, build

from cnncli.engine import plan
from cnncli.engine.session import Session
from cnncli.model import load_model, parse_model

RESIDUAL = """
  - conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu}
  - residual: {main: [conv: {filters: 8, kernel: 3, padding: 1, bn: true, activation: relu},
                      conv: {filters: 8, kernel: 3, padding: 1, bn: true}], activation: relu}
  - residual: {main: [conv: {filters: 16, kernel: 3, stride: 2, padding: 1, bn: true, activation: relu},
                      conv: {filters: 16, kernel: 3, padding: 1, bn: true}], activation: relu}
  - residual: {main: [conv: {filters: 16, kernel: 3, padding: 1, bn: true, activation: relu},
                      conv: {filters: 16, kernel: 3, padding: 1, bn: true}], activation: relu}
  - globalavgpool"""
DENSELY = """
  - conv: {filters: 8, kernel: 3, padding: 1, bias: false}
  - concat: [[], [batchnorm, relu, conv: {filters: 16, kernel: 1, bn: true, activation: relu},
                  conv: {filters: 6, kernel: 3, padding: 1, bias: false}, dropout: 0.2]]
  - concat: [[], [batchnorm, relu, conv: {filters: 16, kernel: 1, bn: true, activation: relu},
                  conv: {filters: 6, kernel: 3, padding: 1, bias: false}, dropout: 0.2]]
  - batchnorm
  - relu
  - conv: {filters: 10, kernel: 1, bias: false}
  - avgpool: 2
  - concat: [[], [batchnorm, relu, conv: {filters: 6, kernel: 3, padding: 1, bias: false}]]
  - globalavgpool"""

SCRIPT = """
import hashlib, json, numpy as np
from cnncli.engine.session import Session
from cnncli.model import load_model
rng = np.random.default_rng(3)
images = rng.integers(0, 256, (300, 28, 28, 1), dtype=np.uint8)
labels = rng.integers(0, 10, 300)
result = {}
for threads in %s:
    session = Session(load_model("lenet5"), batch_size=72, threads=threads, optimizer="adam", seed=5)
    losses = [session.train_batch(images, labels, rng_indices, 1e-3, (0, i))[0]
              for i, rng_indices in enumerate(np.random.default_rng(1).permutation(300)[:288].reshape(4, 72))]
    result[threads] = [hashlib.sha256(session.parameters.tobytes()).hexdigest(), losses,
                       hashlib.sha256(session.predict(images).tobytes()).hexdigest()]
print(json.dumps(result))
"""


def run(threads, **environment):
    command = [sys.executable, "-c", SCRIPT % list(threads)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout)


def test_same_bits_for_any_thread_count():
    results = run((1, 2, 3, 4))
    assert len({json.dumps(result) for result in results.values()}) == 1


def trained(model, threads):
    """Return the bytes of everything that two epochs of four batches, the last one not full, leave behind."""
    images, labels = random_images(model, 150)
    session = Session(model, batch_size=40, threads=threads, optimizer="adam", seed=3, std=(0.5,))
    losses = []
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(150)
        for batch, start in enumerate(range(0, 150, 40)):
            losses.append(session.train_batch(images, labels, order[start : start + 40], 3e-3, (epoch, batch)))
    assert losses[-4] < losses[0]
    state = session.optimizer_state()
    arrays = [session.parameters, session.statistics, session.gradients, session.predict(images), *state.values()]
    return [losses, session.evaluate(images, labels), *(np.asarray(array).tobytes() for array in arrays)]


@pytest.mark.parametrize("is_shared", [False, True], ids=["blocks apart", "blocks shared out"])
@pytest.mark.parametrize("name", ["lenet5", "residual", "densely connected"])
def test_a_whole_training_has_the_same_bits_for_any_thread_count(name, is_shared, monkeypatch):
    if is_shared:  # however small the layers are
        monkeypatch.setattr(plan, "SHARED_MACS", -1)
    text = {"residual": RESIDUAL, "densely connected": DENSELY}.get(name)
    head = "cnn: 1\nname: net\ninput: [12, 12, 3]\nclasses: 5\nlayers:"
    model = parse_model(f"{head}{text}\n  - dense: classes\n", "net.yaml") if text else load_model(name)
    first, *others = (trained(model, threads) for threads in (1, 2, 3, 8))
    for other in others:
        assert other == first


@pytest.mark.parametrize("width", ["4", "8"])
def test_narrow_vectors_agree_with_wide_ones(width):
    narrow, native = run((2,), CNN_SIMD=width)["2"], run((2,))["2"]
    np.testing.assert_allclose(narrow[1], native[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["lenet-like", "groups", "pointwise", "dense only"])
def test_blocks_that_are_shared_out_over_threads_give_the_same_bits(name, monkeypatch):
    model = build(*NETWORKS[name])
    channels, height, width = model.input_shape
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, height, width, channels), dtype=np.uint8), rng.integers(0, 4, 40)
    results = set()
    for limit, threads in ((10**12, 1), (0, 2), (0, 5), (0, 8)):  # from one thread to layers in parts
        monkeypatch.setattr(plan, "SHARED_MACS", limit)
        session = Session(model, batch_size=20, threads=threads, optimizer="adam", seed=1)
        losses = [session.train_batch(images, labels, np.arange(17) + step, 1e-3, (0, step))[0] for step in range(3)]
        results.add((*losses, session.parameters.tobytes(), session.predict(images).tobytes()))
    assert len(results) == 1


def test_prediction_does_not_depend_on_the_batch():
    model = load_model("digits")
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), dtype=np.uint8)
    one, many = (Session(model, batch_size=size, threads=2).predict(images) for size in (1, 64))
    np.testing.assert_array_equal(one, many)


def test_dropout_follows_the_key_and_the_seed():
    model = load_model("digits")
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    labels, picks = np.arange(32) % 10, np.arange(32)

    def loss(seed, key):
        session = Session(model, batch_size=32, threads=2, optimizer="sgd", seed=seed)
        session.parameters[:] = Session(model, batch_size=1, threads=1, seed=0).parameters
        return session.train_batch(images, labels, picks, 0.1, key)[0]

    assert loss(0, (0, 0)) == loss(0, (0, 0))
    assert len({loss(0, (0, 0)), loss(0, (0, 1)), loss(0, (1, 0)), loss(1, (0, 0))}) == 4


def test_dropout_keeps_the_expected_share():
    from cnncli.model import parse_model

    layers = "\n".join(["  - flatten", "  - dropout: 0.3", "  - dense: {units: 2, bias: false}"])
    model = parse_model(f"cnn: 1\nname: n\ninput: [20, 20, 1]\nlayers:\n{layers}\n", "n.yaml")
    images = np.full((64, 20, 20, 1), 255, np.uint8)
    session = Session(model, batch_size=64, threads=2, optimizer="sgd", dtype="float64")
    session.parameters[:] = 0
    session.train_batch(images, np.zeros(64, np.int64), np.arange(64), 0.0, (0, 0))
    # every logit is 0, so dlogit = -1/2 / 64; the gradient of a weight sums the kept pixels, each scaled to 1 / 0.7
    kept = session.gradients[:400] * -2 * 0.7 * 64
    np.testing.assert_allclose(kept, kept.round(), atol=1e-9)
    assert kept.sum() / (64 * 400) == pytest.approx(0.7, abs=0.01)


def test_a_broken_gradient_is_reported():
    model = load_model("digits")
    images = np.zeros((4, 8, 8, 1), np.uint8)
    session = Session(model, batch_size=4, threads=2, optimizer="adam")
    session.parameters[3] = np.nan
    loss, _ = session.train_batch(images, np.zeros(4, np.int64), np.arange(4), 1e-3, (0, 0))
    assert np.isnan(loss)


def test_optimizer_state_continues_where_it_stopped():
    model = load_model("digits")
    rng = np.random.default_rng(2)
    images, labels = rng.integers(0, 256, (64, 8, 8, 1), dtype=np.uint8), rng.integers(0, 10, 64)
    for name in ("sgd", "momentum", "adam", "adamw"):
        make = lambda name=name: Session(model, batch_size=16, threads=2, optimizer=name, weight_decay=1e-3)  # noqa: E731
        whole, first, second = make(), make(), make()
        for i in range(4):
            whole.train_batch(images, labels, np.arange(16) + 16 * i, 1e-2, (0, i))
        for i in range(2):
            first.train_batch(images, labels, np.arange(16) + 16 * i, 1e-2, (0, i))
        second.parameters[:] = first.parameters
        second.load_optimizer_state(first.optimizer_state())
        for i in range(2, 4):
            second.train_batch(images, labels, np.arange(16) + 16 * i, 1e-2, (0, i))
        assert whole.parameters.tobytes() == second.parameters.tobytes()
