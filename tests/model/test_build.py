"""Documents become networks: names, order, blocks, expressions, joins, and errors with a place."""

from __future__ import annotations

import pytest

from cnncli.errors import InvalidInputError
from cnncli.model import load_model, parse_model
from cnncli.model.assembly import LayerError


def net(layers: str, head: str = "input: [8, 8, 3]") -> str:
    return f"{head}\nlayers:\n{layers}"


def failing(text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        parse_model(text, "net.yaml")
    return str(caught.value)


def test_options_become_nodes_of_their_own():
    model = parse_model(net("  - conv: {filters: 4, kernel: 3, bn: true, activation: relu}\n  - flatten\n  - dense: 2"))
    assert [node.name for node in model.nodes] == ["conv1", "bn1", "relu1", "flatten1", "fc1"]
    assert [node.owner for node in model.nodes] == [0, 0, 0, 3, 4]
    assert [node.inputs for node in model.nodes] == [(-1,), (0,), (1,), (2,), (3,)]
    # a convolution that is normalised has no bias
    assert list(model.nodes[0].params) == ["weight"]
    assert model.nodes[0].params["weight"].shape == (4, 3, 3, 3)


def test_slots_fill_one_vector_without_gaps():
    model = load_model("lenet5")
    names = [slot.name for slot in model.slots]
    assert names[:4] == ["conv1/weight", "conv1/bias", "conv2/weight", "conv2/bias"]
    offset = 0
    for slot in model.slots:
        assert slot.offset == offset
        offset += slot.size
    assert offset == model.parameter_count == 61706


def test_running_values_of_a_normalisation_are_not_trained():
    model = parse_model(net("  - batchnorm"))
    assert [slot.name for slot in model.slots] == ["bn1/weight", "bn1/bias"]
    assert [slot.name for slot in model.state_slots] == ["bn1/mean", "bn1/variance"]
    assert (model.parameter_count, model.non_trainable_count) == (6, 6)


def test_bias_can_be_kept_beside_a_normalisation():
    model = parse_model(net("  - conv: {filters: 4, kernel: 3, bn: true, bias: true}"))
    assert list(model.nodes[0].params) == ["weight", "bias"]


def test_defaults_fill_in_and_give_way():
    head = "input: [8, 8, 3]\ndefaults: {conv: {kernel: 5, activation: relu}, leaky_relu: {slope: 0.3}}"
    model = parse_model(net("  - conv: 4\n  - conv: {filters: 2, kernel: 1, activation: none}", head))
    assert [node.layer.kind for node in model.nodes] == ["conv", "relu", "conv"]
    assert model.nodes[2].layer.kernel == (1, 1)
    leaky = parse_model(net("  - conv: {filters: 1, kernel: 1, activation: leaky_relu}", head))
    assert leaky.nodes[1].layer.slope == 0.3


def test_blocks_have_parameters_defaults_and_repeats():
    head = """input: [16, 16, 3]
blocks:
  stage:
    params: {c: required, twice: 2*c}
    layers:
      - conv: {filters: c, kernel: 1}
      - conv: {filters: twice + in - c, kernel: 1}"""
    model = parse_model(net("  - stage: {c: 4, repeat: 2}\n  - stage: {c: in//2}", head))
    assert [node.out_shape[0] for node in model.nodes] == [4, 8, 4, 8, 4, 8]
    assert [node.scope for node in model.nodes] == [("stage1",)] * 2 + [("stage2",)] * 2 + [("stage3",)] * 2
    assert model.repeats == {("stage1",): "stage1-2", ("stage2",): "stage1-2"}


def test_names_within_blocks_carry_the_block():
    head = "input: [8, 8, 3]\nblocks: {b: {layers: [conv: {name: a, filters: 2, kernel: 1}]}}"
    model = parse_model(net("  - b\n  - b: {name: second}\n  - b: {repeat: 2, name: more}", head))
    assert [node.name for node in model.nodes] == ["b1/a", "second/a", "more1/a", "more2/a"]


@pytest.mark.parametrize(("shortcut", "kinds"), [
    ("", ["conv", "conv", "batchnorm", "add"]),
    (", shortcut: project", ["conv", "conv", "batchnorm", "add"]),
    (", shortcut: [maxpool: {size: 1, stride: 2}, conv: {filters: 6, kernel: 1}]", ["conv", "maxpool", "conv", "add"]),
])  # fmt: skip
def test_residual_shortcuts(shortcut, kinds):
    text = net(f"  - residual: {{main: [conv: {{filters: 6, kernel: 3, stride: 2, padding: 1}}]{shortcut}}}")
    model = parse_model(text)
    assert [node.layer.kind for node in model.nodes] == kinds
    assert model.output_shape == (6, 4, 4)


def test_residual_identity_where_shapes_agree():
    model = parse_model(net("  - residual: {main: [conv: {filters: 3, kernel: 3, padding: 1}], activation: relu}"))
    assert [node.layer.kind for node in model.nodes] == ["conv", "add", "relu"]
    assert model.nodes[1].inputs == (0, -1)


def test_concat_and_add_of_branches():
    text = net("  - concat: [[], [conv: {filters: 5, kernel: 1}], [maxpool: {size: 3, stride: 1, padding: 1}]]")
    model = parse_model(text)
    assert model.output_shape == (11, 8, 8)
    assert model.nodes[-1].inputs == (-1, 0, 1)
    added = parse_model(net("  - add: [[], [conv: {filters: 3, kernel: 1}]]"))
    assert added.nodes[-1].inputs == (-1, 0)


def test_any_graph_by_from():
    text = net("""  - conv: {name: a, filters: 4, kernel: 3, padding: 1, activation: relu}
  - conv: {name: b, filters: 4, kernel: 3, padding: 1}
  - conv: {from: a, filters: 4, kernel: 1}
  - add: {from: [a, b, conv1]}
  - concat: {from: [add1, input]}""")
    model = parse_model(text)
    assert [node.name for node in model.nodes] == ["a", "relu1", "b", "conv1", "add1", "concat1"]
    # `a` means what its activation made of it
    assert model.nodes[3].inputs == (1,)
    assert model.nodes[4].inputs == (1, 2, 3)
    assert model.nodes[5].inputs == (4, -1)
    assert model.output_shape == (7, 8, 8)


def test_same_padding_puts_the_odd_zero_last():
    model = parse_model(net("  - conv: {filters: 1, kernel: 2, padding: same}\n  - maxpool: {size: 2, padding: same}"))
    assert model.nodes[0].layer.padding == (0, 1, 0, 1)
    assert model.output_shape == (1, 4, 4)


def test_rounding_up_a_convolution_adds_zeros_at_the_end():
    model = parse_model(net("  - conv: {filters: 1, kernel: 3, stride: 2, round: ceil}"))
    assert model.output_shape == (1, 4, 4)
    assert model.nodes[0].layer.padding == (0, 1, 0, 1)
    assert model.nodes[0].layer.rounded == (1, 1)


def test_rounding_up_rows_and_columns_apart():
    """One axis has pixels left over, the other has none."""
    model = parse_model(net("  - conv: {filters: 1, kernel: [3, 2], stride: [2, 3], round: ceil}"))
    assert model.nodes[0].layer.padding == (0, 1, 0, 0)
    assert model.output_shape == (1, 4, 3)
    head = "input: [9, 7, 3]"
    model = parse_model(net("  - conv: {filters: 1, kernel: [3, 2], stride: [2, 3], round: ceil}", head))
    assert model.nodes[0].layer.padding == (0, 0, 0, 1)
    assert model.nodes[0].layer.rounded == (0, 1)
    assert model.output_shape == (1, 4, 3)


MISTAKES = {
    "  - conv: {filters: 3}": ["net.yaml:3:5", "conv needs kernel"],
    "  - conv: {filters: true, kernel: 3}": ["net.yaml:3:21", "whole number from 1", "got true"],
    "  - conv: {filters: 2.5, kernel: 3}": ["net.yaml:3:21", "got 2.5"],
    "  - conv: {filters: 0, kernel: 3}": ["net.yaml:3:21", "got 0"],
    "  - conv: {filters: -3, kernel: 3}": ["net.yaml:3:21", "got -3"],
    "  - conv: {filters: 1000000000000, kernel: 3}": ["net.yaml:3:21", "1,000,000"],
    f"  - conv: {{filters: {'9' * 5000}, kernel: 3}}": ["net.yaml:3:21", "a number of 5000 digits"],
    "  - conv: {filters: '3', kernel: 3}": ["net.yaml:3:21", "whole number"],
    "  - conv: {filters: [3], kernel: 3}": ["net.yaml:3:21", "a list"],
    "  - conv: {filters: 3, kernel: [3, 3, 3]}": ["net.yaml:3:32", "3 values"],
    "  - conv: {filters: 3, kernel: 9}": ["net.yaml:3:5", "layer 1 (conv)", "9x9 kernel", "8x8 input"],
    "  - conv: {filters: 3, kernel: 3, padding: sme}": ["net.yaml:3:44", "did you mean same?"],
    "  - conv: {filters: 3, kernel: 3, activation: rleu}": ["net.yaml:3:47", "did you mean relu?"],
    "  - conv: {filters: 3, kernel: 3, bn: 1}": ["net.yaml:3:39", "true or false, got 1"],
    "  - conv: {filters: 3, kernel: 3, init: he-norml}": ["net.yaml:3:41", "did you mean he_normal?"],
    "  - conv: {filters: 4, kernel: 3, groups: 2}": ["net.yaml:3:5", "groups=2 must divide both 3"],
    "  - conv: {filters: 4*j, kernel: 3}": ["net.yaml:3:21", "unknown name 'j'"],
    "  - dense: 3": ["net.yaml:3:5", "layer 1 (dense)", "8x8x3", "flatten"],
    "  - flatten\n  - conv: {filters: 3, kernel: 1}": ["net.yaml:4:5", "layer 2 (conv)", "vector of 192"],
    "  - dropout: 1.0": ["net.yaml:3:14", "below 1, got 1.0"],
    "  - dropout: .nan": ["net.yaml:3:14", "below 1"],
    "  - dropout: 1e-3x": ["net.yaml:3:14", "text '1e-3x'"],
    "  - batchnorm: {eps: 0}": ["net.yaml:3:22", "above 0"],
    "  - batchnorm: {momentum: 2}": ["net.yaml:3:27", "below 1"],
    "  - maxpool: {size: 2, padding: 2}": ["net.yaml:3:5", "padding alone"],
    "  - pad: same": ["net.yaml:3:10", "expected numbers"],
    "  - relu: {repeat: 0}": ["net.yaml:3:20", "from 1 to 1,000"],
    "  - relu: {repeat: 1000000000}": ["net.yaml:3:20", "from 1 to 1,000"],
    "  - add: {from: [a, b]}": ["net.yaml:3:18", "no layer named 'a'"],
    "  - relu: {name: x}\n  - relu: {name: x}": ["net.yaml:4:18", "used twice"],
    "  - relu: {name: x}\n  - relu: {from: [x, input]}": ["net.yaml:4:22", "takes one input"],
    "  - add: [[conv: {filters: 2, kernel: 1}], []]": ["net.yaml:3:5", "cannot add 8x8x2 and 8x8x3"],
    "  - concat: [[maxpool: 2], []]": ["net.yaml:3:5", "cannot concatenate 4x4x3 and 8x8x3"],
    "  - residual: {main: [maxpool: 2], shortcut: identity}": ["net.yaml:3:5", "4x4x3", "8x8x3", "auto or project"],
    "  - flatten\n  - dense: 1000000\n  - dense: 1000000": ["net.yaml:5:5", "GiB", "1,000,000,000"],
    "  - concat: {from: [input]}": ["net.yaml:3:5", "joins two or more inputs"],
    "  - relu: {name: x}\n  - concat: {from: [x, input], branches: [[relu], [relu]]}": [
        "net.yaml:4:24",
        "branches read one input",
    ],
    "  - residual: {main: [flatten], shortcut: project}": ["net.yaml:3:5", "192", "8x8x3", "number of axes"],
    "  - residual: {main: [flatten], shortcut: auto}": ["net.yaml:3:5", "192", "8x8x3"],
    "  - relu: {name: a/b}": ["net.yaml:3:18", "cannot be a name"],
    "  - dense: {units: 3, activation: [relu]}": ["net.yaml:3:35", "activation", "a list"],
    "  - upsample: 0": ["net.yaml:3:15", "from 1 to 64, got 0"],
    "  - conv: {filters: 1, kernel: 3, padding: [1, 2, 3]}": ["net.yaml:3:44", "3 values"],
    "  - conv: {filters: 1, kernel: 3, init: 3}": ["net.yaml:3:41", "rule such as he_normal"],
    "  - dense: classes": ["net.yaml:3:12", "`classes` is not set"],
}


@pytest.mark.parametrize("layers", list(MISTAKES), ids=lambda text: text.strip()[:50])
def test_mistakes_are_located(layers):
    message = failing(net(layers))
    for word in MISTAKES[layers]:
        assert word in message, message
    assert "\n" not in message


def test_blocks_that_contain_themselves():
    head = "input: [8, 8, 3]\nblocks: {a: {layers: [b]}, b: {layers: [a]}}"
    assert "contains itself (a > b > a)" in failing(net("  - a", head))


def test_a_required_parameter_is_asked_for():
    head = "input: [8, 8, 3]\nblocks: {a: {params: [c], layers: [conv: {filters: c, kernel: 1}]}}"
    assert "net.yaml:4:5: block a needs a value for c" in failing(net("  - a", head))
    assert parse_model(net("  - a: 5", head)).output_shape == (5, 8, 8)


def test_growth_without_end_is_stopped():
    blocks = "\n".join(f"  b{i}: {{layers: [b{i + 1}, b{i + 1}]}}" for i in range(20))
    head = f"input: [8, 8, 3]\nblocks:\n{blocks}\n  b20: {{layers: [concat: [[], []]]}}"
    message = failing(net("  - b0", head))
    assert "1,000 layers" in message or "10,000 entries" in message or "values" in message


def test_too_many_layers():
    assert "more than 1,000 layers" in failing(net("  - relu: {repeat: 999}\n  - relu: {repeat: 2}"))


def test_the_error_carries_the_layers_before_it():
    with pytest.raises(LayerError) as caught:
        parse_model(net("  - maxpool: 4\n  - maxpool: 3"), "net.yaml")
    assert [node.name for node in caught.value.done] == ["pool1"]
    assert caught.value.input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("  - conv: {filters: 3, kernal: 3}", ["net.yaml:5:24", "the layers above give 4x4x3", "kernel?"]),
        ("  - dense: 2.5", ["net.yaml:5:12", "layer 3 (dense): units: expected a whole number", "got 2.5"]),
        ("  - cnov: 3", ["net.yaml:5:5", "unknown layer 'cnov'", "4x4x3"]),
    ],
)
def test_what_is_written_wrongly_knows_the_shape_reached(last, words):
    with pytest.raises(LayerError) as caught:
        parse_model(net(f"  - relu\n  - maxpool: 2\n{last}"), "net.yaml")
    assert [node.name for node in caught.value.done] == ["relu1", "pool1"]
    for word in words:
        assert word in str(caught.value)


def test_input_and_classes_can_be_given_from_outside():
    model = load_model("lenet5", input_shape=(3, 32, 32), classes=7)
    assert (model.input_shape, model.output_shape, model.classes) == ((3, 32, 32), (7,), 7)


def test_an_unknown_source_names_the_nearest_preset():
    with pytest.raises(InvalidInputError, match="did you mean lenet5"):
        load_model("lenet6")
