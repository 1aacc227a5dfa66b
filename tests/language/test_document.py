"""The structure of an architecture file: what is accepted, and where each mistake is located."""

from __future__ import annotations

import pytest

from cnncli.errors import InvalidInputError
from cnncli.language.document import parse_document
from cnncli.language.tree import read_tree
from cnncli.model.vocabulary import vocabulary


def parse(text: str):
    return parse_document(read_tree(text, "net.yaml"), vocabulary())


MISTAKES = {
    "just text": ["net.yaml:1:1", "expected a mapping with 'layers:'"],
    "- conv": ["net.yaml:1:1", "expected a mapping with 'layers:', got a list"],
    "name: x": ["net.yaml:1:1", "layers"],
    "layers: [relu]\nlayer: 3": ["net.yaml:2:1", "unknown key 'layer'", "did you mean layers?"],
    "cnn: 2\nlayers: [relu]": ["net.yaml:1:6", "schema version 1"],
    "layers: []": ["net.yaml:1:9", "empty"],
    "layers: relu": ["net.yaml:1:9", "list of layers, got text 'relu'"],
    "layers: [cnov: 3]": ["net.yaml:1:10", "unknown layer 'cnov'", "did you mean conv?"],
    "layers:\n  - conv: {filters: 3, kernal: 3}": ["net.yaml:2:24", "unknown key 'kernal' of conv", "kernel?"],
    "layers:\n  - conv: 3\n    kernel: 3": ["net.yaml:3:5", "one kind"],
    "layers: [3]": ["net.yaml:1:10", "expected a layer, got 3"],
    "layers: [null]": ["net.yaml:1:10", "expected a layer"],
    "layers: [relu: 3]": ["net.yaml:1:16", "relu takes no value"],
    "layers: [residual: 3]": ["net.yaml:1:20", "main"],
    "layers: [residual: {shortcut: auto}]": ["net.yaml:1:20", "no 'main:'"],
    "layers: [residual: {main: [relu], shortcut: autp}]": ["net.yaml:1:45", "did you mean auto?"],
    "layers: [residual: {main: []}]": ["net.yaml:1:27", "empty"],
    "layers: [concat: [[relu]]]": ["net.yaml:1:18", "two or more branches"],
    "layers: [add: relu]": ["net.yaml:1:15", "two or more branches"],
    "defaults: {cov: {kernel: 3}}\nlayers: [relu]": ["net.yaml:1:12", "unknown layer 'cov'", "conv?"],
    "defaults: {conv: 3}\nlayers: [relu]": ["net.yaml:1:18", "expected options"],
    "defaults: {conv: {kernell: 3}}\nlayers: [relu]": ["net.yaml:1:19", "kernel?"],
    "blocks: {conv: {layers: [relu]}}\nlayers: [relu]": ["net.yaml:1:10", "name of a layer"],
    "blocks: {b: {params: [in], layers: [relu]}}\nlayers: [relu]": ["net.yaml:1:23", "cannot be a parameter"],
    "blocks: {b: {params: [a, a], layers: [relu]}}\nlayers: [relu]": ["net.yaml:1:26", "twice"],
    "blocks: {b: {layers: [relux]}}\nlayers: [relu]": ["net.yaml:1:23", "unknown layer 'relux'"],
    "blocks: {b: {}}\nlayers: [relu]": ["net.yaml:1:13", "has no layers"],
    "blocks: {b: {params: [c], layers: [relu]}}\nlayers: [b: {d: 3}]": ["net.yaml:2:14", "unknown key 'd'"],
    "input: [1, 2]x\nlayers: [relu]": ["net.yaml:1:"],
    "input: [8, 8, 0]\nlayers: [relu]": ["net.yaml:1:8", "channels 0"],
    "input: [8, 8, true]\nlayers: [relu]": ["net.yaml:1:8", "three whole numbers"],
    "input: 8y8\nlayers: [relu]": ["net.yaml:1:8", "not a shape"],
    "classes: 0\nlayers: [relu]": ["net.yaml:1:10", "from 1 to 1,000,000"],
    "classes: true\nlayers: [relu]": ["net.yaml:1:10", "whole number"],
    "layers: [relu: {name: a/b}]": ["net.yaml:1:23", "cannot be a name"],
    "layers: [relu: {from: []}]": ["net.yaml:1:23", "empty"],
}


@pytest.mark.parametrize("text", list(MISTAKES))
def test_mistakes_are_located(text):
    with pytest.raises(InvalidInputError) as caught:
        parse(text)
    for word in MISTAKES[text]:
        assert word in str(caught.value), str(caught.value)


def test_three_ways_to_write_a_layer():
    document = parse("layers: [flatten, dense: 3, dense: {units: 4, name: last}, relu: null]")
    kinds = [(item.kind, [(k, v.text) for k, v in item.options.items()]) for item in document.layers]
    assert kinds == [("flatten", []), ("dense", [("units", "3")]), ("dense", [("units", "4")]), ("relu", [])]
    assert document.layers[2].name is not None
    assert document.layers[2].name.text == "last"
