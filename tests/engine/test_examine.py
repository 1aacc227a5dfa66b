"""Answers, losses and logits of single images: the same bits in any batch, any order and with any threads."""

import math

import numpy as np
import pytest
from small_networks import NETWORKS, build

from cnncli.engine.losses import Objective
from cnncli.engine.session import Session

RANDOM = np.random.default_rng(8)


@pytest.mark.parametrize(
    ("ending", "loss", "labels"),
    [
        (["- dense: 4", "- softmax"], "cross_entropy", RANDOM.integers(0, 4, 37)),
        (["- dense: 1", "- sigmoid"], "binary_cross_entropy", RANDOM.integers(0, 2, 37)),
        (["- dense: 3", "- sigmoid"], "binary_cross_entropy", RANDOM.integers(0, 2, (37, 3)).astype(float)),
        (["- dense: 2"], "mse", RANDOM.normal(size=(37, 2))),
    ],
)
def test_every_image_has_its_own_bits(ending, loss, labels):
    size, *layers = NETWORKS["lenet-like"]
    model = build(size, *layers[:-2], *ending)
    images = RANDOM.integers(0, 256, (37, 12, 12, 1), np.uint8)

    def session(batch_size, threads):
        return Session(model, batch_size=batch_size, threads=threads, seed=5, objective=Objective(loss))

    first = session(64, 1)
    whole = first.examine(images, labels)
    answers, logits = first.answer(images)
    assert np.array_equal(logits, whole.logits)
    assert np.array_equal(answers, whole.answers)
    assert np.array_equal(whole.answers, first.predict(images))
    assert (whole.loss, whole.acc) == first.evaluate(images, labels)
    assert whole.loss == math.fsum(whole.losses) / 37
    for batch_size, threads in ((1, 1), (7, 2), (64, 2)):
        order = RANDOM.permutation(37)
        other = session(batch_size, threads)
        found = other.examine(images[order], labels[order])
        assert found.answers.tobytes() == whole.answers[order].tobytes()
        assert found.losses.tobytes() == whole.losses[order].tobytes()
        assert found.hits.tolist() == whole.hits[order].tolist()
        assert (found.loss, found.acc) == (whole.loss, whole.acc)
        assert other.answer(images, order)[1].tobytes() == logits[order].tobytes()


def test_logits_are_the_values_before_softmax_and_sigmoid():
    size, *layers = NETWORKS["lenet-like"]
    images = RANDOM.integers(0, 256, (9, 12, 12, 1), np.uint8)
    for ending in ("softmax", "sigmoid"):
        session = Session(build(size, *layers[:-1], f"- {ending}"), batch_size=4, threads=1, seed=2, dtype="float64")
        _, z = session.answer(images)
        powers = np.exp(z)
        expected = powers / powers.sum(1, keepdims=True) if ending == "softmax" else powers / (1 + powers)
        np.testing.assert_allclose(session.predict(images), expected, rtol=1e-14)
        bare = Session(build(size, *layers[:-1]), batch_size=4, threads=1, seed=2, dtype="float64")
        assert np.array_equal(bare.answer(images)[1], z)
