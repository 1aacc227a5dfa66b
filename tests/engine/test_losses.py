"""Losses in float32: finite for any finite logits, NaN where there is no answer, one answer per unit."""

import numpy as np
import pytest
from small_networks import build

from cnncli.engine.losses import Objective
from cnncli.engine.session import Session
from cnncli.errors import InvalidInputError, UsageError

LARGEST = float(np.finfo(np.float32).max)


def session_of(logits, ending=(), objective=None):
    """Return a session whose logits for the one white pixel of each image are `logits`, and the images."""
    count, units = logits.shape
    model = build([1, count, 1], "- flatten", f"- dense: {{units: {units}, bias: false}}", *ending)
    session = Session(model, batch_size=8, threads=1, optimizer="sgd", objective=objective or Objective())
    session.parameters[:] = logits.T.ravel()
    return session, np.diag([255] * count).astype(np.uint8).reshape(count, 1, count, 1)


@pytest.mark.parametrize(
    ("ending", "objective", "targets"),
    [
        (["- softmax"], Objective(label_smoothing=0.2, class_weights=(1.0, 3.0)), [0, 1]),
        (["- sigmoid"], Objective(), [[0, 1], [1, 0]]),
        ([], Objective("mse"), [[0.0, 1.0], [-1.0, 2.0]]),
    ],
)
@pytest.mark.parametrize("size", [1.0, 1e30, LARGEST])
def test_losses_of_finite_logits_are_finite(ending, objective, targets, size):
    logits = np.array([[size, -size], [size, -size]], np.float32)
    session, images = session_of(logits, ending, objective)
    targets = np.array(targets)
    loss, _ = session.train_batch(images, targets, np.arange(2), 0.0, (1, 0))
    assert np.isfinite(loss)
    assert loss > 0
    assert np.isfinite(session.gradients).all()
    assert np.isfinite(session.evaluate(images, targets)[0])


@pytest.mark.parametrize(("ending", "targets"), [(["- softmax"], [0, 1]), (["- sigmoid"], [[0, 0], [1, 1]])])
def test_a_nan_is_no_answer(ending, targets):
    logits = np.full((2, 2), np.nan, np.float32)
    session, images = session_of(logits, ending)
    loss, accuracy = session.evaluate(images, np.array(targets))
    assert np.isnan(loss)
    assert accuracy == 0


def test_one_unit_says_1_above_one_half():
    logits = np.array([[-1e4], [-0.1], [0.0], [0.1], [1e4]], np.float32)
    session, images = session_of(logits, ["- sigmoid"])
    np.testing.assert_allclose(session.predict(images)[:, 0], [0, 0.4750208, 0.5, 0.5249792, 1], rtol=1e-6)
    assert session.evaluate(images, np.array([0, 0, 0, 1, 1]))[1] == 1
    assert session.evaluate(images, np.array([1, 1, 1, 0, 0]))[1] == 0


def test_targets_beside_their_range_are_refused():
    session, images = session_of(np.zeros((2, 1), np.float32), ["- sigmoid"])
    with pytest.raises(ValueError, match="from 0 to 2, not from 0 to 1"):
        session.evaluate(images, np.array([0, 2]))
    with pytest.raises(ValueError, match=r"targets \(2, 3\)"):
        session.evaluate(images, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("ending", "objective", "error", "message"),
    [
        (["- softmax"], Objective("binary_cross_entropy"), InvalidInputError, "ends in softmax"),
        (["- sigmoid"], Objective("cross_entropy"), InvalidInputError, "ends in sigmoid"),
        (["- sigmoid"], Objective(label_smoothing=0.1), UsageError, "no label smoothing"),
        (["- softmax"], Objective(class_weights=(1.0,)), UsageError, "1 class weights for 2 classes"),
        ([], Objective("hinge"), UsageError, "unknown loss 'hinge'"),
    ],
)
def test_what_does_not_fit_is_refused(ending, objective, error, message):
    with pytest.raises(error, match=message):
        session_of(np.zeros((2, 2), np.float32), ending, objective)
