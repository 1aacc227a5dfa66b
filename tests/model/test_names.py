"""Names of layers and blocks: each is unique, and an automatic name is never one that the file uses."""

from __future__ import annotations

import pytest
from command_line import expect_error, run_cnn

from cnncli.model import parse_model
from cnncli.model.summary import collapse, rows_of

BLOCKS = """blocks:
  a: {params: [f], layers: [conv: {filters: f, kernel: 1}]}
  a1: {params: [f], layers: [conv: {filters: f, kernel: 3, padding: same}]}
input: [8, 8, 3]
layers:
"""


def rows(text, depth=1):
    model = parse_model(text)
    return [(row.name, row.params) for row in collapse(rows_of(model), depth, model.repeats)]


def test_blocks_whose_names_end_in_digits():
    found = rows(BLOCKS + "  - a1: 100\n  - a: {f: 10, repeat: 12}\n")
    assert len(found) == 2
    assert [params for _, params in found] == [2800, 1010 + 11 * 110]
    names = {node.scope for node in parse_model(BLOCKS + "  - a1: 100\n  - a: {f: 10, repeat: 12}\n").nodes}
    assert len(names) == 13


def test_named_layers_in_such_blocks():
    text = BLOCKS.replace("kernel: 1}", "kernel: 1, name: c}").replace("padding: same}", "padding: same, name: c}")
    model = parse_model(text + "  - a1: 100\n  - a: {f: 10, repeat: 12}\n")
    names = [node.name for node in model.nodes]
    assert len(set(names)) == len(names) == 13


@pytest.mark.parametrize(
    "layers",
    [
        "  - a: {f: 3, name: a1}\n  - a: 4\n",
        "  - a: 3\n  - a: {f: 4, name: a1}\n",
        "  - a: {f: 3, name: a2}\n  - a: {f: 4, repeat: 3}\n",
    ],
)
def test_a_call_with_the_name_of_another(layers):
    model = parse_model(BLOCKS + layers)
    assert len({node.scope for node in model.nodes}) == len(model.nodes)


def test_two_calls_of_one_name_are_refused():
    expect_error(
        run_cnn("params", "-", stdin=BLOCKS + "  - a: {f: 3, name: x}\n  - a1: {f: 3, name: x}\n"),
        3,
        "<stdin>:7:22",
        "'x' is used twice",
    )


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("relu, relu: {name: relu1}", ["relu2", "relu1"]),
        ("relu, relu: {name: relu, repeat: 2}, relu", ["relu3", "relu1", "relu2", "relu4"]),
        ("relu: {name: relu, repeat: 2}, relu", ["relu1", "relu2", "relu3"]),
        ("concat: [[relu], [relu: {name: relu1}]]", ["relu2", "relu1", "concat1"]),
        ("relu, relu: {name: relu3}, relu, relu", ["relu1", "relu3", "relu2", "relu4"]),
    ],
)
def test_a_written_name_comes_before_an_automatic_one(layers, names):
    assert [node.name for node in parse_model(f"input: [4, 4, 1]\nlayers: [{layers}]").nodes] == names


def test_input_is_no_name():
    text = "input: [8, 8, 3]\nlayers: [conv: {name: input, filters: 1, kernel: 3}, relu: {from: input}]"
    expect_error(run_cnn("params", "-", stdin=text), 3, "<stdin>:2:23", "'input' is the input of the network")


def test_a_layer_in_a_block_is_read_by_its_name_in_the_table():
    text = """input: [8, 8, 3]
blocks: {down: {layers: [conv: {name: c, filters: 4, kernel: 3, padding: same, activation: relu}, maxpool: 2]}}
layers:
  - down: {name: x}
  - upsample: 2
  - concat: {name: skip, from: [upsample1, x/c]}"""
    model = parse_model(text)
    assert model.output_shape == (8, 8, 8)
    assert model.nodes[model.nodes[-1].inputs[1]].layer.kind == "relu"
    expect_error(run_cnn("params", "-", stdin=text.replace("x/c", "x/d")), 3, "<stdin>:6:44", "no layer named 'x/d'")
    expect_error(run_cnn("params", "-", stdin=text.replace("x/c", "x//c")), 3, "<stdin>:6:44", "from")


@pytest.mark.parametrize("body", ["{call}", "residual: {{main: [{call}]}}", "concat: [[], [{call}]]"])
@pytest.mark.parametrize("count", [400, 3000])
def test_a_chain_of_blocks_ends_with_a_place(body, count):
    blocks = "".join(f"  b{i}: {{layers: [{body.format(call=f'b{i + 1}')}]}}\n" for i in range(count))
    text = f"input: [8, 8, 3]\nblocks:\n{blocks}  b{count}: {{layers: [relu]}}\nlayers: [b0]"
    result = run_cnn("params", "-", stdin=text)
    assert result.code == 3, result
    assert "<stdin>:" in result.err
    assert "nested deeper than 64" in result.err or "more than 10,000 values" in result.err


def test_sixty_blocks_in_each_other_are_read():
    blocks = "".join(f"  b{i}: {{layers: [b{i + 1}]}}\n" for i in range(60))
    assert parse_model(f"input: [8, 8, 3]\nblocks:\n{blocks}  b60: {{layers: [relu]}}\nlayers: [b0]").nodes
