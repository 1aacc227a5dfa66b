"""Rows, collapsed blocks and memory."""

from __future__ import annotations

import pytest

from cnncli.model import load_model
from cnncli.model.sources import preset_names
from cnncli.model.summary import collapse, memory, rows_of


@pytest.mark.parametrize("name", preset_names())
def test_rows_add_up_however_they_are_collapsed(name):
    model = load_model(name)
    rows = rows_of(model)
    for depth in (1, 2, None):
        for repeats in (None, model.repeats):
            shown = collapse(rows, depth, repeats)
            assert sum(row.trainable for row in shown) == model.parameter_count
            assert sum(row.non_trainable for row in shown) == model.non_trainable_count
            assert sum(row.macs for row in shown) == model.macs
            assert shown[-1].output == model.output_shape
            assert len({row.name for row in shown}) == len(shown)


def test_options_ride_along_and_parameters_have_a_row():
    rows = rows_of(load_model("resnet18"))
    assert [(row.name, row.activations) for row in rows[:2]] == [("conv1", ()), ("bn1", ("relu",))]
    assert [row.name for row in rows_of(load_model("lenet5"))] == [
        "conv1", "pool1", "conv2", "pool2", "flatten1", "fc1", "fc2", "fc3", "softmax1",
    ]  # fmt: skip


def test_repeats_are_one_row():
    model = load_model("densenet121")
    names = [row.name for row in collapse(rows_of(model), 2, model.repeats)]
    assert "dense_layer1-6" in names
    assert "dense_layer43-58" in names
    assert len(names) < 30


def test_memory_of_training():
    model = load_model("lecture")
    values = 3072 + 2 * 6272 + 1568 + 2 * 1600 + 400 + 400 + 2 * 120 + 2 * 84 + 2 * 10
    one = memory(model, 1, "sgd")
    assert one.parameters == 4 * 62958
    assert one.activations == 4 * values
    assert one.training == 4 * (62958 * 3 + 2 * values)
    many = memory(model, 64, "adam")
    assert many.activations == 64 * one.activations
    assert many.training == 4 * 62958 * 4 + 2 * many.activations
