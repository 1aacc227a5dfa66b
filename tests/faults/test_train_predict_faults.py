"""Every bad option, data set, architecture and checkpoint that `cnn train` and `cnn predict` must refuse.

The number in front of a case is its row in README.md of this folder. The contract itself is in installed.py.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.installed import CNN, assert_refused, fingerprint, run
from PIL import Image

from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.safetensors_file import parse, serialise

Build = Callable[[Path], None]
OFFLINE = {"CNN_OFFLINE": "1"}
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A run of the digits, made by the installed command."""
    folder = tmp_path_factory.mktemp("trained")
    result = run(["train", "--dataset", "digits", "--epochs", "1", "--limit", "300", "--run-dir", "run"], folder)
    assert result.code == 0, result.err
    return folder / "run"


def idx(dims: tuple[int, ...], payload: bytes | None = None, kind: int = 8) -> bytes:
    head = struct.pack(f">BBBB{len(dims)}I", 0, 0, kind, len(dims), *dims)
    return head + (bytes(int(np.prod(dims))) if payload is None else payload)


def mnist(folder: Path, **changed: bytes | None) -> None:
    """Write a tiny MNIST below data/mnist with some files replaced or left out."""
    place = folder / "data/mnist"
    place.mkdir(parents=True)
    good = {
        "train_images": idx((60, 28, 28)),
        "train_labels": idx((60,), bytes(k % 10 for k in range(60))),
        "test_images": idx((20, 28, 28)),
        "test_labels": idx((20,), bytes(k % 10 for k in range(20))),
    }
    for content, name in zip((good | changed).values(), MNIST_FILES, strict=True):
        if content is not None:
            suffix = ".gz" if content.startswith(b"\x1f\x8b") else ""
            (place / (name + suffix)).write_bytes(content)


def with_mnist(**changed: bytes | None) -> Build:
    return lambda folder: mnist(folder, **changed)


def nothing(folder: Path) -> None:
    """No files."""


def file(name: str, data: bytes) -> Build:
    return lambda folder: (folder / name).write_bytes(data) and None


def old_run(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run/config.yaml").write_text("seed: 1\n")


def a_run(folder: Path) -> None:
    (folder / "m").mkdir()
    for name in ("last.safetensors", "model.yaml"):
        (folder / "m" / name).write_bytes(b"x")


DIGITS = ["train", "--dataset", "digits", "--epochs", "1"]
MNIST = ["train", "--dataset", "mnist", "--data-dir", "data", "--epochs", "1"]

TRAIN = {
    "usage: no data set": (["train"], nothing, 2, "missing option"),
    "usage: unknown data set": (["train", "-d", "mnits"], nothing, 2, "unknown data set 'mnits'; did you mean mnist"),
    "usage: two architectures": ([*DIGITS, "lenet5", "--arch", "lecture"], nothing, 2, "two architectures"),
    "51 lr 0": ([*DIGITS, "--lr", "0"], nothing, 2, "--lr"),
    "51 lr negative": ([*DIGITS, "--lr", "-1"], nothing, 2, "--lr"),
    "51 lr nan": ([*DIGITS, "--lr", "nan"], nothing, 2, "--lr nan"),
    "51 lr inf": ([*DIGITS, "--lr", "inf"], nothing, 2, "--lr inf"),
    "51 momentum 2": ([*DIGITS, "--momentum", "2"], nothing, 2, "--momentum"),
    "69 batch 0": ([*DIGITS, "--batch-size", "0"], nothing, 2, "--batch-size"),
    "70 epochs -1": (["train", "-d", "digits", "--epochs", "-1"], nothing, 2, "--epochs"),
    "70 epochs 10^9": (["train", "-d", "digits", "--epochs", "1000000000"], nothing, 2, "--epochs"),
    "73 empty validation": ([*DIGITS, "--val-split", "0.0001"], nothing, 2, "leaves 0 for validation"),
    "73 all validation": ([*DIGITS, "--val-split", "1"], nothing, 2, "--val-split"),
    "74 negative seed": ([*DIGITS, "--seed", "-1"], nothing, 2, "--seed"),
    "74 huge seed": ([*DIGITS, "--seed", str(2**64)], nothing, 2, "--seed"),
    "threads 0": ([*DIGITS, "--threads", "0"], nothing, 2, "--threads"),
    "empty run directory": ([*DIGITS, "-o", ""], nothing, 2, "--run-dir is empty; name one"),
    "empty architecture": ([*DIGITS, "--arch", ""], nothing, 2, "ARCH is empty; name one"),
    "patience without validation": (
        [*DIGITS, "--patience", "3", "--val-split", "0"],
        nothing,
        2,
        "--patience 3 compares validation results, and --val-split 0 leaves none",
    ),
    "momentum of Adam": ([*DIGITS, "--momentum", "0.5"], nothing, 2, "--momentum 0.5 is not used by --optimizer adam"),
    "warm-up of three epochs in one": (
        [*DIGITS, "--warmup", "3"],
        nothing,
        2,
        "--warmup 3 is longer than the 1 epochs",
    ),
    "warm-up of no step": ([*DIGITS, "--warmup", "0.01"], nothing, 2, "of an epoch of 21 steps is less than a step"),
    "force without a directory": ([*DIGITS, "-f"], nothing, 2, "--force replaces the run in --run-dir, and none is"),
    "directory of bundled data": (
        [*DIGITS, "--data-dir", "x"],
        nothing,
        2,
        "--data-dir is not used: digits is bundled",
    ),
    "plain and quiet": ([*DIGITS, "--plain", "-q"], nothing, 2, "--quiet and --plain exclude each other"),
    "a run in place of an architecture": (
        [*DIGITS, "m"],
        a_run,
        2,
        "m: holds a run, not a network; `cnn train m/model.yaml --init-from m` begins",
    ),
    "a checkpoint in place of an architecture": (
        [*DIGITS, "--arch", "m/last.safetensors"],
        a_run,
        2,
        "m/last.safetensors: is a checkpoint, not a network; `cnn train m/model.yaml --init-from m/last.safetensors`",
    ),
    "a dry run into a directory with a run": ([*DIGITS, "-n", "-o", "run"], old_run, 1, "run: holds a run already"),
    "1 missing architecture": ([*DIGITS, "--arch", "nets/my.yaml"], nothing, 3, r"nets/my\.yaml: no such file"),
    "misspelt preset": ([*DIGITS, "--arch", "lenet6"], nothing, 3, "lenet6: .*did you mean lenet5"),
    "40 empty architecture": ([*DIGITS, "--arch", "a.yaml"], file("a.yaml", b""), 3, r"a\.yaml: is empty"),
    "40 text in place of an architecture": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"just text\n"),
        3,
        r"a\.yaml:1:1: expected a mapping with 'layers:'",
    ),
    "40 two documents": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"layers: [flatten]\n---\nlayers: [flatten]\n"),
        3,
        r"a\.yaml:2:1: .*second document",
    ),
    "41 tag of a Python object": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"layers: !!python/object/apply:os.system ['touch here']\n"),
        3,
        r"a\.yaml:1:9: .*tags",
    ),
    "42 aliases that double": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"a: &a [x, x]\nb: &b [*a, *a]\nlayers: [*b, *b]\n"),
        3,
        r"a\.yaml:1:4: .*anchors",
    ),
    "43 nested brackets": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"layers: " + b"[" * 200_000),
        3,
        r"a\.yaml:1:40: nested deeper than 32 levels",
    ),
    "44 a time in place of a number": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers: [conv: {filters: 1:30, kernel: 3}]\n"),
        3,
        r"a\.yaml:2:26: .*'?1:30",
    ),
    "45 the same key twice": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"name: a\nlayers: [flatten]\nname: b\n"),
        3,
        r"a\.yaml:3:1: duplicate key 'name', first on line 1",
    ),
    "47 integer of 5000 digits": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers: [conv: {filters: " + b"9" * 5000 + b", kernel: 3}]\n"),
        3,
        r"a\.yaml:2:26: .*a number of 5000 digits",
    ),
    "48 not UTF-8": ([*DIGITS, "--arch", "a.yaml"], file("a.yaml", b"name: \xff\n"), 3, r"a\.yaml:1:7: byte 6 .0xff"),
    "48 NUL": ([*DIGITS, "--arch", "a.yaml"], file("a.yaml", b"name: a\0b\n"), 3, r"a\.yaml:1:8: .*U\+0000"),
    "49 true filters": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers: [conv: {filters: true, kernel: 3}]\n"),
        3,
        r"a\.yaml:2:26: .*whole number from 1 .*got true",
    ),
    "49 10^12 filters": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers: [conv: {filters: 1000000000000, kernel: 3}]\n"),
        3,
        r"a\.yaml:2:26: .*1,000,000",
    ),
    "52 more parameters than the limit": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers: [flatten, dense: 1000000, dense: 1000000]\n"),
        3,
        r"a\.yaml:2:\d+: .*GiB.*1,000,000,000",
    ),
    "46 typo in YAML": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers:\n  - conv: {filtres: 3}\n"),
        3,
        r"a\.yaml:3:\d+: .*filters",
    ),
    "50 shapes that do not fit": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"input: [8, 8, 1]\nlayers:\n  - conv: {filters: 3, kernel: 9}\n  - flatten\n"),
        3,
        r"a\.yaml:3:\d+: ",
    ),
    "83 other number of outputs": (
        [*DIGITS, "--arch", "a.yaml"],
        file("a.yaml", b"name: tiny\ninput: [8, 8, 1]\nlayers: [flatten, dense: 7, softmax]\n"),
        3,
        r"a\.yaml: tiny has 7 outputs, digits has 10 classes",
    ),
    "68 offline and not here": (MNIST, nothing, 5, r"https://.*put .* into data/mnist.*--dataset digits"),
    "68 part of a copy": (MNIST, with_mnist(test_labels=None), 5, "--dataset digits"),
    "59 empty IDX": (MNIST, with_mnist(train_images=b""), 3, "train-images-idx3-ubyte: file is empty"),
    "59 wrong magic": (MNIST, with_mnist(train_images=b"not an image at all"), 3, "not an IDX file"),
    "59 wrong type": (MNIST, with_mnist(train_images=idx((60, 28, 28), kind=13)), 3, "IDX type 0x0d"),
    "59 huge header": (
        MNIST,
        with_mnist(train_images=idx((0x7FFFFFFF,) * 3, b"x" * 12)),
        3,
        "header says 2147483647x2147483647x2147483647 = 9903520300447984150353281023 B, file has 12 B",
    ),
    "60 zero and huge": (MNIST, with_mnist(train_images=idx((0, 2**31, 2**31), b"")), 3, "out of range"),
    "60 no images": (
        MNIST,
        with_mnist(train_images=idx((0, 28, 28), b""), train_labels=idx((0,), b"")),
        3,
        "header says 0x28x28; a dimension is out of range",
    ),
    "61 one label short": (
        MNIST,
        with_mnist(train_labels=idx((59,))),
        3,
        "train-labels-idx1-ubyte: 59 labels for the 60 images",
    ),
    "61 images and labels swapped": (MNIST, with_mnist(train_images=idx((60,))), 3, "1 dimensions, expected 3"),
    "62 label too high": (MNIST, with_mnist(test_labels=idx((20,), bytes([10] * 20))), 3, "label 10 at position 0"),
    "63 truncated gz": (MNIST, with_mnist(train_images=gzip.compress(idx((60, 28, 28)))[:-9]), 3, "truncated gzip"),
    "63 damaged gz": (
        MNIST,
        with_mnist(train_images=gzip.compress(idx((60, 28, 28)))[:-8] + b"12345678"),
        3,
        "damaged gzip",
    ),
    "63 bytes after gz": (MNIST, with_mnist(train_images=gzip.compress(idx((60, 28, 28))) + b"x"), 3, "1 B follow"),
    "other size in the test set": (MNIST, with_mnist(test_images=idx((20, 27, 28))), 3, "images of 27x28"),
    "90 run directory with a run": ([*DIGITS, "--run-dir", "run"], old_run, 1, "run: holds a run already.*--force"),
    "96 run directory is a file": ([*DIGITS, "--run-dir", "a"], file("a", b"x"), 1, "a: is a file, not a folder"),
    "96 below a file": ([*DIGITS, "--run-dir", "a/b"], file("a", b"x"), 1, "a/b: .*not a folder"),
}


@pytest.mark.parametrize("name", TRAIN)
def test_train_refuses(name, tmp_path):
    arguments, build, code, pattern = TRAIN[name]
    build(tmp_path)
    before = fingerprint(tmp_path)
    result = run(arguments, tmp_path, env=OFFLINE)
    # what is said before the error: the plan, notes, that kernels are compiled
    header_free = [line for line in result.err.splitlines() if not re.match(r"note: |compiling |.* · ", line)]
    result = type(result)(result.code, result.out, "".join(line + "\n" for line in header_free))
    assert_refused(result, code, pattern, before, fingerprint(tmp_path))


def header_of(data: bytes) -> tuple[dict, bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def rebuilt(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def edited(change: Callable[[dict, dict], None]) -> Callable[[bytes], bytes]:
    """Return a change of tensors and metadata that keeps the container itself whole."""

    def apply(data: bytes) -> bytes:
        tensors, metadata = parse(data, "good")
        change(tensors, metadata)
        metadata.pop("sha256", None)
        return serialise(tensors, metadata)

    return apply


def doubled_key(data: bytes) -> bytes:
    header, body = header_of(data)
    name = next(key for key in header if key != "__metadata__")
    text = json.dumps(header)[:-1] + f', "{name}": {json.dumps(header[name])}' + "}"
    return rebuilt(text.encode(), body)


def flipped(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 0x10]) + data[-4:]


def shifted(data: bytes) -> bytes:
    header, body = header_of(data)
    name = next(key for key in header if key != "__metadata__")
    header[name]["data_offsets"][1] += 4
    return rebuilt(header, body)


def first(tensors: dict) -> str:
    return next(iter(tensors))


CHECKPOINTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "75 empty": (lambda data: b"", "file is empty"),
    "75 seven bytes": (lambda data: data[:7], "not a checkpoint"),
    "75 truncated": (lambda data: data[:-1000], "header declares .* B, file has .* B"),
    "75 truncated header": (lambda data: data[:100], "header declares"),
    "75 trailing bytes": (lambda data: data + b"x", "header declares"),
    "76 header of 2^63": (lambda data: struct.pack("<Q", 2**63) + data[8:], "limit is 16777216 B"),
    "76 header of 200 MB": (lambda data: struct.pack("<Q", 200_000_000) + data[8:], "limit is 16777216 B"),
    "76 deep header": (lambda data: rebuilt(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""), "cannot be read"),
    "76 not UTF-8": (lambda data: rebuilt(b'{"\xff":1}', b""), "cannot be read"),
    "77 tensor twice": (doubled_key, "twice"),
    "78 pickle": (lambda data: pickle.dumps({"w": 1}), "a pickle, which cnn never loads"),
    "78 zip": (lambda data: b"PK\x03\x04" + data, "a zip archive"),
    "78 HDF5": (lambda data: b"\x89HDF\r\n\x1a\n" + data, "an HDF5 file"),
    "79 bit flip": (flipped, "the file is damaged"),
    "80 NaN": (
        edited(lambda t, m: t.update({first(t): np.full_like(t[first(t)], np.nan)})),
        "not finite",
    ),
    "81 tensor missing": (edited(lambda t, m: t.pop("conv1/bias")), "conv1/bias is missing"),
    "81 tensor left over": (
        edited(lambda t, m: t.update({"conv9/bias": np.zeros(3, np.float32)})),
        "conv9/bias is not in the architecture",
    ),
    "81 other shape": (
        edited(lambda t, m: t.update({"conv1/bias": np.zeros(3, np.float32)})),
        "conv1/bias is 3, expected 16",
    ),
    "81 other type": (edited(lambda t, m: t.update({"conv1/bias": np.zeros(16)})), "float64, expected float32"),
    "82 newer format": (
        edited(lambda t, m: m.update({"format": "cnncli 99", "written_by": "cnncli 9.9"})),
        r"written by cnncli 9\.9 \(format 99\); this is .*upgrade",
    ),
    "82 foreign safetensors": (edited(lambda t, m: m.clear()), "not a checkpoint of cnn"),
    "82 unknown layer": (
        edited(lambda t, m: m.update({"architecture": "input: [8, 8, 1]\nlayers: [warp: 3]\n"})),
        "architecture cannot be used",
    ),
    "no class names": (edited(lambda t, m: m.pop("classes")), "'classes' is missing"),
    "85 endless class name": (
        edited(lambda t, m: m.update({"classes": json.dumps(["x" * 1000] * 10)})),
        "class names",
    ),
    "one class name short": (
        edited(lambda t, m: m.update({"classes": json.dumps(list("012345678"))})),
        "differ|class names",
    ),
    "no preprocessing": (edited(lambda t, m: m.update({"preprocessing": "{}"})), "preprocessing.shape"),
    "std of 0": (
        edited(lambda t, m: m.update({"preprocessing": m["preprocessing"].replace('"std": [0.', '"std": [-0.')})),
        "preprocessing.mean and .std",
    ),
    "offsets overlap": (shifted, "needs .* B, its offsets span"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_predict_refuses_checkpoint(name, trained, tmp_path):
    change, pattern = CHECKPOINTS[name]
    (tmp_path / "bad.safetensors").write_bytes(change((trained / "best.safetensors").read_bytes()))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    before = fingerprint(tmp_path)
    result = run(["predict", "bad.safetensors", "a.png"], tmp_path)
    assert_refused(result, 3, rf"bad\.safetensors: .*({pattern})", before, fingerprint(tmp_path))


PREDICT = {
    "1 missing checkpoint": (["predict", "runs/x", "a.png"], 3, "runs/x: no such file"),
    "a run without a finished epoch": (
        ["predict", "unfinished", "a.png"],
        3,
        "unfinished: holds no best.safetensors; no epoch .* finished; unfinished/last.safetensors holds the weights",
    ),
    "directory without a run": (["predict", ".", "a.png"], 3, r"\.: holds no best\.safetensors"),
    "16 directory": (["predict", "RUN", "folder"], 3, "folder: is a directory"),
    "no match": (["predict", "RUN", "*.jpg"], 3, r"\*\.jpg: no file matches this pattern"),
    "no picture": (["predict", "RUN", "folder", "-r"], 3, "folder: no image in this folder"),
    "top-k 0": (["predict", "RUN", "a.png", "-t", "0"], 2, "--top-k"),
    "no image": (["predict", "RUN"], 2, "missing argument"),
    "stdin twice": (["predict", "RUN", "-", "-"], 2, "named twice"),
}


UNREADABLE = {
    "1 missing image": ("b.png", r"b\.png: no such file; did you mean a\.png"),
    "2 empty image": ("empty.png", r"empty\.png: file is empty"),
    "3 truncated image": ("short.png", r"short\.png: "),
    "4 text as an image": ("text.png", r"text\.png: not an image"),
    "17 FIFO": ("fifo", "fifo: is not a regular file"),
    "18 address": ("http://example.com/a.png", "downloads are not supported"),
}


def unreadable(folder: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "a.png")
    (folder / "short.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not an image")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")


@pytest.mark.parametrize("name", PREDICT)
def test_predict_refuses(name, trained, tmp_path):
    arguments, code, pattern = PREDICT[name]
    unreadable(tmp_path)
    (tmp_path / "unfinished").mkdir()
    shutil.copy(trained / "last.safetensors", tmp_path / "unfinished")
    before = fingerprint(tmp_path)
    result = run([str(trained) if word == "RUN" else word for word in arguments], tmp_path)
    assert_refused(result, code, pattern, before, fingerprint(tmp_path))


@pytest.mark.parametrize("style", ["jsonl", "csv"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_one_bad_picture_alone_is_a_row_and_exit_7_and_compiles_nothing(name, style, trained, tmp_path):
    picture, pattern = UNREADABLE[name]
    unreadable(tmp_path)
    before = fingerprint(tmp_path)
    (tmp_path / "cache").mkdir()
    cache = {"CNN_CACHE_DIR": str(tmp_path / "cache")}
    result = run(["predict", str(trained), picture, "--format", style], tmp_path, env=cache)
    assert result.code == 7, result
    assert re.fullmatch(rf"cnn: error: 1 of 1 pictures failed; the first: .*{pattern}.*\n", result.err), result.err
    if style == "jsonl":
        row = json.loads(result.out)
        assert row["path"] == picture
        assert row["error"]["code"] == 3
        assert "label" not in row
    else:
        row = next(csv.DictReader(io.StringIO(result.out.decode())))
        assert (row["path"], row["label"]) == (picture, "")
        assert row["error"]
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "cache").rmdir()
    assert fingerprint(tmp_path) == before


def test_row27_one_bad_picture_among_good_ones_is_a_row_and_exit_7(trained, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = run(["predict", str(trained), "a.png", "bad.png", "a.png"], tmp_path)
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 7
    assert ["error" in row for row in rows] == [False, True, False]
    assert rows[1]["error"]["code"] == 3
    assert result.err.splitlines()[-1].startswith("cnn: error: 1 of 3 pictures failed; the first: bad.png: ")


def test_row71_huge_learning_rate_ends_with_6_and_keeps_a_good_checkpoint(tmp_path):
    result = run(["train", "-d", "digits", "--optimizer", "sgd", "--lr", "1e30", "--run-dir", "r"], tmp_path)
    assert result.code == 6, result.err
    line = result.err.splitlines()[-1]
    assert line.startswith("cnn: error: r: ")
    assert "epoch 1 step " in line
    assert "try --lr 0.1;" in line
    assert sorted(os.listdir(tmp_path / "r")) == ["command.txt", "config.yaml", "last.safetensors", "model.yaml"]
    kept = read_checkpoint(tmp_path / "r/last.safetensors")
    assert all(np.isfinite(array).all() for array in kept.parameters.values())


@pytest.mark.parametrize("validation", ["0.1", "0"])
def test_row71_a_network_that_diverges_in_the_last_step_is_not_saved_as_the_best(validation, tmp_path):
    """One step: the loss before it is finite, and so are the weights after it."""
    arguments = ["train", "-d", "digits", "--optimizer", "sgd", "--lr", "1e30", "-e", "1", "--limit", "64", "--json"]
    result = run([*arguments, "--val-split", validation, "-o", "r"], tmp_path)
    assert result.code == 6, result.err
    assert strict(result.out.splitlines()[-1])["error"]["code"] == 6
    name = "validation loss" if validation == "0.1" else "loss after the last step"
    assert f"r: {name} became nan at epoch 1 step 1 (lr 1e+30); try --lr 0.1; r/last.safetensors" in result.err
    assert sorted(os.listdir(tmp_path / "r")) == ["command.txt", "config.yaml", "last.safetensors", "model.yaml"]
    assert read_checkpoint(tmp_path / "r/last.safetensors").training["epoch"] == 0


def strict(text: bytes | str) -> Any:
    """Return the value of a JSON document, which knows no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_json_document_of_a_run_is_strict(tmp_path):
    result = run(["train", "-d", "digits", "-e", "2", "--val-split", "0", "--json", "-o", "r"], tmp_path)
    events = [strict(line)["event"] for line in result.out.splitlines()]
    assert [name for name in events if name in ("epoch", "finished")] == ["epoch", "epoch", "finished"]
    assert strict((tmp_path / "r/result.json").read_text())["val_acc"] is None
    for name in ("best", "last"):
        _, metadata = parse((tmp_path / f"r/{name}.safetensors").read_bytes(), name)
        for key in ("classes", "preprocessing", "training"):
            strict(metadata[key])
    planned = run(["train", "-d", "digits", "--dry-run", "--json"], tmp_path)
    assert strict(planned.out.splitlines()[0])["event"] == "plan"


def test_an_architecture_takes_input_and_classes_from_the_data(tmp_path):
    (tmp_path / "net.yaml").write_text("layers:\n  - flatten\n  - dense: classes\n  - softmax\n")
    result = run(["train", "net.yaml", "-d", "digits", "-e", "1", "-o", "r"], tmp_path)
    assert result.code == 0, result.err
    assert "in place of" not in result.err  # it said nothing that had to give way
    written = (tmp_path / "r/model.yaml").read_text()
    assert "input: [8, 8, 1]" in written
    assert "classes: 10" in written
    assert run(["predict", "r", "a.png"], tmp_path).code == 7  # the checkpoint is complete: only the picture is missing


def test_row102_threads_that_the_system_does_not_start_are_named(tmp_path):
    command = f"ulimit -v 2000000; exec {CNN} train -d digits -e 1 -j 400 -o r"
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    line = result.stderr.splitlines()[-1]
    assert (result.returncode, os.listdir(tmp_path)) == (1, []), result.stderr
    assert line.startswith("cnn: error: the system does not start 400 threads; use fewer --threads"), line


def test_row90_runs_that_start_together_get_different_directories(tmp_path):
    arguments = [CNN, "train", "-d", "digits", "-e", "1", "--limit", "64", "-q"]
    processes = [subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors
    assert sorted(os.listdir(tmp_path / "runs")) == [f"digits-{number}" for number in range(1, 7)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_row115_a_signal_saves_and_ends(number, code, tmp_path):
    arguments = [CNN, "train", "-d", "digits", "--epochs", "100000", "--run-dir", "run"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("epoch=1/")
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code
    line = errors.splitlines()[-1]
    assert line.startswith("cnn: error: run: stopped ")
    assert line.endswith("; `cnn train --resume run` continues")
    assert sorted(name for name in os.listdir(tmp_path / "run") if not name.startswith("last-")) == [
        "best.safetensors", "command.txt", "config.yaml", "history.csv", "last.safetensors", "model.yaml",
    ]  # fmt: skip
    last = read_checkpoint(tmp_path / "run/last.safetensors")
    rows = (tmp_path / "run/history.csv").read_text().splitlines()
    assert len(rows) - 1 == last.training["epoch"]
    assert set(last.optimizer) == {"m", "v", "step"}


ENDLESS = ["train", "-d", "digits", "--epochs", "100000", "--run-dir", "run"]


def started(tmp_path: Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Return a training whose first epoch is done."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([*prefix, CNN, *ENDLESS], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline().startswith("epoch=1/")
    return process


@pytest.mark.parametrize("numbers", [(signal.SIGHUP,) * 40, (signal.SIGTERM, signal.SIGHUP) * 20])
def test_row117_a_storm_of_signals_is_one_request(numbers, tmp_path):
    """A closed terminal sends SIGHUP twice, service managers SIGTERM with SIGHUP."""
    process = started(tmp_path)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.002)
    _, errors = process.communicate(timeout=600)
    # signals that wait together are handled in the order of their numbers
    assert process.returncode in {128 + number for number in numbers}, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("cnn: ")]
    assert len(lines) == 1
    assert lines[0].endswith("; `cnn train --resume run` continues")
    assert ".lock" not in os.listdir(tmp_path / "run")
    read_checkpoint(tmp_path / "run/last.safetensors")


@pytest.mark.parametrize("wait_s", [0.8, 1.2, 1.6, 2.0])
def test_row117_a_storm_of_signals_before_the_first_step_is_one_line(wait_s, tmp_path):
    """Python is up after the first of these times, unless the machine is busy: then the signal kills."""
    process = subprocess.Popen([CNN, *ENDLESS, "-q"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(wait_s)
    for _ in range(20):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.003)
    _, errors = process.communicate(timeout=600)
    assert process.returncode in (143, -signal.SIGTERM), errors
    assert "Traceback" not in errors
    assert "ignored" not in errors


def test_row116_repeated_ctrl_c_ends_at_once_with_one_line(tmp_path):
    process = started(tmp_path)
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    read_checkpoint(tmp_path / "run/last.safetensors")


def test_sigusr1_saves_and_training_goes_on(tmp_path):
    process = started(tmp_path)
    process.send_signal(signal.SIGUSR1)
    line = process.stderr.readline()
    while "saved" not in line:
        line = process.stderr.readline()
    assert re.fullmatch(r"note: saved run/last\.safetensors at epoch \d+ step \d+\n", line)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143


def test_sigusr1_does_not_kill_before_there_is_anything_to_save_nor_at_the_end(tmp_path):
    process = subprocess.Popen([CNN, "train", "-d", "digits", "-e", "2", "-q", "-o", "run"], cwd=tmp_path)
    while not (tmp_path / "run").exists():
        assert process.poll() is None
        time.sleep(0.01)
    while process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.01)
    assert process.returncode == 0
    assert (tmp_path / "run/result.json").exists()


def test_row117_nohup_is_respected(tmp_path):
    process = started(tmp_path, ("nohup",))
    process.send_signal(signal.SIGHUP)
    assert any(line.startswith("epoch=3/") for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143


def test_row118_kill_leaves_whole_checkpoints(tmp_path):
    arguments = [CNN, "train", "-d", "digits", "--epochs", "100000", "--run-dir", "run", "-q"]
    for delay in (0.0, 0.03, 0.07):
        process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (tmp_path / "run/best.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        for name in ("best", "last"):
            read_checkpoint(tmp_path / f"run/{name}.safetensors")
        shutil.rmtree(tmp_path / "run")


def test_row93_a_full_disk_stops_training_and_keeps_the_old_checkpoint(tmp_path):
    """RLIMIT_FSIZE lets the first small files through and no checkpoint."""
    before = fingerprint(tmp_path)
    command = f"ulimit -f 64; exec {CNN} train -d digits --epochs 2 --run-dir run"
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert line.startswith("cnn: error: run/last.safetensors: larger than the allowed file size")
    assert fingerprint(tmp_path) == before


def test_row91_two_runs_on_one_directory(tmp_path):
    arguments = [CNN, "train", "-d", "digits", "--epochs", "100000", "--run-dir", "run"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        process.stdout.readline()
        result = run(["train", "-d", "digits", "--run-dir", "run", "--force"], tmp_path)
        assert result.code == 1
        assert f"run: in use by pid {process.pid} on " in result.err
    finally:
        process.kill()
        process.communicate()


def test_row100_a_closed_pipe_is_no_traceback(tmp_path):
    command = f"{CNN} train -d digits --epochs 3000 --run-dir run | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode in (1, 141)
    assert "Traceback" not in result.stderr


def test_row101_a_full_standard_output_is_one_line(tmp_path):
    with open("/dev/full", "wb") as full:
        result = run(["train", "-d", "digits", "--epochs", "1", "--run-dir", "run"], tmp_path, stdout=full.fileno())
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("cnn: error: ")
    assert "Traceback" not in result.err


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [{}, ASCII], ids=["utf-8", "ascii"])
@pytest.mark.parametrize("name", [b"caf\xe9.png", "käfer.png".encode(), b"-[red]\x1b[31m\n.png"])
def test_row19_names_of_any_bytes_are_read_and_shown_escaped(name, locale, trained, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    missing = run([b"predict", os.fsencode(trained), b"--", name], tmp_path, env=locale)
    # the last name holds what could be a pattern
    assert (missing.code, missing.err.count("\n")) == (3 if b"[" in name else 7, 1), missing.err
    assert re.search("no such file|no file matches this pattern", missing.err)
    (tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    found = run([b"predict", os.fsencode(trained), b"-q", b"--format", b"plain", b"--", name], tmp_path, env=locale)
    assert found.code == 0, found.err
    assert b"\x1b" not in found.out
    assert found.out.isascii() or not locale
