"""What `cnn params` and `cnn shape` write, read back by other readers, for generated chains of layers."""

from __future__ import annotations

import csv
import json
import random
import re

import pytest
from command_line import run_cnn

from cnncli.model.sources import preset_names


def refuse(word):
    raise ValueError(f"{word} is not JSON")


def strict(text):
    return json.loads(text, parse_constant=refuse)


def chain(seed):
    """Return the arguments of a random chain that fits."""
    generator = random.Random(seed)
    layers = []
    for _ in range(generator.randint(1, 5)):
        layers.append(
            generator.choice(
                [
                    f"conv:{generator.randint(1, 3)},out={generator.randint(1, 9)},p=1,d={generator.randint(1, 2)}",
                    f"depthwise:3,p=same,s={generator.randint(1, 2)}",
                    f"maxpool:{generator.randint(1, 3)},s=1",
                    "batchnorm",
                    "relu",
                    "upsample:2",
                    "pad:1/0/2/1",
                ]
            )
        )
    if generator.random() < 0.5:
        layers += ["flatten", f"dense:{generator.randint(1, 1200)},act=softmax"]
    return [f"{generator.randint(8, 20)}x{generator.randint(8, 20)}x{generator.randint(1, 4)}", *layers]


def sources():
    return [[name] for name in preset_names()] + [chain(seed) for seed in range(40)]


@pytest.mark.parametrize("arguments", sources(), ids=" ".join)
def test_all_forms_say_the_same(arguments):
    body = strict(run_cnn("params", *arguments, "--json", "--per-repeat", "--depth", "32").out)
    lines = [
        strict(line) for line in run_cnn("params", *arguments, "--format", "jsonl", "--depth", "32").out.splitlines()
    ]
    assert lines == body["layers"]
    assert sum(layer["params"] for layer in lines) == body["total"]
    assert sum(layer["macs"] for layer in lines) == body["macs"]

    asked = [
        "params",
        *arguments,
        "--per-repeat",
        "--depth",
        "32",
        "--columns",
        "layer,shape,size,params,macs,memory,from",
    ]
    table = list(csv.DictReader(run_cnn(*asked, "--format", "csv").out.splitlines()))[1:]
    assert [int(row["# parameters"] or 0) for row in table] == [layer["params"] for layer in lines]
    assert [int(row["MACs"] or 0) for row in table] == [layer["macs"] for layer in lines]
    shapes = [tuple(map(int, re.findall(r"\d+", row["Activation shape"]))) for row in table]
    assert shapes == [tuple(layer["output"]) for layer in lines]
    assert [row["Connected to"] for row in table] == [", ".join(layer["from"]) for layer in lines]

    markdown = run_cnn(*asked, "--format", "md").out.splitlines()
    rows = [line for line in markdown if line.startswith("|")]
    assert len(rows) == len(table) + 3
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    latex = run_cnn(*asked, "--format", "latex").out
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert sum(line.endswith(r"\\") for line in latex.splitlines()) == len(table) + 2


@pytest.mark.parametrize("arguments", sources(), ids=" ".join)
def test_shape_and_params_agree(arguments):
    body = strict(run_cnn("shape", *arguments, "--json", "--rf").out)
    count = strict(run_cnn("params", *arguments, "--json", "--depth", "32").out)
    assert body["params"] == count["total"]
    assert [layer["output"] for layer in body["layers"]] == [layer["output"] for layer in count["layers"]]
    assert [layer["receptive_field"] for layer in body["layers"]] == [
        layer["receptive_field"] for layer in count["layers"]
    ]
