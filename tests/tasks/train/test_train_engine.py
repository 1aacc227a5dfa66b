"""Training through the installed program: what it does with its options and its weights."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from faults.installed import run

from cnncli.engine.session import Session
from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.model import parse_model
from cnncli.tasks.train.splitting import epoch_order

LINEAR = (
    "{name: linear, input: [8, 8, 1], classes: 10, layers: [flatten, dense: {units: classes, bias: false}, softmax]}"
)


def train(folder: Path, *options: str) -> Path:
    (folder / "linear.yaml").write_text(LINEAR)
    result = run(["train", "linear.yaml", "-d", "digits", "-o", "r", "-q", *options], folder)
    assert result.code == 0, result.err
    return folder / "r"


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def learning_rates(lr: float, total: int, warmup: int) -> list[float]:
    """Linear warm-up, then half a cosine to zero."""
    rising = [lr * (step + 1) / warmup for step in range(warmup)]
    left = total - warmup
    return rising + [lr * (1 + np.cos(np.pi * step / left)) / 2 for step in range(left)]


def slow_training(count: int, batch: int, epochs: int, rates: list[float], momentum: float, decay: float) -> np.ndarray:
    """Softmax regression on the first digits by gradient descent, in float64 and NumPy."""
    data = load_dataset("digits")
    x = (data.train.images[:count].reshape(count, -1) / 255 - data.mean[0]) / data.std[0]
    y = np.eye(10)[data.train.labels[:count]]
    weights = Session(parse_model(LINEAR), batch_size=1, threads=1, seed=3).parameters.reshape(10, 64).astype(float)
    velocity = np.zeros_like(weights)
    remaining = iter(rates)
    for epoch in range(1, epochs + 1):
        order = epoch_order(np.arange(count), 3, epoch)
        for start in range(0, count, batch):
            picks = order[start : start + batch]
            logits = x[picks] @ weights.T
            e = np.exp(logits - logits.max(1, keepdims=True))
            gradient = (e / e.sum(1, keepdims=True) - y[picks]).T @ x[picks] / len(picks)
            velocity = momentum * velocity + gradient + decay * weights
            weights = weights - next(remaining) * velocity
    return weights


@pytest.mark.parametrize(
    ("options", "momentum", "decay", "warmup"),
    [
        (["--optimizer", "sgd"], 0.0, 0.0, 0),
        (["--optimizer", "sgd", "--weight-decay", "0.2"], 0.0, 0.2, 0),
        (["--optimizer", "momentum"], 0.9, 0.0, 0),
        (["--optimizer", "momentum", "--momentum", "0.3", "--weight-decay", "0.1"], 0.3, 0.1, 0),
        (["--optimizer", "sgd", "--warmup", "1"], 0.0, 0.0, 4),
    ],
)
def test_the_weights_of_a_run_are_those_of_a_slow_one(options, momentum, decay, warmup, tmp_path):
    """3 epochs of 4 steps, the last of each with 4 images; the learning rate changes with every step."""
    numbers = ["-e", "3", "-b", "32", "--limit", "100", "--val-split", "0", "--lr", "0.05", "--seed", "3"]
    folder = train(tmp_path, *numbers, *options)
    expected = slow_training(100, 32, 3, learning_rates(0.05, 12, warmup), momentum, decay)
    found = read_checkpoint(folder / "last.safetensors").parameters["fc1/weight"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


def test_the_test_result_is_that_of_the_best_weights(tmp_path):
    """A large constant learning rate: the best epoch is not the last one."""
    folder = train(tmp_path, "-e", "8", "--optimizer", "sgd", "--lr", "30", "--schedule", "constant", "--limit", "200")
    data = load_dataset("digits")
    test = data.test.first(200)
    measured = {}
    for name in ("best", "last"):
        session = Session(parse_model(LINEAR), batch_size=200, threads=1, mean=data.mean, std=data.std)
        session.parameters[:] = read_checkpoint(folder / f"{name}.safetensors").parameters["fc1/weight"].ravel()
        measured[name] = session.evaluate(test.images, test.labels)
    result = json.loads((folder / "result.json").read_text())
    assert result["best_epoch"] < 8
    assert measured["best"][0] != pytest.approx(measured["last"][0], rel=0.01)
    assert (result["test_loss"], result["test_acc"]) == (pytest.approx(measured["best"][0]), measured["best"][1])


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_the_epochs_since_the_best_one(patience, tmp_path):
    options = ["-e", "40", "--optimizer", "sgd", "--lr", "3", "--schedule", "constant", "--limit", "200"]
    folder = train(tmp_path, *options, "--patience", str(patience))
    scores = [(float(row["val_acc"]), -float(row["val_loss"])) for row in history(folder)]
    best = max(range(len(scores)), key=lambda epoch: (scores[epoch], -epoch))
    result = json.loads((folder / "result.json").read_text())
    assert result["stopped_early"]
    assert result["best_epoch"] == best + 1
    assert len(scores) == result["epochs"] == best + 1 + patience
    # nor was there an earlier place to stop
    assert all(max(scores[i + 1 : i + 1 + patience]) > max(scores[: i + 1]) for i in range(best))
