"""Training through the installed program: what it does with its options and its weights."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults.installed import run
from safetensors.numpy import save_file

from cnncli.engine.session import Session
from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Split
from cnncli.io.images.read import read_image
from cnncli.model import parse_model
from cnncli.model.sources import Source
from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session, predict
from cnncli.tasks.train.loop import make_engine_session as make_training_session
from cnncli.tasks.train.loop import train as train_task
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.plan import plan_training
from cnncli.tasks.train.run_directory import RunDirectory
from cnncli.tasks.train.splitting import epoch_order, stratified_split

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


def test_loss_of_the_first_epoch_is_the_smoothed_and_weighted_mean(tmp_path):
    """With one step the weights of the loss are the first ones."""
    options = ["-e", "1", "-b", "500", "--limit", "150", "--val-split", "0", "--seed", "3", "--optimizer", "sgd"]
    folder = train(tmp_path, *options, "--label-smoothing", "0.2", "--class-weights", "balanced")
    data = load_dataset("digits")
    labels = data.train.labels[:150]
    x = (data.train.images[:150].reshape(150, -1) / 255 - data.mean[0]) / data.std[0]
    logits = x @ Session(parse_model(LINEAR), batch_size=1, threads=1, seed=3).parameters.reshape(10, 64).T
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    weights = 150 / (10 * np.bincount(labels, minlength=10))
    targets = weights * (0.8 * np.eye(10)[labels] + 0.02)
    expected = -(targets * logs).sum() / weights[labels].sum()
    assert float(history(folder)[0]["loss"]) == pytest.approx(expected, rel=1e-5)
    assert 'label_smoothing: 0.2\nclass_weights: "balanced"\n' in (folder / "config.yaml").read_text()


def test_a_run_begins_with_the_weights_of_another_one(tmp_path):
    text = LINEAR.replace("dense: {units: classes", "dense: 12, relu, dense: {units: UNITS")
    for name, units in {"first": "10", "same": "classes"}.items():
        (tmp_path / f"{name}.yaml").write_text(text.replace("UNITS", units))
    (tmp_path / "other.yaml").write_text(text.replace("12", "12, relu, dense: 7").replace("UNITS", "10"))
    assert run(["train", "first.yaml", "-d", "digits", "-o", "a", "-q", "-e", "2"], tmp_path).code == 0
    first = read_checkpoint(tmp_path / "a").parameters
    options = ["-d", "digits", "-e", "0", "--init-from", "a", "--plain", "-o"]
    same = run(["train", "same.yaml", *options, "b"], tmp_path)
    assert same.code == 0, same.err
    assert "note: 3 of 3 tensors begin as in a" in same.err
    found = read_checkpoint(tmp_path / "b/last.safetensors").parameters
    assert all(np.array_equal(found[name], first[name]) for name in first)
    other = run(["train", "other.yaml", *options, "c"], tmp_path)
    assert other.code == 0, other.err
    assert "note: with new first values: fc2/weight (7x12, there 10x12), fc2/bias, fc3/weight\n" in other.err
    found = read_checkpoint(tmp_path / "c/last.safetensors").parameters
    assert np.array_equal(found["fc1/weight"], first["fc1/weight"])
    fresh = Session(parse_model((tmp_path / "other.yaml").read_text()), batch_size=1, threads=1).named()
    assert np.array_equal(found["fc2/weight"], fresh["fc2/weight"])


def test_a_run_begins_with_the_weights_of_another_program(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (10, 64))
    save_file({"fc1/weight": weight, "fc1/bias": np.ones(10)}, tmp_path / "foreign.safetensors")
    (tmp_path / "net.yaml").write_text(LINEAR)
    options = ["train", "net.yaml", "-d", "digits", "-e", "0", "--init-from", "foreign.safetensors", "--plain", "-o"]
    done = run([*options, "a"], tmp_path)
    assert done.code == 0, done.err
    assert "note: 1 of 1 tensors begin as in foreign.safetensors" in done.err
    assert "fc1/bias of foreign.safetensors" in done.err
    found = read_checkpoint(tmp_path / "a/last.safetensors").parameters
    assert np.array_equal(found["fc1/weight"], weight.astype(np.float32))
    save_file({"fc1/weight": np.full((10, 64), np.nan)}, tmp_path / "foreign.safetensors")
    refused = run([*options, "b"], tmp_path)
    assert (refused.code, "not finite" in refused.err, (tmp_path / "b").exists()) == (3, True, False)


def test_weights_of_which_none_fits_are_refused(tmp_path):
    train(tmp_path, "-e", "1", "--limit", "100")
    result = run(["train", "lenet5", "-d", "digits", "--init-from", "r", "-o", "x"], tmp_path)
    assert result.code == 3, result.err
    assert not (tmp_path / "x").exists()


def test_one_unit_tells_two_classes_apart(tmp_path):
    """Zeros and ones among the digits, by binary cross-entropy; predictions name the classes."""
    data = load_dataset("digits")
    parts = [Split(part.images[part.labels < 2], part.labels[part.labels < 2]) for part in (data.train, data.test)]
    binary = replace(data, train=parts[0], test=parts[1], classes=("zero", "one"))
    text = "{name: two, input: [8, 8, 1], classes: 2, layers: [flatten, dense: 1, sigmoid]}"
    plan = plan_training(
        TrainingOptions("two", "digits", epochs=10, optimizer="sgd", lr=0.5), Source(text, "two.yaml"), binary
    )
    with RunDirectory(tmp_path / "run") as opened:
        done = list(train_task(plan, opened, make_training_session))[-1]
    assert done.test_acc > 0.95
    checkpoint = read_checkpoint(tmp_path / "run")
    assert checkpoint.training["loss"] == "binary_cross_entropy"
    session = make_engine_session(checkpoint_model(checkpoint, "run"), checkpoint, batch_size=64, threads=1)
    load_weights(session, checkpoint)
    for i, picture in enumerate(parts[1].images):
        (tmp_path / f"{i}.pgm").write_bytes(b"P5 8 8 255\n" + picture.tobytes())
    names = [str(tmp_path / f"{i}.pgm") for i in range(len(parts[1]))]
    answers = list(predict(checkpoint, lambda: session, names, read_image))
    ones = session.predict(np.ascontiguousarray(parts[1].images))[:, 0]
    assert [answer.label for answer in answers] == ["one" if one > 0.5 else "zero" for one in ones]
    assert all(answer.probs.sum() == pytest.approx(1) for answer in answers)
    assert np.mean([answer.index for answer in answers] == parts[1].labels) == done.test_acc


NORMALISED = """{name: normalised, input: [8, 8, 1], classes: 10, layers: [
  conv: {filters: 4, kernel: 3, bias: false}, batchnorm: {momentum: 0.5}, relu, flatten, dense: classes, softmax]}"""


def test_best_weights_come_with_their_running_statistics(tmp_path):
    """A network with batch normalisation and a large learning rate: the best epoch is not the last one."""
    (tmp_path / "net.yaml").write_text(NORMALISED)
    options = ["-e", "6", "--optimizer", "sgd", "--lr", "4", "--schedule", "constant", "--limit", "200"]
    result = run(["train", "net.yaml", "-d", "digits", "-o", "r", "-q", *options], tmp_path)
    assert result.code == 0, result.err
    found = {}
    for name in ("best", "last"):
        checkpoint = read_checkpoint(tmp_path / "r" / f"{name}.safetensors")
        session = make_engine_session(checkpoint_model(checkpoint, "net"), checkpoint, batch_size=64, threads=1)
        load_weights(session, checkpoint)
        found[name] = checkpoint, session
    data = load_dataset("digits")
    train, test = data.train.first(200), data.test.first(200)
    _, held_out = stratified_split(train.labels, 0.1, 0)
    (best, session), (last, _) = found["best"], found["last"]
    assert best.training["epoch"] < 6
    assert not np.array_equal(best.parameters["bn1/mean"], last.parameters["bn1/mean"])
    loss, accuracy = session.evaluate(train.images[held_out], train.labels[held_out])
    assert (loss, accuracy) == (best.training["val_loss"], best.training["val_acc"])
    answers = session.predict(train.images[held_out]).argmax(1)
    assert (answers == train.labels[held_out]).mean() == best.training["val_acc"]
    told = json.loads((tmp_path / "r/result.json").read_text())
    assert session.evaluate(test.images, test.labels) == (told["test_loss"], told["test_acc"])


def test_predict_says_the_validation_figure_of_a_network_with_batch_normalisation(tmp_path):
    (tmp_path / "net.yaml").write_text(NORMALISED)
    data = load_dataset("digits")
    assert run(["train", "net.yaml", "-d", "digits", "-o", "r", "-q", "-e", "2"], tmp_path).code == 0
    for i, picture in enumerate(data.test.images[:50]):
        (tmp_path / f"{i}.pgm").write_bytes(b"P5 8 8 255\n" + picture.tobytes())
    result = run(["predict", "r", *(f"{i}.pgm" for i in range(50)), "--json", "-q"], tmp_path)
    assert result.code == 0, result.err
    checkpoint = read_checkpoint(tmp_path / "r")
    session = make_engine_session(checkpoint_model(checkpoint, "net"), checkpoint, batch_size=64, threads=1)
    load_weights(session, checkpoint)
    expected = session.predict(data.test.images[:50]).argmax(1)
    assert [json.loads(line)["index"] for line in result.out.splitlines()] == expected.tolist()
