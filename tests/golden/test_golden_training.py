"""A tiny network against numbers that PyTorch computed once (make_torch_training.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from cnncli.engine.session import Session
from cnncli.model import parse_model

GOLDEN = json.loads(Path(__file__).with_name("torch_training.json").read_text())


def test_probabilities_gradient_and_ten_losses():
    images, labels = np.array(GOLDEN["images"], np.uint8), np.array(GOLDEN["labels"])
    model = parse_model(GOLDEN["architecture"], "tiny.yaml")
    session = Session(model, batch_size=8, threads=2, optimizer="momentum", dtype="float64")
    session.parameters[:] = GOLDEN["parameters"]
    np.testing.assert_allclose(session.predict(images), GOLDEN["probabilities"], rtol=1e-9)
    picks = np.arange(8)
    for step, wanted in enumerate(GOLDEN["losses"]):
        loss, _ = session.train_batch(images, labels, picks, 0.2, (0, step))
        assert loss / 8 == pytest.approx(wanted, rel=1e-9)
        if step == 0:
            np.testing.assert_allclose(session.gradients, GOLDEN["gradient"], rtol=1e-9, atol=1e-12)


def test_float32_is_close():
    images = np.array(GOLDEN["images"], np.uint8)
    session = Session(parse_model(GOLDEN["architecture"], "tiny.yaml"), batch_size=8, threads=2)
    session.parameters[:] = GOLDEN["parameters"]
    np.testing.assert_allclose(session.predict(images), GOLDEN["probabilities"], rtol=1e-5)
