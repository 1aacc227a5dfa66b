"""The worked examples of training, through the kernels and functions that training itself uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cnncli.compute.arguments import Learner, Maps, Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op, OpSequence, Program
from cnncli.engine.memory import Memory
from cnncli.engine.weights import initial_values
from cnncli.model import parse_model
from cnncli.tasks.train.splitting import stratified_split

CASES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())


def of(op):
    return [pytest.param(case["input"], case, id=case["id"]) for case in CASES if case["input"]["op"] == op]


def run(kernel, tasks=1, **operands):
    placed = {name: Operand(value) if isinstance(value, np.ndarray) else value for name, value in operands.items()}
    Program([[OpSequence((Op(kernel, placed),), tasks)]], 1, "float64").run()


def maps(values, height, width):
    return Maps(Operand(values), 1, height, width, height * width * LANES, width * LANES)


def lanes(values):
    """Return one image's numbers as vectors of LANES equal images."""
    return np.repeat(np.asarray(values, np.float64).ravel(), LANES)


def probabilities(logits):
    result = np.zeros((LANES, len(logits)))
    run("losses.softmax_rows", z=lanes(logits), rows=result, classes=len(logits), lanes=LANES)
    return result[0]


@pytest.mark.parametrize(("given", "case"), of("softmax"))
def test_softmax(given, case):
    np.testing.assert_allclose(probabilities(given["logits"]), case["expected"], rtol=0, atol=case["tol"])


@pytest.mark.parametrize(("given", "case"), of("softmax_rounded_sum"))
def test_rounded_probabilities_miss_one(given, case):
    assert probabilities(given["logits"]).round(given["decimals"]).sum() == pytest.approx(case["expected"])


@pytest.mark.parametrize(("given", "case"), of("loss"))
def test_cross_entropy(given, case):
    logits = lanes(given["logits"])
    labels, losses, hits = np.full(LANES, given["label"]), np.zeros(LANES), np.zeros(LANES, np.int64)
    run("losses.softmax_cross_entropy", z=logits, dz=np.zeros_like(logits), labels=labels, losses=losses, hits=hits,
        share=np.ones(1), weights=np.ones(len(logits)), smoothing=0.0, classes=len(given["logits"]))  # fmt: skip
    np.testing.assert_allclose(losses, case["expected"], rtol=0, atol=case["tol"])
    assert not hits.any()


@pytest.mark.parametrize(("given", "case"), of("relu_backward"))
def test_relu_backward(given, case):
    x, dy = np.array(given["x"]), np.array(given["dy"], float)
    height, width = x.shape
    dx = np.zeros(x.size * LANES)
    arrays = {"y": lanes(np.maximum(x, 0)), "dy": lanes(dy), "dx": dx}
    run("elementwise.relu_backward", **{name: maps(array, height, width) for name, array in arrays.items()})
    np.testing.assert_array_equal(dx.reshape(height, width, LANES)[..., 0], case["expected"])


@pytest.mark.parametrize(("given", "case"), of("leaky_relu_grad"))
def test_leaky_relu_gradient(given, case):
    x, alpha = lanes(given["x"]), given["alpha"]
    y, dx = np.zeros_like(x), np.zeros_like(x)
    width = len(given["x"])
    run("activation.leaky_relu_forward", x=maps(x, 1, width), y=maps(y, 1, width), setting=alpha)
    run("activation.leaky_relu_backward", v=maps(y, 1, width), dy=maps(np.ones_like(x), 1, width),
        dx=maps(dx, 1, width), setting=alpha)  # fmt: skip
    np.testing.assert_allclose(dx[::LANES], case["expected"], rtol=0, atol=case["tol"])


def batch_moments(given, eps):
    """Return statistics (mean, 1 / deviation) and moments (mean, unbiased variance) of the numbers, one per pixel."""
    x, statistics, moments, parts = lanes(given["x"]), np.zeros(2), np.zeros(2), np.zeros(2)
    count = np.array([LANES])
    run("norms.batchnorm.block_moments", x=maps(x, 1, len(given["x"])), moments=parts, count=count)
    run("norms.batchnorm.batch_moments", parts=parts, step=2, statistics=statistics, batch=moments, channels=1,
        blocks=1, pixels=len(given["x"]), eps=eps, count=count)  # fmt: skip
    return statistics, moments


@pytest.mark.parametrize(("given", "case"), of("batchnorm"))
def test_batch_normalisation(given, case):
    statistics, _ = batch_moments(given, given["eps"])
    x, width = lanes(given["x"]), len(given["x"])
    y = np.zeros_like(x)
    run("norms.batchnorm.normalise", x=maps(x, 1, width), y=maps(y, 1, width), mean=statistics[:1],
        scale=statistics[1:], weight=np.array([given["gamma"]], float), bias=np.array([given["beta"]], float),
        low=-np.inf, high=np.inf)  # fmt: skip
    np.testing.assert_allclose(y[::LANES], case["expected"], rtol=0, atol=case["tol"])


@pytest.mark.parametrize(("given", "case"), of("batchnorm_moving"))
def test_running_statistics(given, case):
    """Keras lets the biased variance of the batch move the running one, we the unbiased one, as PyTorch does."""
    assert given["convention"] == "keras"
    count = len(given["x"]) * LANES  # each number stands in every lane: the batch is that much larger
    _, moments = batch_moments(given, 1e-5)
    biased = np.array([moments[0], moments[1] * (count - 1) / count])
    wanted = {"biased": case["expected"]["var"]}
    wanted["unbiased"] = given["momentum"] * given["var0"] + (1 - given["momentum"]) * moments[1]
    for name, batch in (("biased", biased), ("unbiased", moments)):
        mean, variance = np.array([given["mean0"]]), np.array([given["var0"]])
        run("norms.batchnorm.follow_moments", batch=batch, mean=mean, variance=variance, channels=1,
            momentum=given["momentum"])  # fmt: skip
        np.testing.assert_allclose(mean, case["expected"]["mean"], rtol=0, atol=case["tol"])
        np.testing.assert_allclose(variance, wanted[name], rtol=0, atol=case["tol"])
    assert moments[1] == pytest.approx(np.repeat(given["x"], LANES).var(ddof=1))


@pytest.mark.parametrize(("given", "case"), of("optimizer_step"))
def test_optimizer_step(given, case):
    count = len(given["param"])
    p, g, first, second = (np.zeros(LANES) for _ in range(4))
    p[:count], g[:count] = given["param"], given["grad"]
    assert given["steps"] == 1

    def learner(rates):
        arrays = p, g, np.ones(LANES), np.array(rates), np.ones(1), np.zeros(1)
        return Learner(*map(Operand, arrays), mask_step=0, length=LANES, per_task=LANES)

    if given["name"] == "adam":
        beta1, beta2 = given["beta1"], given["beta2"]
        rates = [given["lr"], beta1, beta2, given["eps"], 1 - beta1, 1 - beta2, 0.0, 0.0]
        run("optimizer.adam", learner=learner(rates), m=first, v=second)
    else:
        run("optimizer.sgd", learner=learner([given["lr"], 0.0, 0.0, 0.0]), velocity=first)
    np.testing.assert_allclose(p[:count], case["expected"], rtol=0, atol=case["tol"])


@pytest.mark.parametrize(("given", "case"), of("dropout_scale"))
def test_dropout_scale(given, case):
    x, y = np.full(100 * LANES, given["kept_value"]), np.zeros(100 * LANES)
    odds = {"keep": 1 / (1 - given["rate"]), "threshold": round(given["rate"] * 2**32)}
    run("elementwise.dropout", x=maps(x, 1, 100), y=maps(y, 1, 100), key=np.zeros(1, np.uint64), stream=0, **odds)
    wanted = case["expected"]
    kept = y != wanted["train_dropped"]
    assert 0.8 < kept.mean() < 1
    np.testing.assert_allclose(y[kept], wanted["train_kept"], rtol=0, atol=case["tol"])
    assert wanted["inference"] == given["kept_value"]  # dropout is left out of a prediction: tests/engine


@pytest.mark.parametrize(("given", "case"), of("fit_steps"))
def test_fit_steps(given, case):
    training, validation = stratified_split(np.zeros(given["samples"], np.int64), given["validation_split"], 0)
    steps = -(-len(training) // given["batch_size"])
    last = len(training) - (steps - 1) * given["batch_size"]
    wanted = case["expected"]
    assert (len(training), len(validation)) == (wanted["train"], wanted["val"])
    assert (steps, last, steps * given["epochs"]) == (
        wanted["steps_per_epoch"],
        wanted["last_batch"],
        wanted["total_updates"],
    )


def test_properties_of_training():
    names = {case["input"]["name"]: case["input"] for case in CASES if case["input"]["op"] == "property"}
    given = names["uniform_init_range"]
    height, width, channels, filters = given["shape"]
    text = (
        f"cnn: 1\nname: n\ninput: [9, 9, {channels}]\nlayers:\n"
        f"  - conv: {{filters: {filters}, kernel: [{height}, {width}], init: 'uniform:1', bias: false}}\n"
    )
    values = initial_values(parse_model(text, "n.yaml").slots, given["seed"])
    assert values.size == np.prod(given["shape"])
    assert given["low"] <= values.min() < -0.9
    assert 0.9 < values.max() <= given["high"]
    assert probabilities(np.linspace(-50, 50, 10)).sum() == pytest.approx(1, abs=1e-12)
    assert "softmax_sums_to_one" in names


def test_every_case_of_training_is_read():
    read = {"softmax", "softmax_rounded_sum", "loss", "relu_backward", "leaky_relu_grad", "batchnorm",
            "batchnorm_moving", "optimizer_step", "dropout_scale", "fit_steps"}  # fmt: skip
    elsewhere = {"classify_binary", "glorot_uniform_limit"}  # test_golden_filter, test_golden_architecture
    ops = {case["input"]["op"] for case in CASES if case["topic"] in ("training", "softmax")}
    assert ops <= read | elsewhere


def test_memory_is_aligned_for_vectors():
    assert Memory("float32").zeros(10).ctypes.data % 64 == 0
