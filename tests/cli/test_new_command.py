"""`cnn new`: presets and the JSON Schema of the language."""

from __future__ import annotations

import re

import pytest
from command_line import expect_error, run_cnn
from strategies import TEXTS

from cnncli.language.tree import ListNode, MapNode, read_tree
from cnncli.layers import KINDS
from cnncli.model.schema import language_schema
from cnncli.model.sources import preset_names


def test_a_preset_is_a_file_that_works():
    text = run_cnn("new", "resnet18").out
    assert text == TEXTS["resnet18"]
    assert run_cnn("params", "-", "--json", stdin=text).json["trainable"] == 11689512


def test_list():
    lines = run_cnn("new", "--list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(preset_names())


def test_schema_knows_every_layer_and_option():
    schema = run_cnn("new", "--schema").json
    layer = schema["$defs"]["layer"]["anyOf"][1]["properties"]
    assert set(KINDS) | {"residual"} == set(layer)
    conv = layer["conv"]["anyOf"][0]["properties"]
    assert {"filters", "kernel", "padding", "bn", "activation", "name", "repeat", "from"} <= set(conv)


def plain(node):
    if isinstance(node, MapNode):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value


def valid(value, schema, root) -> bool:
    """Check the few words of JSON Schema that our schema uses."""
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return valid(value, target, root)
    if "anyOf" in schema and not any(valid(value, choice, root) for choice in schema["anyOf"]):
        return False
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        allowed = [name for name in names if name == "boolean" or isinstance(value, kinds[name])]
        if not allowed or (isinstance(value, bool) and "boolean" not in names):
            return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        for key, inner in value.items():
            if key in properties:
                if not valid(inner, properties[key], root):
                    return False
            elif extra is False or (isinstance(extra, dict) and not valid(inner, extra, root)):
                return False
        if any(key not in value for key in schema.get("required", ())):
            return False
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 10**9):
            return False
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
            return False
        return all(valid(item, schema.get("items", {}), root) for item in value)
    if isinstance(value, str) and "pattern" in schema:
        return re.search(schema["pattern"], value) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value) and (
            "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]
        )
    return True


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_presets_follow_the_schema(name):
    schema = language_schema()
    assert valid(plain(read_tree(TEXTS[name], name)), schema, schema)


@pytest.mark.parametrize(
    "text",
    [
        "layers: []",
        "input: [8, 8, 1]",
        "layers: [conv: {filters: 3, kernal: 3}]",
        "layers: [conv: {filters: 0, kernel: 3}]",
        "layers: [conv: {filters: true, kernel: 3}]",
        "layers: [dropout: 1]",
        "layers: [conv: {filters: '8', kernel: 3}]",
        "layers: [relu: {name: input}]",
        "layers: [relu: {name: a/b}]",
        "input: []\nlayers: [relu]",
        "layers: [relu]\nclases: 3",
        "layers: [conv: {filters: 3, kernel: 3, padding: sme?}]",
    ],
)
def test_the_schema_finds_mistakes(text):
    schema = language_schema()
    assert not valid(plain(read_tree(text, "a.yaml")), schema, schema)


def test_bad_requests():
    expect_error(run_cnn("new", "lenet6"), 2, "did you mean lenet5?")
    expect_error(run_cnn("new"), 2, "--list")
    expect_error(run_cnn("new", "lenet5", "--schema"), 2, "only one thing")


def test_no_file_is_overwritten(tmp_path):
    path = tmp_path / "my.yaml"
    assert run_cnn("new", "lenet5", "-o", path).code == 0
    expect_error(run_cnn("new", "vgg16", "-o", path), 1, "exists")
    assert path.read_text() == TEXTS["lenet5"]


@pytest.mark.parametrize(
    "text", ["input: [784]\nlayers: [dense: 3]", "layers: [relu: {from: x/c}]", "layers: [dense: 2*3]"]
)
def test_the_schema_lets_pass(text):
    schema = language_schema()
    assert valid(plain(read_tree(text, "a.yaml")), schema, schema)


@pytest.mark.parametrize(
    ("alias", "name"), [("lenet", "lenet5"), ("googlenet", "inception-v1"), ("squeezenet1_0", "squeezenet")]
)
def test_other_names_of_presets(alias, name):
    assert run_cnn("new", alias).out == TEXTS[name]


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (["lenet5", "-o", "x.png"], ".yaml"),
        (["--schema", "-o", "x.yaml"], ".json"),
        (["--list", "-o", "x.svg"], ".txt"),
    ],
)
def test_the_extension_says_what_is_written(arguments, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_error(run_cnn("new", *arguments), 2, "is not a form of this output", known)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_said(tmp_path):
    assert run_cnn("new", "lenet5", "-o", tmp_path / "my.yaml").err == f"wrote {tmp_path / 'my.yaml'}\n"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_that_is_written_reads_back(name, tmp_path):
    path = tmp_path / "my.yml"
    assert run_cnn("new", name, "-o", path).code == 0
    again = run_cnn("params", path, "--json")
    assert again.code == 0, again.err
    assert again.json == run_cnn("params", name, "--json").json
