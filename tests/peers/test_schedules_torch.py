"""Learning-rate schedules against PyTorch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cnncli.optim.schedules import Plateau, learning_rate  # noqa: E402

pytestmark = pytest.mark.peers


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


@pytest.mark.parametrize("total", [10, 33, 200])
def test_one_cycle(total):
    rule = optimizer()
    schedule = torch.optim.lr_scheduler.OneCycleLR(rule, max_lr=0.1, total_steps=total)
    for step in range(total):
        assert learning_rate("one-cycle", 0.1, step, total) == pytest.approx(rule.param_groups[0]["lr"], rel=1e-9)
        rule.step()
        if step + 1 < total:
            schedule.step()


def test_plateau():
    rule, ours = optimizer(), Plateau()
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(rule, factor=0.1, patience=3, eps=0)
    losses = np.abs(np.random.default_rng(2).normal(1, 0.3, 60)) / np.arange(1, 61) ** 0.2
    for loss in losses.tolist():
        schedule.step(loss)
        ours.add(loss)
        assert 0.1 * ours.factor == pytest.approx(rule.param_groups[0]["lr"], rel=1e-9)
    assert ours.factor < 0.01
