"""`cnn params` as a user sees it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from command_line import expect_error, run_cnn

GOLDEN = Path(__file__).parent.parent / "golden" / "tables"
REFRESH = "CNN_REFRESH_GOLDEN" in os.environ  # then the golden tables are written anew, to be looked at


def test_lenet5():
    out = run_cnn("params", "lenet5").out
    assert out.splitlines()[-1].startswith("total 61,706 (trainable 61,706) · 241 KiB fp32 · 0.42 M MACs/image")
    assert "receptive field 16" in out


def test_json_contract():
    body = run_cnn("params", "keras001", "--json").json
    assert body["schema"] == "cnncli/1"
    assert body["name"] == "keras001"
    assert body["input"] == [100, 100, 1]
    assert (body["total"], body["trainable"], body["non_trainable"]) == (1484161, 1482369, 1792)
    assert body["macs"] == 1124813312
    assert {"name", "type", "output", "size", "params", "trainable"} <= set(body["layers"][0])
    assert body["layers"][-1]["output"] == [1]
    assert [layer["output"] for layer in body["layers"] if layer["type"] == "flatten"] == [[512]]
    assert sum(layer["params"] for layer in body["layers"]) == body["total"]


def test_collapsed_and_open_tables():
    collapsed = run_cnn("params", "densenet121").out.splitlines()
    assert any(line.startswith("dense_layer1-6 ") for line in collapsed)
    assert len(collapsed) < 35
    assert len(run_cnn("params", "densenet121", "--per-repeat").out.splitlines()) > 400
    closed = run_cnn("params", "densenet121", "--depth", "1").out.splitlines()
    assert any(line.startswith("transition1 ") for line in closed)
    assert not any(line.startswith("transition1 ") for line in collapsed)


def test_formula_of_every_kind_of_count():
    layers = ["conv:3x5,out=4,g=3", "batchnorm", "prelu", "depthwise:3,bias=false", "locally_connected:2,out=2"]
    out = run_cnn("params", "9x9x3", *[layer.replace("out=4", "out=6") for layer in layers], "--formula").out
    for formula in ("3*5*(3/3)*6 + 6", "4*6", "3*3*(6/6)*6", "4*2*2 * 2*2*6 + 4*2*2"):
        assert formula in out, out


def test_all_columns():
    lines = run_cnn("params", "lenet5", "--columns", "all", "--batch", "64", "--optimizer", "adam").out.splitlines()
    for title in ("Kernel", "Stride", "Padding", "MACs", "FLOPs", "Field", "Jump", "Start", "Memory"):
        assert title in lines[0]
    assert lines[2].split()[:4] == ["conv1", "5", "1", "2"]
    assert "memory for 64 images" in lines[-1]
    assert "training with adam" in lines[-1]


def test_chosen_columns():
    lines = run_cnn("params", "lenet5", "--columns", "layer,macs").out.splitlines()
    assert lines[0].split() == ["Layer", "MACs"]
    expect_error(run_cnn("params", "lenet5", "--columns", "layer,mac"), 2, "did you mean macs?")


def test_memory_in_json():
    body = run_cnn("params", "lecture", "--json", "--optimizer", "sgd", "--batch", "2").json
    assert body["memory"]["parameters"] == 4 * 62958
    assert body["memory"]["training"] > body["memory"]["activations"] * 2


def test_compare():
    lines = run_cnn("params", "lecture", "--compare", "dense,local").out.splitlines()
    assert lines[1].split()[-5:] == ["608", "19,273,856", "476,672", "31,700.4", "784.0"]
    expect_error(run_cnn("params", "lecture", "--compare", "dens"), 2, "did you mean dense?")


def test_diff():
    out = run_cnn("params", "vgg16", "--diff", "vgg19").out
    assert out.splitlines()[-1].split() == ["total", "138,357,544", "+5,309,696", "143,667,240"]
    assert sum(line.startswith("+") for line in out.splitlines()) == 3
    body = run_cnn("params", "lenet5", "--diff", "lecture", "--json").json
    assert body["difference"]["total"] == 62958 - 61706


@pytest.mark.parametrize(
    "expected", ["total=61706", "total=61,706", "macs=416520", "output=10", "conv1=156", "field=16", "trainable=61_706"]
)
def test_expectations_met(expected):
    assert run_cnn("params", "lenet5", "--expect", expected).code == 0


def test_expectations_not_met():
    expect_error(run_cnn("params", "lenet5", "--expect", "total=61707"), 4, "total is 61,706, expected 61707")
    expect_error(run_cnn("params", "lenet5", "--expect", "totl=61707"), 2, "did you mean total?")


def test_csv_adds_up():
    lines = run_cnn("params", "lenet5", "--format", "csv").out.splitlines()
    assert lines[0] == "Layer,Activation shape,Activation size,# parameters"
    rows = list(csv.DictReader(lines))
    assert sum(int(row["# parameters"] or 0) for row in rows) == 61706
    assert rows[1]["Activation shape"] == "(28, 28, 6)"
    formulas = list(csv.DictReader(run_cnn("params", "lenet5", "--format", "csv", "--formula").out.splitlines()))
    assert sum(int(row["# parameters"] or 0) for row in formulas) == 61706


def test_markdown_is_a_table():
    lines = run_cnn("params", "lecture", "--format", "md", "--formula").out.splitlines()
    assert lines[1] == "| :--- | ---: | ---: | :--- | ---: |"
    assert all(line.count("|") == 6 for line in lines[:10])
    assert r"5\*5\*3\*8 + 8" in lines[3]


def test_latex_compiles(tmp_path):
    text = run_cnn("params", "resnet18", "--format", "latex", "--formula").out
    assert text.startswith("\\begin{tabular}")
    assert "3$\\times$3$\\times$64$\\times$128" in text
    if shutil.which("pdflatex") is None:
        pytest.skip("no TeX here: only the text was checked")
    source = "\\documentclass{article}\\begin{document}\n" + text + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(source)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["lenet5", "lecture", "resnet18", "inception-v1", "mlp", "densenet121"])
def test_pictures(name, tmp_path):
    path = tmp_path / "net.svg"
    result = run_cnn("params", name, "-o", path)
    assert (result.code, result.out, result.err) == (0, "", f"wrote {path}\n")
    root = ElementTree.parse(path).getroot()
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text or "" for element in root.iter(f"{space}text")]
    assert any(re.fullmatch(r"\d+@\d+x\d+.*", text) for text in texts)
    for element in root.iter(f"{space}text"):
        assert 0 <= float(element.attrib["x"]) <= width
        assert 0 <= float(element.attrib["y"]) <= height
    for box in root.iter(f"{space}rect"):
        if "x" in box.attrib:
            assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width


def test_output_is_not_overwritten(tmp_path):
    path = tmp_path / "table.md"
    assert run_cnn("params", "lenet5", "-o", path).code == 0
    assert path.read_text().startswith("| Layer")
    expect_error(run_cnn("params", "lenet5", "-o", path), 1, "exists", "-f")
    assert run_cnn("params", "lenet5", "-o", path, "-f", "--format", "json").code == 0
    assert json.loads(path.read_text())["total"] == 61706


def test_chain_of_the_exercise():
    result = run_cnn("params", "6x6x3", "conv:3", "relu", "maxpool:2,s=1", "flatten", "dense:32", "--json")
    assert [layer["params"] for layer in result.json["layers"]] == [28, 0, 0, 0, 320]
    assert result.json["total"] == 348


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["-"], "", 3, ["<stdin>", "empty"]),
        (["-"], "layers: [relu]\ninput: [8, 8, 1]\nlayrs: 3", 3, ["<stdin>:3:1", "did you mean layers?"]),
        (["-"], "a: 1\na: 2", 3, ["<stdin>:2:1", "duplicate key"]),
        (["-"], "layers: [dense: '3']\ninput: [8, 8, 1]", 3, ["<stdin>:1:17", "whole number"]),
        (["lenet6"], "", 3, ["lenet6", "did you mean lenet5?"]),
        (["28x28x1"], "", 2, ["no parameters"]),
        (["lenet5", "--depth", "0"], "", 2, ["depth"]),
        (["lenet5", "--input", "28x"], "", 2, ["not a shape"]),
        (["lenet5", "--format", "xml"], "", 2, ["xml"]),
        (["/dev/null/x.yaml"], "", 3, ["/dev/null/x.yaml"]),
    ],
)
def test_bad_input_is_one_line(arguments, stdin, code, words):
    expect_error(run_cnn("params", *arguments, stdin=stdin), code, *words)


def test_directories_and_fifos_are_refused(tmp_path):
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    expect_error(run_cnn("params", fifo), 3, "not a regular file")
    expect_error(run_cnn("params", tmp_path), 3, "directory")


def golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if REFRESH:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def terminal(arguments: list[str], width: int) -> str:
    from cnncli.reporting import params_answers as answers
    from cnncli.reporting.table import render_terminal

    options = answers.ParamsOptions(
        source=arguments[0], layers=(), input_shape=None, classes=None, formula="--formula" in arguments,
        columns="all" if "--all" in arguments else None, depth=None, per_repeat=False, compare=None, other=None,
        batch=1, optimizer=None, expected=(), notation=None, format_name="table", quiet=False,
    )  # fmt: skip
    model = answers.read_model(options.source, (), None, None)
    drawn = render_terminal(answers.params_view(model, options), width)
    return re.sub(r"\x1b\[[0-9;]*m", "", drawn)


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lecture-formula", ["lecture", "--formula"]),
        ("resnet18", ["resnet18"]),
        ("lenet5-all", ["lenet5", "--all"]),
        ("densenet121", ["densenet121"]),
    ],
)
def test_golden_tables(name, arguments, width):
    text = terminal(arguments, width)
    assert max(map(len, text.splitlines())) <= width
    golden(f"{name}-{width}.txt", text)


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        (["786432", "dense:1000"], 786_433_000),
        (["3072", "dense:6272"], 19_273_856),
        (["400", "dense:120"], 48_120),
        (["32x32x3", "conv:5,out=8"], 608),
        (["28x28x1", "locally_connected:5"], 14_976),
        (["8x8x3", "batchnorm"], 12),
    ],
)
def test_how_many_parameters(arguments, params):
    assert run_cnn("params", *arguments, "--json").json["total"] == params


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["28x28x3", "conv:3,out=8", "--input", "32x32x3"], ["--input", "belong to an architecture"]),
        (["28x28x3", "conv:3,out=8", "--classes", "7"], ["--classes", "belong to an architecture"]),
        (["keras001", "--classes", "5"], ["--classes 5 changes nothing", "dense: classes"]),
        (["lenet5", "--diff", "alexnet", "-o", "x.svg"], ["--diff", "a picture"]),
        (["lenet5", "--compare", "dense", "-o", "x.svg"], ["--compare", "a picture"]),
        (["lenet5", "--formula", "-o", "x.svg"], ["--formula", "a picture"]),
        (["lenet5", "--columns", "all", "-o", "x.svg"], ["--columns", "a picture"]),
        (["lenet5", "--diff", "lecture", "--formula"], ["--formula", "--diff"]),
        (["lenet5", "--diff", "lecture", "--columns", "all"], ["--columns", "--diff"]),
        (["lenet5", "--diff", "lecture", "--format", "jsonl"], ["--diff", "jsonl"]),
        (["lenet5", "--diff", "lecture", "--compare", "dense"], ["--diff", "--compare"]),
        (["lenet5", "--compare", "dense", "--depth", "1"], ["--depth", "--compare"]),
        (["lenet5", "--json", "--notation", "chw"], ["--notation", "JSON"]),
        (["lenet5", "--format", "jsonl", "--batch", "3"], ["--batch", "jsonl"]),
        (["lenet5", "--format", "csv", "--optimizer", "adam"], ["--optimizer", "csv"]),
        (["lenet5", "-o", "net.png"], ["net.png", ".png is not a form", ".svg", ".csv"]),
        (["lenet5", "-o", "net.pdf"], [".pdf is not a form"]),
        (["(28, 28, 1)"], ["no parameters"]),
    ],
)
def test_an_option_is_used_or_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_error(run_cnn("params", *arguments), 2, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", ["(28, 28, 1)", "28×28×1", "28*28*1", "[28,28,1]", "1@28x28", "28"])
def test_every_form_of_a_shape_is_read(shape):
    assert run_cnn("params", shape, "conv:3,out=8", "--json").json["total"] == 80
    assert run_cnn("shape", shape, "conv:3,out=8", "--json").json["output"] == [26, 26, 8]


def test_notation_reaches_every_form(tmp_path):
    assert run_cnn("params", "lenet5", "--notation", "chw", "-o", tmp_path / "a.svg").code == 0
    assert ">6x28x28<" in (tmp_path / "a.svg").read_text()
    assert "6x28x28" in run_cnn("params", "lenet5", "--diff", "lecture", "--notation", "chw").out
    assert "6x28x28" in run_cnn("params", "lenet5", "--compare", "dense", "--notation", "chw").out


def test_memory_of_a_batch_in_json():
    one, many = (
        run_cnn("params", "lenet5", "--json", "--batch", batch, "--optimizer", "sgd").json for batch in (1, 32)
    )
    assert many["memory"]["activations"] == 32 * one["memory"]["activations"]
    assert run_cnn("params", "lenet5", "--json", "--batch", "32").json["memory"]["optimizer"] == "adam"


def test_memory_in_csv_is_a_number():
    lines = run_cnn("params", "lenet5", "--columns", "all", "--format", "csv").out.splitlines()
    rows = list(csv.DictReader(lines))
    assert rows[0]["Memory [B]"] == str(4 * 28 * 28)


def test_the_last_flatten_is_shown():
    assert run_cnn("params", "2x2x3", "flatten").out.splitlines()[2].split() == ["flatten1", "(12,)", "12", "-"]


def test_a_layer_that_nobody_reads_is_named():
    text = """input: [8, 8, 1]
layers:
  - conv: {name: trunk, filters: 2, kernel: 3, activation: relu}
  - conv: {name: orphan, filters: 2, kernel: 3, activation: relu}
  - conv: {name: end, filters: 2, kernel: 3, from: trunk}"""
    note = "orphan: no layer reads it, but its parameters and MACs are counted"
    assert run_cnn("params", "-", stdin=text).out.endswith(f"note: {note}\n")
    assert "note" not in run_cnn("params", "-", "-q", stdin=text).out
    assert run_cnn("params", "-", "--json", stdin=text).json["notes"] == [note]
    assert note in run_cnn("shape", "-", stdin=text).out
    assert "note" not in run_cnn("params", "resnet18").out
    assert "note" not in run_cnn("params", "inception-v1").out


def test_a_layer_called_total_does_not_hide_the_total():
    text = "input: [8, 8, 1]\nlayers: [conv: {name: total, filters: 2, kernel: 3}, conv: {filters: 1, kernel: 1}]"
    assert run_cnn("params", "-", "--expect", "total=23", stdin=text).code == 0


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("concta: 3", ["did you mean concat?"]),
        ("addd: 3", ["did you mean add?"]),
        ("concatenate: [[], []]", ["did you mean concat?"]),
        ("sum: [[], []]", ["did you mean add?"]),
        ("linear: 3", ["did you mean dense?"]),
        ("Conv2D: 3", ["did you mean conv?"]),
        ("deconv: 3", ["did you mean conv_transpose?"]),
        ("group_norm: 3", ["did you mean groupnorm?"]),
        ("instancenorm", ["no such layer", "groupnorm with `groups: in`"]),
        ("groupnorm: 2", ["groups=2 does not divide 3 channels"]),
        ("groupnorm", ["write `groupnorm: {groups: ...}`"]),
        ("conv_transpose: {filters: 2, kernel: 3, stride: 2, output_padding: 2}", ["output_padding 2", "below 2"]),
        ("conv_transpose: {filters: 2, kernel: 3, dilation: 3, output_padding: 3}", ["output_padding 3", "below 3"]),
        ("conv_transpose: {filters: 2, kernel: 3, padding: same}", ["padding same", "padding: 1"]),
        ("conv_transpose: {filters: 2, kernel: 3, padding: 5}", ["padding 5 leaves an output of 0x0 pixels"]),
        ("conv_transpose: {filters: 2, kernel: 3, groups: 2}", ["3 input channels and 2 filters"]),
        ("reshape: 3", ["expected [height, width, channels]", "flatten makes a vector"]),
        ("reshape: [8, 8]", ["expected [height, width, channels]", "[7, 7, 64]"]),
        ("reshape: 4x4x3", ["4x4x3 has 48 values, its input 8x8x3 has 192"]),
        ("reshape", ["reshape needs shape"]),
        ("crop: [4, 4, 0, 0]", ["cropping 4/4/0/0 leaves nothing of its input 8x8x3", "fewer than 8 rows"]),
        ("crop: same", ["pixels: expected numbers"]),
        ("pad: same", ["padding: expected numbers"]),
        ("mul: [[], []]", ["did you mean multiply?"]),
        ("multiply: [[], [maxpool: 2]]", ["cannot multiply 8x8x3 and 4x4x3", "1x1x3 or a vector of 3"]),
        ("multiply: [[], [globalavgpool, dense: 4]]", ["cannot multiply 8x8x3 and 4"]),
        ("avgpool", ["avgpool needs size or out"]),
        ("avgpool: {stride: 2}", ["avgpool needs size or out"]),
        ("avgpool: {size: 2, out: 3}", ["out does not go with size"]),
        ("avgpool: {out: 3, round: ceil}", ["out does not go with round"]),
        ("input: 3", ["at the top"]),
        ("conv: 8", ["write `conv: {filters: 8, kernel: ...}`"]),
        ("conv: {filters: '8', kernel: 3}", ["text '8'", "quotation marks"]),
        ("conv: {filters: five, kernel: 3}", ["whole number from 1 to 1,000,000", "got text 'five'"]),
        ("conv: {filters: clases, kernel: 3}", ["did you mean classes?"]),
        ("residual: {main: [conv: {filters: 3, kernel: 3}], shortcut: auto}", ["6x6x3", "8x8x3", "padding: same"]),
        ("residual: {main: [maxpool: 2], shortcut: identity}", ["shortcut: auto or project"]),
        ("residual: {main: [upsample: 2], shortcut: project}", ["16x16x3", "list of layers"]),
    ],
)
def test_a_wrong_layer_is_answered_with_what_helps(layer, words):
    result = run_cnn("params", "-", stdin=f"input: [8, 8, 3]\nlayers:\n  - {layer}\n")
    expect_error(result, 3, "<stdin>:3:", *words)
    assert "write one" not in result.err


@pytest.mark.parametrize("padding", ['"same "', "SAME", "'same'"])
def test_a_word_of_padding_may_have_blanks_around_it(padding):
    text = f"input: [8, 8, 3]\nlayers: [conv: {{filters: 2, kernel: 3, padding: {padding}}}]"
    assert run_cnn("shape", "-", "--json", stdin=text).json["output"] == [8, 8, 2]


def test_a_shape_that_a_pool_over_everything_leaves():
    result = run_cnn("params", "8x8x3", "globalavgpool", "conv:3")
    expect_error(result, 3, "vector of 3 values", "global pooling")


@pytest.mark.parametrize("written", ["784", "[784]"])
def test_a_vector_as_input_of_a_file(written):
    text = f"input: {written}\nlayers: [dense: 10]"
    assert run_cnn("params", "-", "--json", stdin=text).json["total"] == 7850
    assert run_cnn("params", "-", "--json", stdin="input: 28\nlayers: [flatten, dense: 10]").json["total"] == 7850
    expect_error(run_cnn("params", "-", stdin="input: [0]\nlayers: [dense: 10]"), 3, "<stdin>:1:8", "vector of 0")
    assert run_cnn("params", "-", "--json", stdin="input: 786432\nlayers: [dense: 1]").json["total"] == 786433


@pytest.mark.parametrize("name", ["net.onnx", "net.h5", "net.pt", "net.PNG"])
def test_files_of_other_programs(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"")
    expect_error(run_cnn("params", path), 3, str(path), "not read by cnn", "architecture file")


def test_a_stream_beyond_the_limit():
    expect_error(run_cnn("params", "-", stdin="#" * (3 << 20)), 3, "<stdin>", "more than 1,048,576 B")


def test_columns_stand_below_each_other_in_any_script():
    from rich.cells import cell_len

    layers = [f"conv: {{name: {name}, filters: 2, kernel: 3}}" for name in ("畳み込み層", "층")]
    text = f"input: [8, 8, 3]\nlayers: [{', '.join(layers)}]"
    lines = run_cnn("params", "-", stdin=text).out.splitlines()[:4]
    assert len({cell_len(line) for line in lines}) == 1
    drawn = terminal_of(text, 60)
    assert "畳み込み層" in drawn


def terminal_of(text, width):
    from cnncli.model import parse_model
    from cnncli.model.summary import memory
    from cnncli.reporting.params_report import TableOptions, params_table
    from cnncli.reporting.table import render_terminal

    model = parse_model(text)
    return render_terminal(params_table(model, TableOptions(), memory(model, 1, "sgd")), width)


def test_a_terminal_that_says_it_has_no_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert "61,706" in run_cnn("params", "lenet5", "--format", "table").out


FORKED = """input: [8, 8, 3]
blocks: {b: {layers: [conv: {filters: 3, kernel: 3, padding: same, bn: true, activation: relu}]}}
layers:
  - conv: {name: a, filters: 3, kernel: 1, activation: relu}
  - residual: {main: [b: {repeat: 3}], shortcut: identity}
  - pad: [0, 1, 0, 1]
  - concat: {name: j, from: [add1, a]}"""


def test_what_each_layer_reads():
    text = FORKED.replace("  - pad: [0, 1, 0, 1]\n", "")
    body = run_cnn("params", "-", "--json", "--depth", "1", stdin=text).json
    assert [(layer["name"], layer["from"]) for layer in body["layers"]] == [
        ("a", ["Input"]), ("b1", ["a"]), ("b2", ["b1"]), ("b3", ["b2"]), ("add1", ["b3", "a"]), ("j", ["add1", "a"]),
    ]  # fmt: skip
    lines = run_cnn("params", "-", "--columns", "layer,from", stdin=text).out.splitlines()
    assert [line.split("  ", 1)[1].strip() for line in lines[2:-1]] == ["Input", "a", "b1-3, a", "add1, a"]


@pytest.mark.parametrize("name", ["resnet18", "inception-v1", "densenet121", "lenet5", "mobilenet-v1"])
def test_every_connection_of_the_json_gives_the_input_shapes(name):
    body = run_cnn("params", name, "--json", "--depth", "32").json
    shapes = {"Input": body["input"]} | {layer["name"]: layer["output"] for layer in body["layers"]}
    assert len(shapes) == len(body["layers"]) + 1
    for layer in body["layers"]:
        assert [shapes[source] for source in layer["from"]] == layer["inputs"], layer["name"]


def test_windows_in_json():
    pad = run_cnn("params", "-", "--json", stdin=FORKED.replace("from: [add1, a]", "from: [pad1, pad1]")).json[
        "layers"
    ][-2]
    assert (pad["name"], pad["padding"]) == ("pad1", [0, 1, 0, 1])
    layers = run_cnn("params", "8x9x3", "conv:3x2,s=2x1,p=1/0/2/1,d=2,out=4", "relu", "--json").json["layers"]
    conv, relu = layers
    assert (conv["kernel"], conv["stride"], conv["padding"]) == ([3, 2], [2, 1], [1, 0, 2, 1])
    assert (conv["dilation"], conv["formula"]) == ([2, 2], "3*2*3*4 + 4")
    assert "kernel" not in relu


@pytest.mark.parametrize(
    ("options", "variables", "styled"),
    [([], {}, True), (["--no-color"], {}, False), ([], {"NO_COLOR": "1"}, False), ([], {"COLUMNS": "0"}, True)],
)
def test_a_terminal_with_and_without_colours(options, variables, styled):
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    ours, theirs = os.openpty()
    try:
        command = [Path(sys.executable).with_name("cnn"), "params", "lecture", *options]
        environment |= {"TERM": "xterm-256color", **variables}
        subprocess.run(command, stdout=theirs, stdin=subprocess.DEVNULL, env=environment, check=True)
        text = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "62,958" in text
    assert ("\x1b[" in text) == styled
