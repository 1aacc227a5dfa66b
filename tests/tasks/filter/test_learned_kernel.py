"""Learned kernels as image filters: `RUN:conv1[3]`."""

import numpy as np
import pytest

from cnncli.errors import InvalidInputError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.io.checkpoint import Checkpoint, write_checkpoint
from cnncli.io.preprocessing import Preprocessing
from cnncli.tasks.filter.read_steps import parse_steps

WEIGHTS = np.random.default_rng(0).standard_normal((4, 1, 5, 5)).astype(np.float32)
DEEP = np.random.default_rng(1).standard_normal((2, 3, 3, 3)).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "net.safetensors"
    arrays = {
        "conv1/weight": WEIGHTS,
        "conv1/bias": np.arange(4, dtype=np.float32),
        "block/conv2/weight": DEEP,
        "fc/weight": np.ones((3, 4), np.float32),
    }
    write_checkpoint(path, Checkpoint(arrays, "layers: []\n", ("a", "b"), Preprocessing((1, 8, 8), (0.5,), (0.5,))))
    return path


def test_one_filter_with_its_bias(checkpoint):
    (step,) = parse_steps([f"{checkpoint}:conv1[3]"])
    assert np.array_equal(step.kernel.weights[0, 0], WEIGHTS[3, 0].astype(float))
    assert step.kernel.biases.tolist() == [3]
    image = np.random.default_rng(2).random((20, 20, 3))
    assert apply_filter(image, FilterPlan((step,))).pixels.shape == (20, 20, 3)


def test_filters_over_colours_and_all_filters_at_once(checkpoint):
    (one,) = parse_steps([f"{checkpoint}:block/conv2[1]"])
    assert np.array_equal(one.kernel.weights, DEEP[1:].astype(float))
    (all_of_them,) = parse_steps([f"{checkpoint}:block/conv2[*]"])
    image = np.random.default_rng(2).random((20, 20, 3))
    both = apply_filter(image, FilterPlan((all_of_them,))).pixels
    assert np.array_equal(both[..., 1:], apply_filter(image, FilterPlan((one,))).pixels)


@pytest.mark.parametrize(
    ("layer", "message"),
    [("conv[0]", "did you mean conv1"), ("fc[0]", "has no kernels"), ("conv1[4]", "4 filters, counted from 0")],
)
def test_layers_and_filters_that_are_not_there(checkpoint, layer, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_steps([f"{checkpoint}:{layer}"])
