"""`cnn new`: presets and the JSON Schema of the language."""

from __future__ import annotations

import re

import pytest
from command_line import expect_error, run_cnn
from strategies import TEXTS

from cnncli.layers import KINDS
from cnncli.model.schema import language_schema
from cnncli.model.sources import preset_names
from cnncli.spec.tree import ListNode, MapNode, read_tree


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
    expect_error(run_cnn("new", "lenet5", "--schema"), 2, "one of three")


def test_no_file_is_overwritten(tmp_path):
    path = tmp_path / "my.yaml"
    assert run_cnn("new", "lenet5", "-o", path).code == 0
    expect_error(run_cnn("new", "vgg16", "-o", path), 1, "exists")
    assert path.read_text() == TEXTS["lenet5"]
