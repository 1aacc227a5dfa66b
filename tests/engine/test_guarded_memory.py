"""Kernels work on bare addresses: with guard zones around every array, nothing outside of the arrays may change."""

import numpy as np
import pytest
from graph_models import graphs
from hypothesis import given, settings
from small_networks import MANY_KINDS, NETWORKS, build

from cnncli.engine import memory, placement, plan, record
from cnncli.engine.session import Session
from cnncli.model import load_model

GUARD = 1 << 14
ZONES = []


def guarded_zeros(self, elements, dtype=""):
    kind = np.dtype(dtype) if dtype else self.dtype
    size = elements * kind.itemsize
    raw = np.full(size + 2 * GUARD + 64, 0xA5, np.uint8)
    start = GUARD + -(raw.ctypes.data + GUARD) % 64
    raw[start : start + size] = 0
    ZONES.append((raw, start, start + size))
    self.size_bytes += raw.nbytes
    return raw[start : start + size].view(kind)


def check_guards():
    assert ZONES
    for raw, start, end in ZONES:
        assert (raw[:start] == 0xA5).all()
        assert (raw[end:] == 0xA5).all()


@pytest.fixture(autouse=True)
def guard(monkeypatch):
    ZONES.clear()
    monkeypatch.setattr(memory.Memory, "zeros", guarded_zeros)


def exercise(model, count, batch_size, optimizer="adam"):
    rng = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    labels = rng.integers(0, model.output_shape[0], count)
    session = Session(model, batch_size=batch_size, threads=2, optimizer=optimizer)
    for step in range(3):
        session.train_batch(images, labels, np.arange(min(count, batch_size)), 1e-3, (0, step))
    session.predict(images)
    session.evaluate(images, labels)
    check_guards()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("is_tight", [False, True], ids=["room for all", "little memory"])
def test_nothing_is_written_outside(name, is_tight, monkeypatch):
    if is_tight:  # few partial gradients, and every byte is used again
        monkeypatch.setattr(record, "PARTIAL_LIMIT", 0)
        monkeypatch.setattr(placement, "APART_BYTES", 0)
    exercise(build(*NETWORKS[name]), count=40, batch_size=40)


@pytest.mark.parametrize("preset", ["lenet5", "digits", "lecture"])
def test_presets(preset):
    exercise(load_model(preset), count=70, batch_size=70)


@settings(max_examples=10)
@given(graphs())
def test_any_graph(model):
    ZONES.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARED_MACS", -1)  # layer by layer, each shared out over the threads
        patch.setattr(record, "PARTIAL_LIMIT", 0)
        patch.setattr(placement, "APART_BYTES", 0)
        exercise(model, count=21, batch_size=21)


def test_wide_layers():
    layers = ("- conv: {filters: 72, kernel: 3, padding: same, activation: relu}", "- conv: {filters: 80, kernel: 3}",
              "- maxpool: 2", "- flatten", "- dense: classes")  # fmt: skip
    exercise(build([10, 10, 3], *layers), count=100, batch_size=100)


def test_few_images():
    model = build(*MANY_KINDS)
    images = np.random.default_rng(0).integers(0, 256, (3, 13, 11, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARED_MACS", -1)
        patch.setattr(placement, "APART_BYTES", 0)
        session = Session(model, batch_size=16, threads=2)
        zones = len(ZONES)
        session.predict(images)
    assert len(ZONES) > zones
    check_guards()


def test_activations():
    layers = ("- prelu", "- conv: {filters: 5, kernel: 3, padding: same, activation: gelu}", "- prelu", "- softmax",
              "- conv: {filters: 3, kernel: 3, activation: elu}", "- flatten", "- dense: {units: 9, activation: tanh}",
              "- prelu", "- dense: classes")  # fmt: skip
    exercise(build([7, 6, 2], *layers), count=70, batch_size=70)
