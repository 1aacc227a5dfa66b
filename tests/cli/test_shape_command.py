"""`cnn shape` as a user sees it."""

from __future__ import annotations

import itertools
import json

import pytest
from command_line import expect_error, run_cnn

from cnncli.shapes import out_length

SIMPLE3 = ("conv:3,out=8", "conv:5,s=2,out=16", "conv:7,s=2,out=32")


def test_one_convolution():
    result = run_cnn("shape", "28x28x3", "-k", "5", "-p", "1")
    assert result.code == 0
    assert result.out == "floor((28 + 2*1 - 5)/1) + 1 = 26      output 26x26x1   (1@26x26)\n"
    assert result.err == ""


def test_chain():
    result = run_cnn("shape", "64x64x3", *SIMPLE3)
    assert "floor((62 - 5)/2) + 1 = 29" in result.out
    assert result.out.splitlines()[-2].split() == ["output", "12x12x32", "28,560"]
    assert result.out.splitlines()[-1] == "note: conv2: 1 row and 1 column on the bottom/right are never read"


def test_json_contract():
    body = run_cnn("shape", "64x64x3", *SIMPLE3, "--json").json
    assert list(body) == ["schema", "input", "layers", "output", "params", "notes"]
    assert body["schema"] == "cnncli/1"
    assert body["input"] == [64, 64, 3]
    assert body["output"] == [12, 12, 32]
    assert body["params"] == 28560
    assert body["layers"][0] == {
        "name": "conv1", "type": "conv", "from": ["Input"], "inputs": [[64, 64, 3]], "kernel": [3, 3], "stride": [1, 1],
        "padding": [0, 0, 0, 0], "dilation": [1, 1], "output": [62, 62, 8], "params": 224, "macs": 830304,
        "output_formula": ["floor((64 - 3)/1) + 1 = 62"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "formula"),
    [
        (["5x5", "maxpool:2"], "floor((5 - 2)/2) + 1 = 2"),
        (["28x28", "-k", "5", "--dilation", "2"], "floor((28 - 2*(5 - 1) - 1)/1) + 1 = 20"),
        (["28x28", "-k", "4", "-p", "same"], "floor((28 + 1 + 2 - 4)/1) + 1 = 28"),
        (["28x20", "-k", "5x3"], "rows floor((28 - 5)/1) + 1 = 24   columns floor((20 - 3)/1) + 1 = 18"),
        (["224x224x3", "-k", "11", "-s", "4", "--round", "ceil"], "ceil((224 - 11)/4) + 1 = 55"),
        (["14x14", "conv_transpose:3,s=2,p=1,op=1"], "(14 - 1)*2 - 2*1 + 3 + 1 = 28"),
        (["5x5", "conv_transpose:3,d=2,p=1/0/1/0"], "(5 - 1)*1 - 1 - 0 + 2*(3 - 1) + 1 = 8"),
        (["7x7", "maxpool:2,round=ceil"], "ceil((7 - 2)/2) + 1 = 4"),
        (["5x5", "maxpool:2,s=3,p=1,round=ceil"], "ceil((5 + 2*1 - 2)/3) + 1 - 1 = 2"),
    ],
)
def test_formulas(arguments, formula):
    result = run_cnn("shape", *arguments)
    assert result.code == 0, result.err
    assert result.out.startswith(formula), result.out


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["5x5", "maxpool:2"], "1 row and 1 column on the bottom/right are never read"),
        (["6x5", "maxpool:2"], "1 column on the right is never read"),
        (["8x8", "maxpool:2,s=3"], "2 rows and 2 columns between the windows are skipped"),
        (
            ["28x28", "-k", "4", "-p", "same"],
            "same needs uneven padding: 1 on top, 2 at the bottom, 1 left and 2 right",
        ),
        (["5x5", "-k", "3", "-p", "3"], "padding 3 is more than f-1 = 2"),
    ],
)
def test_notes(arguments, note):
    assert f"note: {note}" in run_cnn("shape", *arguments).out
    assert any(note in found for found in run_cnn("shape", *arguments, "--json").json["notes"])


def test_no_note_where_padding_alone_is_left_over():
    assert "note" not in run_cnn("shape", "6x6", "-k", "3", "-s", "2", "-p", "1").out


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        ("hwc", "24x32x3"), ("chw", "3x24x32"), ("d@wxh", "3@32x24"), ("keras", "(None, 24, 32, 3)"),
        ("torch", "(N, 3, 24, 32)"),
    ],
)  # fmt: skip
def test_notations(notation, text):
    assert f"output {text}" in run_cnn("shape", "24x32x3", "relu", "--notation", notation).out


@pytest.mark.parametrize(
    ("arguments", "solution", "formula"),
    [
        (["256x256x3", "-k", "7", "--filters", "8", "--want", "same"], {"padding": 3}, "p = (f-1)/2 = 3"),
        (["28x28", "-k", "5", "--want", "26x26"], {"padding": 1}, "p = ((26 - 1)*1 + 5 - 28)/2 = 1"),
        (["224x224", "-k", "7", "-s", "2", "--want", "112"], {"padding": 3}, "p = ceil(((112 - 1)*2 + 7 - 224)/2) = 3"),
        (["28x30", "-k", "5x7", "--want", "28x30"], {"padding": [2, 3]}, "rows p = (f-1)/2 = 2"),
    ],
)
def test_solve_padding(arguments, solution, formula):
    result = run_cnn("shape", *arguments, "--solve", "padding")
    assert result.out.startswith(formula), result
    body = run_cnn("shape", *arguments, "--solve", "padding", "--json").json
    assert body["solution"] == solution


@pytest.mark.parametrize(
    ("arguments", "solution"),
    [
        (["stride", "224x224x3", "-k", "11", "--want", "54"], {"stride": 4}),
        (["stride", "28x28", "maxpool:2", "--want", "14"], {"stride": 2}),
        (["kernel", "28x28", "--want", "24"], {"kernel": 5}),
        (["kernel", "28x28", "-p", "1", "--want", "26"], {"kernel": 5}),
        (["kernel", "224x224", "-s", "4", "-p", "2", "--want", "55"], {"kernel": 12}),
        (["input", "1x1x3", "-k", "5", "--want", "24x24x1"], {"input": 28}),
        (["input", "1x1x3", "-k", "11", "-s", "4", "--want", "55"], {"input": 227}),
    ],
)
def test_solve_the_others(arguments, solution):
    result = run_cnn("shape", *arguments[1:], "--solve", arguments[0], "--json")
    assert result.code == 0, result.err
    assert result.json["solution"] == solution
    wanted = int(arguments[arguments.index("--want") + 1].split("x")[0])
    assert result.json["output"][0] == wanted


def test_every_solution_is_checked_by_the_formula():
    for kernel in range(1, 8):
        for stride in range(1, 4):
            for want in range(1, 12):
                result = run_cnn(
                    "shape", "12x12", f"conv:{kernel},s={stride}", "--solve", "padding", "--want", want, "--json"
                )
                possible = [
                    p for p in range(30) if (12 + 2 * p - kernel) // stride + 1 == want and 12 + 2 * p >= kernel
                ]
                if possible:
                    assert result.json["solution"] == {"padding": possible[0]}, (kernel, stride, want)
                else:
                    assert result.code == 3, (kernel, stride, want)


def test_an_even_kernel_has_no_symmetric_padding():
    result = run_cnn("shape", "28x28", "-k", "4", "--solve", "padding", "--want", "same")
    expect_error(result, 3, "no padding gives an output of 28", "1 before and 2 after")


def test_coverage():
    out = run_cnn("shape", "5x5", "-k", "3", "--coverage").out
    assert out.splitlines() == ["1 2 3 2 1", "2 4 6 4 2", "3 6 9 6 3", "2 4 6 4 2", "1 2 3 2 1"]
    assert run_cnn("shape", "5x5", "-k", "3", "--coverage", "--json").json["coverage"][0] == [1, 2, 3, 2, 1]


def test_coverage_as_a_picture(tmp_path):
    path = tmp_path / "coverage.svg"
    assert run_cnn("shape", "5x4", "-k", "3", "-p", "1", "--coverage", "-o", path).code == 0
    assert path.read_text().count("<rect") == 1 + 20
    expect_error(run_cnn("shape", "5x4", "-k", "3", "--coverage", "-o", path), 1, "exists", "-f")


def test_receptive_field():
    lines = run_cnn("shape", "lecture", "--rf").out.splitlines()
    assert lines[0].split()[-3:] == ["Field", "Jump", "Start"]
    assert lines[5].split()[-3:] == ["16", "4", "7.5"]
    field = run_cnn("shape", "8x8", "-k", "3", "--rf", "--json").json["layers"][0]["receptive_field"]
    assert field == {"size": [3, 3], "jump": [1.0, 1.0], "start": [1.0, 1.0]}


def test_sources(tmp_path):
    text = "input: [8, 8, 1]\nlayers: [conv: {filters: 2, kernel: 3}]"
    path = tmp_path / "net.yaml"
    path.write_text(text)
    (tmp_path / "model.yaml").write_text(text)
    for source, stdin in ((path, ""), (tmp_path, ""), ("-", text)):
        assert run_cnn("shape", source, "--json", stdin=stdin).json["output"] == [6, 6, 2]
    assert run_cnn("shape", path, "--input", "10x10x3", "--json").json["output"] == [8, 8, 2]
    assert run_cnn("shape", "lenet5", "--classes", "7", "--json").json["output"] == [7]


def test_expect():
    assert run_cnn("shape", "28x28x3", "-k", "5", "--expect", "24x24x1").code == 0
    assert run_cnn("shape", "lenet5", "--expect", "10").code == 0
    expect_error(run_cnn("shape", "28x28x3", "-k", "5", "--expect", "26x26x1"), 4, "24x24x1", "26x26x1")


def test_strict():
    expect_error(run_cnn("shape", "5x5", "maxpool:2", "--round", "strict"), 3, "not whole")
    assert run_cnn("shape", "6x6", "maxpool:2", "--round", "strict").code == 0


@pytest.mark.parametrize("format_name", ["csv", "md", "latex", "jsonl", "plain", "table"])
def test_formats(format_name):
    result = run_cnn("shape", "64x64x3", *SIMPLE3, "--format", format_name)
    assert result.code == 0, result.err
    assert "12" in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ["nothing to compute"]),
        (["28x28x3"], 2, ["no layer"]),
        (["28x28x3", "-p", "1"], 2, ["kernel is missing"]),
        (["28x28x3", "-k", "5", "conv:3"], 2, ["not both"]),
        (["28x28x3", "-k", "0"], 2, ["kernel", "from 1 to 255", "got 0"]),
        (["28x28x3", "-k", "5", "-s", "0"], 2, ["stride", "got 0"]),
        (["28x28x3", "-k", "5", "-s", "-1"], 2, ["stride", "got -1"]),
        (["28x28x3", "-k", "5", "-p", "-1"], 2, ["padding", "got -1"]),
        (["28x28x3", "-k", "5", "-p", "99999999999999999999"], 2, ["padding"]),
        (["28x28x3", "-k", "5,filters=3"], 2, ["--kernel"]),
        (["3x3x1", "-k", "5"], 3, ["5x5 kernel", "3x3 input"]),
        (["0x3x1", "-k", "5"], 2, ["height 0"]),
        (["28x28x3", "cnov:3"], 2, ["did you mean conv?"]),
        (["28x28x3", "dense:3"], 3, ["layer 1", "flatten"]),
        (["lenet5", "conv:3"], 2, ["own layers"]),
        (["nope.yaml"], 3, ["nope.yaml"]),
        (["28x28x3", "-k", "5", "--want", "same"], 2, ["--solve"]),
        (["28x28x3", "-k", "5", "--solve", "padding"], 2, ["--want"]),
        (["28x28x3", "-k", "5", "--solve", "padding", "--want", "30x"], 2, ["not a shape"]),
        (["28x28x3", "relu", "--coverage"], 2, ["no window"]),
        (["28x28x3", "-k", "5", "--json", "--format", "csv"], 2, ["exclude"]),
        (["28x28x3", "-k", "3", "--input", "8x8"], 2, ["belong to an architecture"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, code, words):
    result = run_cnn("shape", *arguments)
    expect_error(result, code, *words)
    assert result.out == "" or "--json" in arguments


def test_the_table_up_to_the_layer_that_fails():
    result = run_cnn("shape", "-", stdin="input: [8, 8, 1]\nlayers:\n  - maxpool: 4\n  - maxpool: 3\n")
    expect_error(result, 3, "<stdin>:4:5", "layer 2 (maxpool)", "2x2 input")
    assert [line.split()[0] for line in result.out.splitlines()] == ["Layer", "Input", "pool1"]
    silent = run_cnn("shape", "-", "--json", stdin="input: [8, 8, 1]\nlayers:\n  - maxpool: 4\n  - maxpool: 3\n")
    assert silent.code == 3


def test_help_begins_with_examples():
    out = run_cnn("shape", "--help").out
    assert "cnn shape 28x28x3 -k 5 -p 1" in out
    assert out.index("Examples:") < out.index("Options:")


def test_quiet_leaves_the_remarks_out():
    assert run_cnn("shape", "5x5", "maxpool:2", "-q").out == "floor((5 - 2)/2) + 1 = 2      output 2x2x1   (1@2x2)\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lenet5", "-o", "c.png"], ["c.png", ".png is not a form"]),
        (["5x5", "-k", "3", "--coverage", "-o", "c.png"], ["c.png", ".png is not a form"]),
        (["5x5", "-k", "3", "--coverage", "--rf"], ["--rf", "--coverage"]),
        (["lenet5", "--rf", "-o", "c.svg"], ["--rf"]),
        (["5x5", "-k", "3", "--json", "--notation", "chw"], ["--notation", "JSON"]),
        (["keras001", "--classes", "5"], ["--classes 5 changes nothing"]),
    ],
)
def test_an_option_is_used_or_refused(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_error(run_cnn("shape", *arguments), 2, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_network_as_a_picture(tmp_path):
    path = tmp_path / "net.svg"
    result = run_cnn("shape", "lenet5", "-o", path)
    assert (result.code, result.out, result.err) == (0, "", f"wrote {path}\n")
    assert path.read_text().startswith("<svg")
    assert ">6@28x28<" in path.read_text()


def test_coverage_in_every_format():
    def coverage(name):
        return run_cnn("shape", "4x4", "-k", "3", "--coverage", "--format", name).out.splitlines()

    rows = [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    assert [[int(cell) for cell in line.split(",")] for line in coverage("csv")] == rows
    assert [json.loads(line) for line in coverage("jsonl")] == rows
    assert [[int(cell) for cell in line.strip("| ").split(" | ")] for line in coverage("md")[2:]] == rows
    assert r"1 & 2 & 2 & 1 \\" in coverage("latex")
    assert [[int(cell) for cell in line.split()] for line in coverage("plain")] == rows


def test_pairs_may_be_written_with_a_comma_or_an_x():
    result = run_cnn("shape", "9x8", "-k", "3", "-s", "2,1", "-p", "1x2", "--json")
    assert result.json["output"] == [5, 10, 1]


@pytest.mark.peers
def test_a_pool_over_an_input_smaller_than_itself_as_in_pytorch():
    torch = pytest.importorskip("torch")
    count = 0
    for n, k, s, d in itertools.product(range(1, 10), range(1, 6), range(1, 5), (1, 2)):
        for p in range(k // 2 + 1):
            try:
                wanted = torch.nn.functional.max_pool1d(torch.zeros(1, 1, n), k, s, p, d, ceil_mode=True).shape[-1]
            except RuntimeError:
                wanted = 0
            assert max(0, out_length(n, k, s, (p, p), d, ceil=True)) == wanted, (n, k, s, p, d)
            count += wanted > 0
    assert count > 300


def test_rounding_up_takes_a_kernel_that_hangs_over():
    result = run_cnn("shape", "2x2", "maxpool:3,s=2", "--round", "ceil")
    assert result.out == "ceil((2 - 3)/2) + 1 = 1      output 1x1x1   (1@1x1)\n"
    expect_error(run_cnn("shape", "2x2", "maxpool:3,s=1", "--round", "ceil"), 3, "3x3 kernel", "2x2 input")
    assert run_cnn("shape", "2x2", "conv:3,s=2", "--round", "ceil", "--json").json["output"] == [1, 1, 1]
    assert run_cnn("params", "squeezenet", "--input", "24x24x3").code == 0
