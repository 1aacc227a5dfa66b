"""Targets that are numbers, or labels that may apply together, from a table to predictions."""

import csv
import json

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

SHORT = ("--epochs", "25", "--batch-size", "16", "--lr", "0.01", "--plain")
NETWORK = """cnn: 1
name: small
input: [6, 6, 1]
classes: 3
layers:
  - flatten
  - dense: 16
  - relu
  - dense: classes
  - softmax  # left out where targets are no classes
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of two gray levels, a table with their means, and one of what is true of them."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "p").mkdir()
    random = np.random.default_rng(4)
    numbers, labels = ["path,upper,lower"], ["path,split,light,dark"]
    for k in range(120):
        upper, lower = random.integers(0, 256, 2)
        pixels = np.repeat(np.array([upper, lower], np.uint8), 18).reshape(6, 6)
        Image.fromarray(pixels).save(folder / f"p/{k}.png")
        numbers.append(f"p/{k}.png,{upper / 100:.2f},{lower / 100:.2f}")
        labels.append(f"p/{k}.png,{'test' if k > 99 else 'train'},{int(upper > 128)},{int(lower < 128)}")
    (folder / "numbers.csv").write_text("\n".join(numbers) + "\n")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "small.yaml").write_text(NETWORK)
    return folder


def test_numbers_are_learnt_and_predicted(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    trained = run_cnn("train", "small.yaml", "--dataset", "numbers.csv", "--run-dir", "n", *SHORT)
    assert trained.code == 0, trained.err
    assert "the targets of numbers are numbers: loss mse" in trained.err
    assert "its softmax is left out" in trained.err
    assert "acc=- " in trained.out
    assert "test_acc=- test_loss=- val_acc=- best_epoch=" in trained.out.splitlines()[-1]
    rows = list(csv.DictReader((pictures / "n/history.csv").read_text().splitlines()))
    assert {row["acc"] for row in rows} == {""}
    losses = [float(row["val_loss"]) for row in rows]
    assert losses[-1] < losses[0] / 10
    result = json.loads((pictures / "n/result.json").read_text())
    assert (result["test_acc"], result["test_loss"], result["val_acc"]) == (None, None, None)
    assert result["val_loss"] == pytest.approx(min(losses), rel=1e-5)
    predicted = run_cnn("predict", "n", "p/3.png", "--json").json
    line = (pictures / "numbers.csv").read_text().splitlines()[4]
    wanted = [float(cell) for cell in line.split(",")[1:]]
    assert list(predicted["values"].values()) == pytest.approx(wanted, abs=0.5)
    assert list(predicted["values"]) == ["upper", "lower"]
    table = run_cnn("predict", "n", "p/3.png", "p/none.png", "--format", "csv")
    assert table.code == 7
    head, first, failed = csv.reader(table.out.splitlines())
    assert head == ["path", "upper", "lower", "error"]
    assert [float(cell) for cell in first[1:3]] == list(predicted["values"].values())
    assert failed[1:] == ["", "", "no such file"]
    assert "upper " in run_cnn("predict", "n", "p/3.png", "--format", "plain").out
    expect_error(run_cnn("predict", "n", "p/3.png", "--top-k", "1"), 2, "--top-k is for classes")


def test_labels_that_apply_together(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    trained = run_cnn("train", "small.yaml", "--dataset", "labels.csv", "--run-dir", "l", *SHORT)
    assert trained.code == 0, trained.err
    result = json.loads((pictures / "l/result.json").read_text())
    assert result["test_images"] == 20
    assert result["test_acc"] >= 0.75  # both labels right
    names = [f"p/{k}.png" for k in range(100, 120)]
    rows = [json.loads(line) for line in run_cnn("predict", "l", *names, "--json").out.splitlines()]
    lines = (pictures / "labels.csv").read_text().splitlines()[101:]
    truth = [[name for name, flag in zip(("light", "dark"), line.split(",")[2:], strict=True) if flag == "1"]
             for line in lines]  # fmt: skip
    right = sum(row["labels"] == wanted for row, wanted in zip(rows, truth, strict=True))
    assert right / 20 == result["test_acc"]
    assert all(row["labels"] == [name for name, p in row["probs"].items() if p >= 0.5] for row in rows)


def test_losses_and_targets_that_do_not_go_together(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    plan = ("train", "small.yaml", "-n", "--dataset")
    expect_error(run_cnn(*plan, "numbers.csv", "--loss", "cross-entropy"), 2, "are numbers", "--loss mse")
    expect_error(run_cnn(*plan, "labels.csv", "--loss", "cross-entropy"), 2, "--loss binary-cross-entropy")
    expect_error(run_cnn(*plan, "digits", "--loss", "mse"), 2, "those of digits are classes")
    expect_error(run_cnn(*plan, "numbers.csv", "--class-weights", "balanced"), 2, "--class-weights needs classes")
