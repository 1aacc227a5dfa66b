"""Losses, gradients and answers against PyTorch in float64, with logits that overflow what is computed carelessly."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_networks import build  # noqa: E402

from cnncli.engine.losses import Objective  # noqa: E402
from cnncli.engine.session import Session  # noqa: E402

pytestmark = pytest.mark.peers

LOGITS = [1.0, 30.0, 1e4, 1e30]
WEIGHTS = (0.5, 2.0, 0.0, 1.25)


def session_of(units, objective, logits, dtype="float64", ending=()):
    """Return a session whose logits are `logits` for images of which one pixel each is 255, and the images."""
    count = len(logits)
    model = build([1, count, 1], "- flatten", f"- dense: {{units: {units}, bias: false}}", *ending)
    session = Session(model, batch_size=20, threads=2, optimizer="sgd", dtype=dtype, objective=objective)
    session.parameters[:] = logits.T.ravel()
    return session, np.diag([255] * count).astype(np.uint8).reshape(count, 1, count, 1)


def drawn(units, scale, count=19):
    random = np.random.default_rng(5)
    return random, random.uniform(-1, 1, (count, units)) * scale


def gradients(session, logits):
    """Return the gradient of the mean loss by the logits: each image has weights of its own."""
    return session.gradients.reshape(logits.shape[1], len(logits)).T


@pytest.mark.parametrize("scale", LOGITS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("ending", [(), ("- softmax",)])
def test_cross_entropy(scale, smoothing, weights, ending):
    random, logits = drawn(4, scale)
    labels = random.integers(0, 4, len(logits))
    objective = Objective("auto", smoothing, weights)
    session, images = session_of(4, objective, logits, ending=ending)
    z = torch.tensor(logits, requires_grad=True)
    factors = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    peer = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, weight=factors)(z, torch.tensor(labels))
    peer.backward()
    plain = torch.nn.functional.cross_entropy(z, torch.tensor(labels)).item()
    assert session.evaluate(images, labels) == (pytest.approx(plain, rel=1e-12), (logits.argmax(1) == labels).mean())
    loss, _ = session.train_batch(images, labels, np.arange(len(logits)), 0.0, (1, 0))
    total = len(labels) if weights is None else sum(weights[label] for label in labels)
    assert loss / total == pytest.approx(peer.item(), rel=1e-12)
    np.testing.assert_allclose(gradients(session, logits), z.grad.numpy(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("scale", LOGITS)
@pytest.mark.parametrize("units", [1, 3])
def test_binary_cross_entropy(scale, units):
    random, logits = drawn(units, scale)
    targets = random.integers(0, 2, logits.shape)
    session, images = session_of(units, Objective(), logits, ending=("- sigmoid",))
    given = targets[:, 0] if units == 1 else targets
    z = torch.tensor(logits, requires_grad=True)
    peer = torch.nn.BCEWithLogitsLoss()(z, torch.tensor(targets, dtype=torch.float64))
    peer.backward()
    right = ((logits > 0) == targets).all(1).sum()
    loss, hits = session.train_batch(images, given, np.arange(len(logits)), 0.0, (1, 0))
    assert (loss / len(logits), hits) == (pytest.approx(peer.item(), rel=1e-12), right)
    np.testing.assert_allclose(gradients(session, logits), z.grad.numpy(), rtol=1e-9, atol=1e-14)
    assert session.evaluate(images, given) == (pytest.approx(peer.item(), rel=1e-12), right / len(logits))
    np.testing.assert_allclose(session.predict(images), torch.sigmoid(z).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("scale", LOGITS)
def test_mean_squared_error(scale):
    random, outputs = drawn(3, scale)
    targets = random.normal(0, 2, outputs.shape)
    session, images = session_of(3, Objective("mse"), outputs)
    z = torch.tensor(outputs, requires_grad=True)
    peer = torch.nn.MSELoss()(z, torch.tensor(targets))
    peer.backward()
    loss, hits = session.train_batch(images, targets, np.arange(len(outputs)), 0.0, (1, 0))
    assert (loss / len(outputs), hits) == (pytest.approx(peer.item(), rel=1e-12), 0)
    np.testing.assert_allclose(gradients(session, outputs), z.grad.numpy(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(session.predict(images), outputs, rtol=1e-12)
