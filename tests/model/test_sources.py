"""Sources of networks; the text of a model describes it completely."""

from __future__ import annotations

import numpy as np
import pytest

from cnncli.errors import InvalidInputError
from cnncli.io.checkpoint import Checkpoint, write_checkpoint
from cnncli.io.preprocessing import Preprocessing
from cnncli.model import load_model, parse_model
from cnncli.model.sources import ALIASES, preset_names, read_source


def computed(model):
    return [(node.name, node.layer, node.inputs, node.out_shape, node.params) for node in model.nodes]


@pytest.mark.parametrize("name", preset_names())
def test_a_changed_network_is_what_its_text_says(name):
    given = load_model(name)
    shape = (given.input_shape[0], given.input_shape[1] + 32, given.input_shape[2] + 32)
    changed = load_model(name, input_shape=shape, classes=7)
    again = parse_model(changed.text, name)
    assert computed(again) == computed(changed)
    assert again.text == changed.text
    assert again.input_shape == shape
    assert again.classes == 7
    # comments of the author are still there
    assert changed.text.splitlines()[0] == given.text.splitlines()[0]


def test_nothing_is_rewritten_without_need():
    model = load_model("lenet5", input_shape=(1, 28, 28), classes=10)
    assert model.text == load_model("lenet5").text


def test_keys_over_several_lines_and_in_any_order():
    text = "layers:\n  - flatten\n  - dense: classes\n# the image\ninput:\n  - 8\n  - 8\n  - 1\n\nclasses:\n  3\n"
    model = parse_model(text, input_shape=(1, 9, 9), classes=4)
    assert computed(parse_model(model.text)) == computed(model)
    assert "# the image" in model.text


def test_aliases_lead_to_presets():
    for alias, name in ALIASES.items():
        assert name in preset_names()
        assert load_model(alias).name == name


def test_a_checkpoint_is_a_source(tmp_path):
    text = "input: [2, 2, 1]\nlayers: [flatten, dense: 2]"
    model = parse_model(text)
    weights = {slot.name: np.zeros(slot.shape, np.float32) for slot in model.slots}
    preprocessing = Preprocessing((1, 2, 2), (0.0,), (1.0,))
    path = tmp_path / "best.safetensors"
    write_checkpoint(path, Checkpoint(weights, text, ("a", "b"), preprocessing))
    assert load_model(str(path)).parameter_count == 10
    assert read_source(str(path)).text == text


def test_missing_files_are_helped(tmp_path):
    with pytest.raises(InvalidInputError, match="did you mean resnet50"):
        load_model("resnet55")
    with pytest.raises(InvalidInputError, match=r"nothing\.yaml"):
        load_model(str(tmp_path / "nothing.yaml"))
