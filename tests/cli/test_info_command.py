"""`cnn info`: what a checkpoint holds, against the files that were written; the picture of learned kernels."""

import json

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image
from safetensors.numpy import load_file

from cnncli.io.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from cnncli.io.drawing.grid import signed
from cnncli.io.preprocessing import Preprocessing
from cnncli.model import parse_model

NETWORK = """\
cnn: 1
name: small
input: [6, 6, {channels}]
classes: 2
layers:
  - conv: {{filters: 4, kernel: 3}}
  - conv: {{filters: 3, kernel: 1}}
  - flatten
  - dense: classes
  - softmax
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("info") / "run"
    assert run_cnn("train", "-d", "digits", "-e", 2, "-q", "-o", folder).code == 0
    return folder


def own(path, channels=3):
    model = parse_model(NETWORK.format(channels=channels), "net")
    random = np.random.default_rng(3)
    parameters = {slot.name: random.normal(size=slot.shape).astype(np.float32) for slot in model.slots}
    prepared = Preprocessing((channels, 6, 6), (0.5,) * channels, (0.25,) * channels)
    checkpoint = Checkpoint(parameters, NETWORK.format(channels=channels), ("a\x1b[31m", "b"), prepared)
    write_checkpoint(path, checkpoint)
    return parameters


@pytest.mark.parametrize("name", ["best", "last"])
def test_json_holds_what_the_file_holds(run, name):
    path = run / f"{name}.safetensors"
    body = run_cnn("info", path, "--json").json
    arrays = load_file(path)
    weights = {key: array for key, array in arrays.items() if not key.startswith("history:")}
    assert {one["name"]: (tuple(one["shape"]), one["dtype"]) for one in body["tensors"]} == {
        key: (array.shape, str(array.dtype)) for key, array in weights.items()
    }
    for one in body["tensors"]:
        values = arrays[one["name"]].astype(float)
        assert (one["min"], one["max"], one["numbers"]) == (values.min(), values.max(), values.size)
        assert one["mean"] == pytest.approx(values.mean())
    checkpoint = read_checkpoint(path)
    assert body["size_bytes"] == path.stat().st_size
    assert body["architecture"] == (run / "model.yaml").read_text()
    assert body["classes"] == list("0123456789")
    assert body["preprocessing"] == checkpoint.preprocessing.to_json()
    assert body["data_sha256"] == checkpoint.training["data_sha256"]
    assert body["versions"]["numpy"] == np.__version__
    assert body["params"] == 38_282
    rows = (run / "history.csv").read_text().splitlines()[1:]
    assert [row["epoch"] for row in body["history"]] == [1, 2]
    for row, line in zip(body["history"], rows, strict=True):
        assert row["loss"] == pytest.approx(float(line.split(",")[1]), rel=1e-5)


def test_text_fits_80_columns_and_other_forms_hold_the_tensors(run):
    result = run_cnn("info", run)
    assert result.code == 0
    assert max(map(len, result.out.replace(str(run), "run").splitlines())) <= 80
    for word in ("38,282 parameters", "digits", "SHA-256", "optimizer adam", "conv1/weight", "16x1x3x3", "2 epochs"):
        assert word in result.out, word
    assert run_cnn("info", run, "--format", "csv").out.count("\n") == 9
    lines = [json.loads(line) for line in run_cnn("info", run, "--format", "jsonl").out.splitlines()]
    assert [line["name"] for line in lines] == [one["name"] for one in run_cnn("info", run, "--json").json["tensors"]]


def test_a_file_by_itself_and_its_strange_names(tmp_path):
    own(tmp_path / "m.safetensors")
    result = run_cnn("info", tmp_path / "m.safetensors")
    assert (result.code, result.err) == (0, "")
    assert "a\\x1b[31m, b" in result.out
    assert "\x1b" not in result.out
    body = run_cnn("info", tmp_path / "m.safetensors", "--json").json
    assert (body["history"], body["versions"], body["data_sha256"]) == ([], None, None)


def test_kernels_stand_in_the_picture(run, tmp_path):
    result = run_cnn("info", run, "--kernels", tmp_path / "k.png")
    assert result.code == 0
    assert "conv1: 16 kernels 3x3x1" in result.err
    weights = read_checkpoint(run).parameters["conv1/weight"].astype(float)
    with Image.open(tmp_path / "k.png") as picture:
        pixels = np.asarray(picture)
    most = np.abs(weights).max()
    zoom = 22  # the least with 3 * 22 >= 64
    windows = np.lib.stride_tricks.sliding_window_view(pixels[::1], (3 * zoom, 3 * zoom, 3))[:, :, 0]
    centres = windows[:, :, zoom // 2 :: zoom, zoom // 2 :: zoom]
    for kernel in weights[[0, 7, 15], 0]:
        assert (centres == signed(kernel, most)).all(axis=(2, 3, 4)).any()


def test_kernels_over_colours_are_colours(tmp_path):
    own(tmp_path / "m.safetensors")
    for options, word in (((), "4 kernels 3x3x3"), (("--layer", "conv2"), "3 kernels 1x1x4")):
        result = run_cnn("info", tmp_path / "m.safetensors", "--kernels", tmp_path / "k.png", "-f", *options)
        assert result.code == 0
        assert word in result.err
    assert run_cnn("info", tmp_path / "m.safetensors", "--kernels", tmp_path / "each.png", "--scale", "each").code == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--layer", "conv1"], 2, "--layer is for the picture of --kernels"),
        (["--scale", "each"], 2, "--scale is for the picture of --kernels"),
        (["--kernels", "k.png", "--json"], 2, "--json has no place beside --kernels"),
        (["--kernels", "k.txt"], 2, "is a file of numbers, not a picture"),
        (["--kernels", "k"], 2, "no extension says which format to write"),
        (["--kernels", "k.png", "--layer", "fc1"], 3, "layer fc1 has no kernels"),
        (["--kernels", "k.png", "--layer", "conv9"], 3, "layer conv9 does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused(run, tmp_path, monkeypatch, options, code, words):
    monkeypatch.chdir(tmp_path)
    result = run_cnn("info", run, *options)
    assert (result.code, words in result.err) == (code, True), result.err
    assert list(tmp_path.iterdir()) == []


def test_existing_pictures_and_broken_files(run, tmp_path):
    (tmp_path / "k.png").write_bytes(b"mine")
    expect_error(run_cnn("info", run, "--kernels", tmp_path / "k.png"), 1, "exists; use -f")
    assert (tmp_path / "k.png").read_bytes() == b"mine"
    (tmp_path / "bad.safetensors").write_bytes((run / "best.safetensors").read_bytes()[:-3])
    expect_error(run_cnn("info", tmp_path / "bad.safetensors"), 3, "bad.safetensors")
