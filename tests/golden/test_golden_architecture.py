"""Shapes, parameters, paddings and architectures of the worked examples, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_cnn

from cnncli.layers.base import Param
from cnncli.layers.initialisers import spread

CASES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())
TOPICS = ("shape", "params", "padding", "architecture", "flatten")


def of(*ops: str) -> list:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["input"]["op"] in ops]


def text(sizes) -> str:
    return "x".join(map(str, sizes))


def chain(layers) -> list[str]:
    words = []
    for layer in layers:
        kind = layer["type"]
        if kind == "conv2d":
            words.append(f"conv:{layer['kernel']},s={layer['stride']},p={layer['padding']},out={layer['filters']}")
        elif kind == "maxpool":
            words.append(f"maxpool:{layer['size']},s={layer['stride']}")
        elif kind == "dense":
            words.append(f"dense:{layer['units']}")
        elif kind == "dropout":
            words.append(f"dropout:{layer.get('rate', 0.1)}")
        elif kind == "activation":
            words.append(layer.get("name", "relu"))
        else:
            words.append(kind)
    return words


@pytest.mark.parametrize("case", of("out_shape"))
def test_out_shape(case):
    given = case["input"]
    kernel, stride, padding = text(given["kernel"]), given["stride"], given["padding"]
    if given["kind"] == "conv":
        words = [f"conv:{kernel},s={stride},p={padding},out={given['filters']}"]
    else:
        words = [f"maxpool:{kernel},s={stride},p={padding}"]
    result = run_cnn("shape", text(given["input"]), *words, "--json")
    assert result.code == 0, result.err
    assert result.json["output"] == case["expected"]
    assert result.json["layers"][-1]["output"] == case["expected"]


@pytest.mark.parametrize("case", of("count_params"))
def test_count_params(case):
    given, expected = case["input"], case["expected"]
    if given["layer"] == "dense":
        arguments = [f"1x1x{given['inputs']}", "flatten", f"dense:{given['units']}"]
    elif given["layer"] == "locally_connected2d":
        arguments = [text(given["input"]), f"locally_connected:{text(given['kernel'])},out={given['filters']}"]
    elif given["layer"] == "maxpool":
        arguments = [f"8x8x{given['in_channels']}", f"maxpool:{text(given['kernel'])}"]
    else:
        arguments = [f"32x32x{given['in_channels']}", f"conv:{text(given['kernel'])},out={given['filters']}"]
    layer = run_cnn("params", *arguments, "--json").json["layers"][-1]
    assert layer["params"] == expected["total"]
    if expected["weights"]:
        bare = run_cnn("params", *arguments[:-1], f"{arguments[-1]},bias=false", "--json").json["layers"][-1]
        assert bare["params"] == expected["weights"]


@pytest.mark.parametrize("case", of("model"))
def test_model(case):
    given, expected = case["input"], case["expected"]
    body = run_cnn("params", text(given["input_shape"]), *chain(given["layers"]), "--json").json
    rows = expected["rows"][1:]
    assert len(body["layers"]) == len(rows)
    for layer, row in zip(body["layers"], rows, strict=True):
        assert layer["output"] == row["output_shape"], row
        assert layer["size"] == row["activation_size"], row
        assert layer["params"] == row["params"], row
        assert layer["trainable"] == row["trainable"], row
    assert body["total"] == expected["total_params"]
    assert body["trainable"] == expected["trainable_params"]
    assert body["non_trainable"] == expected["non_trainable_params"]


@pytest.mark.parametrize("case", of("volume"))
def test_volume(case):
    result = run_cnn("shape", text(case["input"]["shape"]), "flatten", "--json")
    assert result.json["output"] == [case["expected"]]


@pytest.mark.parametrize("case", of("pixels_lost"))
def test_pixels_lost(case):
    output = run_cnn("shape", "32x32", "-k", case["input"]["kernel"], "--json").json["output"]
    assert 32 - output[0] == case["expected"]["per_dimension"]
    assert (32 - output[0]) / 2 == case["expected"]["per_edge"]


@pytest.mark.parametrize("case", of("same_padding", "padding_mode"))
def test_same_padding(case):
    n, kernel = case["input"].get("n", 32), case["input"]["kernel"]
    expected = case["expected"]
    body = run_cnn("shape", f"{n}x{n}", "-k", kernel, "--solve", "padding", "--want", "same", "--json").json
    assert body["solution"] == {"padding": expected.get("p", expected.get("same"))}
    assert body["output"][:2] == [n, n]
    same = run_cnn("shape", f"{n}x{n}", "-k", kernel, "-p", "same", "--json").json
    assert same["output"][:2] == [n, n]
    if "valid" in expected:
        valid = run_cnn("shape", f"{n}x{n}", "-k", kernel, "-p", "valid", "--json").json["output"]
        zero = run_cnn("shape", f"{n}x{n}", "-k", kernel, "-p", expected["valid"], "--json").json["output"]
        assert valid == zero


@pytest.mark.parametrize("case", of("coverage"))
def test_coverage(case):
    given = case["input"]
    arguments = ["shape", given["n"], "-k", given["kernel"], "-s", given["stride"], "-p", given["padding"]]
    lines = run_cnn(*arguments, "--coverage").out.splitlines()
    assert [list(map(int, line.split())) for line in lines] == case["expected"]


@pytest.mark.parametrize("case", of("format_shape"))
def test_notation(case):
    given = case["input"]
    out = run_cnn("shape", text(given["shape_hwc"]), "relu", "--notation", given["notation"]).out
    assert f"output {case['expected']}" in out


@pytest.mark.parametrize("case", of("output_units"))
def test_output_units(case):
    preset = "keras001" if case["input"]["task"] == "binary" else "lenet5"
    assert run_cnn("shape", preset, "--json").json["output"] == [case["expected"]]


@pytest.mark.parametrize("case", of("ratio"))
def test_dense_in_place_of_a_convolution(case):
    first = run_cnn("params", "lecture", "--compare", "dense,local", "--json").json["compare"][0]
    assert [first["dense"], first["conv"]] == [case["input"]["a"], case["input"]["b"]]
    assert first["dense"] / first["conv"] == pytest.approx(case["expected"], abs=case["tol"])
    assert first["local"] == 28 * 28 * 8 * (5 * 5 * 3) + 28 * 28 * 8


@pytest.mark.parametrize("case", of("pad", "pad3"))
def test_padding_shows_zeros_around_the_image(case):
    image = np.array(case["input"].get("image", case["input"].get("x")))
    channels = image if image.ndim == 3 else image[None]
    expected = np.array(case["expected"]).reshape(channels.shape[0], *np.shape(case["expected"])[-2:])
    top, bottom, left, right = case["input"]["padding"]
    for channel, wanted in zip(channels, expected, strict=True):
        matrix = "\n".join(" ".join(map(str, row)) for row in channel.tolist())
        sides = f"{top},{bottom},{left},{right}"
        result = run_cnn("filter", "-", "-k", "1", "-p", sides, "--border", "zero", "--print", stdin=matrix)
        assert result.code == 0, result.err
        assert np.array_equal(np.array([line.split() for line in result.out.splitlines()], float), wanted)


@pytest.mark.parametrize("case", [c for c in of("filter2d") if c.values[0]["topic"] == "padding"])
def test_padding_of_a_filter(case):
    given = case["input"]
    border = {"reflect101": "mirror", "constant": "zero"}.get(given["border"], given["border"])
    matrix = "\n".join(" ".join(map(str, row)) for row in given["image"])
    kernel = "; ".join(",".join(map(str, row)) for row in given["kernel"])
    result = run_cnn("filter", "-", "-k", kernel, "-p", "same", "--border", border, "--print", stdin=matrix)
    assert result.code == 0, result.err
    assert [list(map(float, line.split())) for line in result.out.splitlines()] == case["expected"]


@pytest.mark.parametrize("case", of("flatten"))
def test_flatten(case):
    x = np.array(case["input"]["x"])
    channels, rows, columns = x.shape if x.ndim == 3 else (1, *x.shape)
    assert run_cnn("shape", f"{rows}x{columns}x{channels}", "flatten", "--json").json["output"] == [x.size]
    # the order that checkpoints and the engine use: channel by channel, row by row
    assert x.reshape(-1, order="C").tolist() == case["expected"]


@pytest.mark.parametrize("case", of("glorot_uniform_limit"))
def test_glorot_limit(case):
    given = case["input"]
    taps = given["kernel"][0] * given["kernel"][1]
    param = Param((1,), "glorot_uniform", taps * given["in_channels"], taps * given["filters"])
    assert spread(param) == ("uniform", pytest.approx(case["expected"], abs=1e-12))


def test_lecture_table_row_by_row():
    out = run_cnn("params", "lecture", "--formula").out
    rows = [line.split("  ") for line in out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[1:9] == [
        ["Input", "(32, 32, 3)", "3,072", "-"],
        ["CONV1 (f=5, s=1, n_c=8)", "(28, 28, 8)", "6,272", "5*5*3*8 + 8", "= 608"],
        ["POOL1 (f=2, s=2)", "(14, 14, 8)", "1,568", "-"],
        ["CONV2 (f=5, s=1, n_c=16)", "(10, 10, 16)", "1,600", "5*5*8*16 + 16", "= 3,216"],
        ["POOL2 (f=2, s=2)", "(5, 5, 16)", "400", "-"],
        ["FC3", "(120,)", "120", "120*400 + 120", "= 48,120"],
        ["FC4", "(84,)", "84", "84*120 + 84", "= 10,164"],
        ["FC5 softmax", "(10,)", "10", "10*84 + 10", "= 850"],
    ]
    assert out.splitlines()[9].startswith("total 62,958 ")


def test_exercise_d_in_one_command():
    arguments = ("shape", "256x256x3", "-k", "7", "--filters", "8", "--solve", "padding", "--want", "same")
    line = run_cnn(*arguments).out
    assert line == "p = (f-1)/2 = 3      output 256x256x8      parameters 7*7*3*8 + 8 = 1,184\n"
    body = run_cnn(*arguments, "--json").json
    assert (body["solution"], body["params"]) == ({"padding": 3}, 1184)


def test_no_case_of_these_topics_is_left_out():
    tested = {
        "out_shape", "count_params", "model", "volume", "pixels_lost", "same_padding", "padding_mode", "coverage",
        "format_shape", "output_units", "ratio", "pad", "pad3", "filter2d", "flatten",
    }  # fmt: skip
    assert {case["input"]["op"] for case in CASES if case["topic"] in TOPICS} <= tested
