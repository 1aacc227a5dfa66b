"""Optimizer options of `cnn train` against slow formulas in NumPy: softmax regression with biases, in float64."""

import numpy as np
import pytest
from command_line import run_cnn

from cnncli.engine.session import Session
from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.model import parse_model
from cnncli.tasks.train.splitting import epoch_order

NET = "{name: linear, input: [8, 8, 1], classes: 10, layers: [flatten, dense: classes, softmax]}"
COUNT, BATCH, EPOCHS, LR, SEED = 60, 16, 2, 0.02, 5


def momentum_step(state, g, w, lr, momentum, nesterov):
    """Sutskever's form with the learning rate outside, as PyTorch's SGD."""
    state["v"] = momentum * state.get("v", 0) + g
    return w - lr * (g + momentum * state["v"] if nesterov else state["v"])


def rmsprop_step(state, g, w, lr, momentum, nesterov):
    """Hinton's lecture 6e, with PyTorch's 0.99 and 1e-8."""
    state["s"] = 0.99 * state.get("s", 0) + 0.01 * g * g
    state["v"] = momentum * state.get("v", 0) + g / (np.sqrt(state["s"]) + 1e-8)
    return w - lr * state["v"]


def slow_training(step, *, momentum=0.0, nesterov=False, decay=0.0, decays_biases=False, clip=None):
    data = load_dataset("digits")
    x = (data.train.images[:COUNT].reshape(COUNT, -1) / 255 - data.mean[0]) / data.std[0]
    y = np.eye(10)[data.train.labels[:COUNT]]
    first = Session(parse_model(NET), batch_size=1, threads=1, seed=SEED).named()
    arrays = {name: array.astype(float) for name, array in first.items()}
    states = {name: {} for name in arrays}
    for epoch in range(1, EPOCHS + 1):
        order = epoch_order(np.arange(COUNT), SEED, epoch)
        for start in range(0, COUNT, BATCH):
            picks = order[start : start + BATCH]
            logits = x[picks] @ arrays["fc1/weight"].T + arrays["fc1/bias"]
            e = np.exp(logits - logits.max(1, keepdims=True))
            error = (e / e.sum(1, keepdims=True) - y[picks]) / len(picks)
            gradients = {"fc1/weight": error.T @ x[picks], "fc1/bias": error.sum(0)}
            norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
            scale = 1.0 if clip is None or norm <= clip else clip / norm
            for name, g in gradients.items():
                shrinks = decay if name == "fc1/weight" or decays_biases else 0.0
                full = g * scale + shrinks * arrays[name]
                arrays[name] = step(states[name], full, arrays[name], LR, momentum, nesterov)
    return arrays


CASES = {
    "nesterov": (
        ["--optimizer", "momentum", "--nesterov"],
        {"step": momentum_step, "momentum": 0.9, "nesterov": True},
    ),
    "clipped": (
        ["--optimizer", "momentum", "--momentum", "0.5", "--clip-norm", "0.3"],
        {"step": momentum_step, "momentum": 0.5, "clip": 0.3},
    ),
    "decay of weights": (
        ["--optimizer", "sgd", "--weight-decay", "0.3"],
        {"step": momentum_step, "decay": 0.3},
    ),
    "decay of all": (
        ["--optimizer", "momentum", "--weight-decay", "0.3", "--decay-all"],
        {"step": momentum_step, "momentum": 0.9, "decay": 0.3, "decays_biases": True},
    ),
    "rmsprop": (["--optimizer", "rmsprop"], {"step": rmsprop_step}),
    "rmsprop, all": (
        ["--optimizer", "rmsprop", "--momentum", "0.4", "--weight-decay", "0.1", "--decay-all", "--clip-norm", "0.5"],
        {"step": rmsprop_step, "momentum": 0.4, "decay": 0.1, "decays_biases": True, "clip": 0.5},
    ),
    "nesterov, all": (
        ["--optimizer", "momentum", "--nesterov", "--weight-decay", "0.1", "--decay-all", "--clip-norm", "0.5"],
        {"step": momentum_step, "momentum": 0.9, "nesterov": True, "decay": 0.1, "decays_biases": True, "clip": 0.5},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_of_the_slow_formula(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(NET)
    options, oracle = CASES[case]
    numbers = ["-e", EPOCHS, "-b", BATCH, "--lr", LR, "--seed", SEED, "--limit", COUNT]
    fixed = ["--val-split", 0, "--schedule", "constant", "--no-report", "-q", "-o", "run"]
    result = run_cnn("train", "net.yaml", "-d", "digits", *numbers, *fixed, *options)
    assert result.code == 0, result.err
    expected = slow_training(**oracle)
    found = read_checkpoint(tmp_path / "run/last.safetensors").parameters
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=2e-4, atol=5e-6, err_msg=name)
    plain = slow_training(**oracle | {"nesterov": False, "decay": 0.0, "clip": None, "step": momentum_step})
    if case != "rmsprop":  # the option matters: without it the weights would be others
        assert not np.allclose(plain["fc1/weight"], expected["fc1/weight"], rtol=2e-4, atol=5e-6)


def test_init_from_says_that_pixels_have_other_statistics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(NET)
    common = ["train", "net.yaml", "-e", 0, "--no-report", "--plain"]
    assert run_cnn(*common, "-d", "digits", "-o", "a").code == 0
    same = run_cnn(*common, "-d", "digits", "-o", "b", "--init-from", "a/last.safetensors")
    assert same.code == 0, same.err
    assert "those that" not in same.err
    random = np.random.default_rng(0)
    arrays = {f"x_{part}": random.integers(0, 99, (40, 8, 8, 1), np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "own.npz", **arrays, y_train=np.arange(40) % 10, y_test=np.arange(40) % 10)
    other = run_cnn(*common, "-d", "own.npz", "-o", "c", "--init-from", "a/last.safetensors")
    assert other.code == 0, other.err
    data = load_dataset("digits")
    line = next(line for line in other.err.splitlines() if "those that a/last.safetensors was trained on had" in line)
    assert line.endswith(f"had mean {data.mean[0]:.4g}, std {data.std[0]:.4g}")
