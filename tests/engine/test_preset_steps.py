"""Every preset that can run takes three steps on one batch, and its loss falls.

Large ones take pictures of 64x64: the layers, and so the kernels, are those of their own size, in a twelfth of
the time.
"""

from pathlib import Path

import numpy as np
import pytest
from graph_models import random_images

import cnncli
from cnncli.engine.layout import session_bytes
from cnncli.engine.session import Session
from cnncli.engine.update import Recipe
from cnncli.model import load_model

PRESETS = sorted(path.stem for path in (Path(cnncli.__file__).parent / "presets").glob("*.yaml"))
SMALL = 30_000_000  # multiply-accumulates per image of what the default run trains


def small_enough(name):
    """Return the preset for its own size, or for 64x64 where that takes long; ResNet-18 stands for the own sizes."""
    model = load_model(name)
    if model.macs <= SMALL or name == "resnet18":
        return model
    return load_model(name, input_shape=(model.input_shape[0], 64, 64))


def needed(model):
    return session_bytes(model, batch_size=2, threads=2, recipe=Recipe("sgd"))


def free_bytes():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def cases():
    found = []
    for name in PRESETS:
        marks = [pytest.mark.slow] if load_model(name).macs > SMALL else []
        found.append(pytest.param(name, marks=marks, id=name))
    return found


@pytest.mark.parametrize("name", cases())
def test_three_steps_lower_the_loss(name):
    model = small_enough(name)
    if len(model.output_shape) != 1:
        pytest.skip("its output is a map: no loss takes one")
    if Path("/proc/meminfo").exists() and needed(model) > 0.8 * free_bytes():
        pytest.skip(f"needs {needed(model) / 1e9:.1f} GB")
    images, labels = random_images(model, 2)
    if model.output_shape == (1,):  # one unit tells two classes apart
        labels = np.array([0, 1])
    session = Session(model, batch_size=2, threads=2, optimizer="sgd", mean=(0.5,), std=(0.25,))
    losses = [session.train_batch(images, labels, np.arange(2), 1e-3, (0, 0))[0] for _ in range(4)]
    assert np.isfinite(losses).all()
    assert losses[3] < losses[0]
    assert np.isfinite(session.predict(images)).all()
