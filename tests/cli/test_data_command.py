"""`cnn data`: which data sets there are, where, whether they are whole, and what is in them."""

import csv
import gzip
import io
import json
import struct

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import DATASETS, load_dataset
from cnncli.io.datasets.mnist import MNIST


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv("CNN_DATA_DIR", raising=False)
    monkeypatch.setenv("CNN_OFFLINE", "1")


@pytest.fixture
def photos(tmp_path):
    """Three classes of 5, 6 and 7 pictures."""
    for number, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(5 + number):
            Image.new("RGB", (10, 8), (40 * number, k, 200)).save(tmp_path / f"photos/{name}/{k}.png")
    return tmp_path / "photos"


@pytest.fixture
def mnist(tmp_path):
    """An unverified copy of MNIST with few images."""
    folder = tmp_path / "data/mnist"
    folder.mkdir(parents=True)
    for file in MNIST.files:
        shape = (20, 28, 28) if file.rank == 3 else (20,)
        head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(head + bytes(int(np.prod(shape)))))
    return tmp_path / "data"


def test_list_names_all_sets_and_where_they_are(mnist):
    found = run_cnn("data", "list", "--data-dir", mnist, "--json").json["datasets"]
    assert [one["name"] for one in found] == list(DATASETS)
    here = {one["name"]: one["paths"] for one in found}
    assert here["mnist"] == [str(mnist / f"mnist/{file.name}.gz") for file in MNIST.files]
    assert here["cifar10"] == here["digits"] == []
    assert found[0]["bundled"]
    assert found[1]["mirrors"][0].startswith("https://")
    text = run_cnn("data", "list", "--data-dir", mnist).out.splitlines()
    assert text[0].split() == ["name", "fetch", "here", "images"]
    assert str(mnist / "mnist") in text[2]
    lines = run_cnn("data", "list", "--data-dir", mnist, "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == found
    assert next(csv.reader(io.StringIO(run_cnn("data", "list", "--format", "csv").out)))[0] == "name"


def test_path(mnist):
    assert run_cnn("data", "path", "mnist", "--data-dir", mnist).out.splitlines() == [
        str(mnist / f"mnist/{file.name}.gz") for file in MNIST.files
    ]
    expect_error(run_cnn("data", "path", "kmnist", "--data-dir", mnist), 5, "kmnist is not in", "cnn data get kmnist")
    expect_error(run_cnn("data", "path", "digits"), 2, "bundled")
    expect_error(run_cnn("data", "path", "mnits"), 2, "did you mean mnist?")


def test_get_keeps_what_is_there_and_says_what_is_missing(mnist):
    assert run_cnn("data", "get", "mnist", "digits", "--data-dir", mnist).out.splitlines() == [
        str(mnist / "mnist"), "bundled",
    ]  # fmt: skip
    expect_error(run_cnn("data", "get", "cifar10", "--data-dir", mnist), 5, "CIFAR-10", "CNN_OFFLINE", str(mnist))
    expect_error(run_cnn("data", "get", "digits", "cifra10", "--data-dir", mnist), 2, "did you mean cifar10?")


def test_verify(photos, mnist):
    done = run_cnn("data", "verify", "digits", photos)
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first == f"digits: 1797 images, good, sha256 {load_dataset('digits').sha256}"
    assert second.startswith(f"{photos}: 18 images, good, sha256 ")
    expect_error(run_cnn("data", "verify", "mnist", "--data-dir", mnist), 5, "unverified copy of MNIST")
    expect_error(run_cnn("data", "verify", "cifar100", "--data-dir", mnist), 5, "cnn data get cifar100")
    (photos / "bee/2.png").write_bytes(b"x")
    expect_error(run_cnn("data", "verify", photos), 3, "1 of 18 pictures cannot be read (bee/2.png: ")
    expect_error(run_cnn("data", "verify", photos, "--data-dir", mnist), 2, "--data-dir is not used")


def test_statistics_of_pictures(photos):
    found = run_cnn("data", "stats", photos, "--json").json
    assert found["images"] == {"train": 18}
    assert found["counts"] == {"train": [5, 6, 7]}
    assert found["names"] == ["ant", "bee", "cat"]
    assert found["input_shape"] == [8, 10, 3]
    pixels = np.array([(40 * n, k, 200) for n in range(3) for k in range(5 + n)]) / 255
    assert np.allclose(found["mean"], pixels.mean(0))
    assert np.allclose(found["std"], [*pixels.std(0)[:2], 1])
    text = run_cnn("data", "stats", photos).out
    assert text.startswith("photos: 18 train images of 8x10x3\n")
    assert text.splitlines()[-1].split() == ["all", "18"]
    rows = list(csv.reader(io.StringIO(run_cnn("data", "stats", photos, "--format", "csv").out)))
    assert rows == [["class", "train"], ["ant", "5"], ["bee", "6"], ["cat", "7"]]


def test_statistics_of_numbers_and_labels(tmp_path):
    x = np.zeros((4, 5, 5), np.uint8)
    np.savez(tmp_path / "n.npz", x=x, y=np.array([[0.5, 3], [1.5, 4], [2.5, 5], [3.5, 8]]))
    np.savez(tmp_path / "l.npz", x=x, y=np.array([[0, 1], [1, 1], [1, 1], [0, 0]]))
    assert run_cnn("data", "stats", tmp_path / "n.npz", "--json").json["ranges"] == {
        "y1": [0.5, 2.0, 3.5], "y2": [3.0, 5.0, 8.0],
    }  # fmt: skip
    assert run_cnn("data", "stats", tmp_path / "l.npz", "--json").json["counts"] == {"train": [2, 3]}
    assert "y2          3     5     8" in run_cnn("data", "stats", tmp_path / "n.npz").out


def test_the_checkpoint_holds_the_sum_that_verify_prints(photos, tmp_path):
    done = run_cnn("train", "digits", "--dataset", photos, "--epochs", "1", "--run-dir", tmp_path / "run", "--plain",
                   "--resize", "8")  # fmt: skip
    assert done.code == 0, done.err
    facts = read_checkpoint(tmp_path / "run").training
    assert facts["data_sha256"] in run_cnn("data", "verify", photos, "--resize", "8x8", "--channels", "1").out
    assert facts["data_sha256"] not in run_cnn("data", "verify", photos).out


@pytest.mark.parametrize("name", ["list", "get", "path", "verify", "stats"])
def test_help_of_each_command_begins_with_examples(name):
    lines = run_cnn("data", name, "--help").out.splitlines()
    assert lines.index("  Examples:") <= 5
    assert any(line.startswith(f"    cnn data {name}") for line in lines)
    assert max(map(len, lines)) <= 80


def test_errors_of_the_group():
    expect_error(run_cnn("data", "lst"), 2, "no such command 'data lst'", "did you mean list?")
    expect_error(run_cnn("data", "stats", "digist"), 2, "did you mean digits?")
    expect_error(run_cnn("data", "list", "--data-dir", ""), 2, "--data-dir is empty")
