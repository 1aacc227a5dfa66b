"""Twelve networks in float32 against results that PyTorch computed once in float64 (make_torch_networks.py)."""

from pathlib import Path

import numpy as np
import pytest
from golden_networks import COUNT, NETWORKS, RATES, SEED, SEEDS, first_parameters, network, setting, targets

from cnncli.engine.session import Session

with np.load(Path(__file__).with_name("torch_networks.npz")) as file:
    GOLDEN = dict(file)


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_trained_as_torch_trained_it(name, rule):
    model, seed = network(name), SEEDS.get(name, SEED)
    images, labels, _ = setting(model, seed)
    session = Session(model, batch_size=COUNT, threads=2, optimizer=rule, mean=(0.5,), std=(0.5,))
    session.parameters[:] = first_parameters(model, seed)
    for step, wanted in enumerate(GOLDEN[f"{name}: {rule}: losses"]):
        loss, _ = session.train_batch(images, targets(model, labels), np.arange(COUNT), RATES[rule], (0, step))
        assert loss / COUNT == pytest.approx(wanted, rel=1e-4), step
        if step == 0:
            gradient = GOLDEN[f"{name}: gradient"]
            np.testing.assert_allclose(session.gradients, gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max())
    last = np.concatenate([session.parameters, session.statistics])
    wanted = GOLDEN[f"{name}: {rule}: last"]
    np.testing.assert_allclose(last, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
