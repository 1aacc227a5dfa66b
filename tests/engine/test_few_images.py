"""Few images are predicted one at a time, with channels in the lanes: every bit is the one of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graph_models import INPUT, graphs, model_of, random_images
from hypothesis import given, settings
from small_networks import MANY_KINDS, NETWORKS, build

from cnncli.engine import plan
from cnncli.engine.few import images as few_images
from cnncli.engine.session import Session
from cnncli.layers import Conv2D, Dense, Flatten
from cnncli.model import load_model


def sessions(model, monkeypatch, dtype="float32", threads=2):
    """Return a session that predicts up to 15 images one at a time, and one that never does, on equal parameters."""
    made = []
    for efficiency in (1e9, 0.0):
        monkeypatch.setattr(few_images, "_EFFICIENCY", efficiency)
        session = Session(model, batch_size=32, threads=threads, dtype=dtype, mean=(0.4,), std=(0.3,))
        rng = np.random.default_rng(7)
        session.parameters[:] += rng.normal(0, 0.1, model.parameter_count)
        session.statistics[:] += rng.uniform(0, 0.5, model.non_trainable_count)
        made.append(session)
    return made


def assert_same_bits(model, monkeypatch, counts=(1, 2, 7, 16, 17), **options):
    one_by_one, batch = sessions(model, monkeypatch, **options)
    images, _ = random_images(model, max(counts))
    wanted = batch.answer(images)
    assert np.abs(wanted[1]).max() > 0
    for count in counts:
        for found, rows in zip(one_by_one.answer(images[:count]), wanted, strict=True):
            assert found.tobytes() == rows[:count].tobytes(), count
    return one_by_one


def is_used(session):
    return session._few._program is not None


@pytest.mark.parametrize("is_shared", [False, True], ids=["one thread", "shared out"])
def test_many_kinds_of_layers(is_shared, monkeypatch):
    if is_shared:
        monkeypatch.setattr(plan, "SHARED_MACS", -1)
    assert is_used(assert_same_bits(build(*MANY_KINDS), monkeypatch))


@pytest.mark.parametrize("is_shared", [False, True], ids=["one thread", "shared out"])
def test_stride_2_with_fewer_multiplications(is_shared, monkeypatch):
    if is_shared:
        monkeypatch.setattr(plan, "SHARED_MACS", -1)
    layers = [
        (Conv2D(33, (1, 1)), (-1,)),
        (Conv2D(100, (3, 3), (2, 2), (1, 1, 1, 0)), (0,)),
        (Conv2D(49, (3, 3), (2, 2), (0, 2, 1, 1), bias=False), (1,)),
        (Flatten(), (2,)),
        (Dense(3), (3,)),
    ]
    assert is_used(assert_same_bits(model_of((2, 18, 19), layers), monkeypatch))


@pytest.mark.slow
def test_lenet(monkeypatch):
    assert is_used(assert_same_bits(load_model("lenet5"), monkeypatch))


NOT_FOR_FEW = {
    "groups", "transposed convolution", "transposed convolution with gaps", "norms of each image", "lrn",
    "lrn with any power", "locally connected", "reshape", "windows larger than their input", "dense only",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks(name, monkeypatch):
    assert is_used(assert_same_bits(build(*NETWORKS[name]), monkeypatch)) == (name not in NOT_FOR_FEW)


@pytest.mark.slow
@settings(max_examples=8)
@given(graphs())
def test_any_graph(model):
    with pytest.MonkeyPatch.context() as patch:
        assert_same_bits(model, patch, counts=(1, 3), dtype="float64", threads=1)


def test_parameters_that_are_written_between_two_predictions_count(monkeypatch):
    model = model_of(INPUT, [(Conv2D(5, (2, 2)), (-1,)), (Flatten(), (0,)), (Dense(3), (1,))])
    one_by_one, batch = sessions(model, monkeypatch)
    images, _ = random_images(model, 1)
    held = [session.parameters[3:] for session in (one_by_one, batch)]  # a part of what the property returns
    found = set()
    for change in range(3):
        for part in held:
            part += 0.1 * change
        answer = one_by_one.predict(images)
        assert answer.tobytes() == batch.predict(images).tobytes()
        found.add(answer.tobytes())
    del held, part
    for session in (one_by_one, batch):
        session.named()["conv0/weight"][0] = 1
    answer = one_by_one.predict(images)
    assert answer.tobytes() == batch.predict(images).tobytes()
    assert len(found | {answer.tobytes()}) == 4


def test_training_between_two_predictions_counts(monkeypatch):
    monkeypatch.setattr(few_images, "_EFFICIENCY", 1e9)
    model = model_of(INPUT, [(Conv2D(5, (2, 2)), (-1,)), (Flatten(), (0,)), (Dense(3), (1,))])
    images, labels = random_images(model, 20)
    session = Session(model, batch_size=20, threads=2, optimizer="sgd")
    before = session.predict(images[:1])
    session.train_batch(images, labels, np.arange(20), 0.1, (0, 0))
    after = session.predict(images[:1])
    assert is_used(session)
    assert after.tobytes() != before.tobytes()
    assert after.tobytes() == session.predict(images)[:1].tobytes()


def test_the_second_way_takes_memory_only_when_it_is_used(monkeypatch):
    monkeypatch.setattr(few_images, "_EFFICIENCY", 0.9)
    model = model_of(INPUT, [(Conv2D(16, (2, 2)), (-1,)), (Flatten(), (0,)), (Dense(3), (1,))])
    images, _ = random_images(model, 32)
    session = Session(model, batch_size=32, threads=2)
    size = session.memory_bytes
    whole = session.predict(images)
    assert session.memory_bytes == size
    assert session.predict(images[:1]).tobytes() == whole[:1].tobytes()
    assert is_used(session)
    assert session.memory_bytes > size


SCRIPT = """
import pytest
from small_networks import MANY_KINDS, build
from test_few_images import assert_same_bits, is_used
with pytest.MonkeyPatch.context() as patch:
    assert is_used(assert_same_bits(build(*MANY_KINDS), patch))
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", ["4", "8"])
def test_other_widths_of_vectors(width):
    here = Path(__file__).parent
    places = os.pathsep.join([str(here), str(here.parent)])
    environment = os.environ | {"CNN_SIMD": width, "PYTHONPATH": places}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=600)
