"""Checks that train nothing: the forecast, one batch learnt by heart, gradients against differences."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from tasks.train.continued import ARCH
from tasks.train.fake_session import FakeSession

from cnncli.engine.session import Session
from cnncli.errors import MismatchError, NumericError
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Split
from cnncli.model.sources import Source
from cnncli.tasks.train import gradcheck
from cnncli.tasks.train.forecast import forecast
from cnncli.tasks.train.gradcheck import check_gradients
from cnncli.tasks.train.loop import make_engine_session
from cnncli.tasks.train.options import TrainingOptions
from cnncli.tasks.train.overfit import overfit_batch
from cnncli.tasks.train.plan import plan_training

NET = """{name: net, input: [8, 8, 1], classes: 10, layers: [
  conv: {filters: 4, kernel: 3}, batchnorm, relu, maxpool: 2, flatten, dropout: 0.3, dense: classes, softmax]}"""


def planned(arch=ARCH, data=None, **options):
    wanted = TrainingOptions("net", "digits", **{"limit": 200, "batch_size": 16} | options)
    return plan_training(wanted, Source(arch, "net"), data or load_dataset("digits"))


def test_a_forecast_adds_up_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_cnn("train", "--dataset", "digits", "--epochs", 3, "--dry-run", "--json")
    assert result.code == 0, result.err
    plan = json.loads(result.out.splitlines()[0])
    found = plan["forecast"]
    assert plan["parameters"] == 38_282
    assert found["images_per_s"] > 0
    assert found["epoch_s"] >= 1294 / found["images_per_s"] * 0.99
    assert found["total_s"] >= 3 * found["epoch_s"]
    assert found["peak_bytes"] > plan["memory_bytes"]
    plain = run_cnn("train", "--dataset", "digits", "--epochs", 3, "--dry-run", "--plain").out
    words = dict(word.split("=") for word in plain.split())
    assert list(words) == ["parameters", "memory_mib", "peak_mib", "images_per_s", "epoch_s", "total_s"]
    assert list(tmp_path.iterdir()) == []


def test_a_forecast_of_a_continued_run_is_of_what_is_left():
    class Slow(FakeSession):
        def train_batch(self, *arguments):
            import time

            time.sleep(0.01)
            return super().train_batch(*arguments)

    plan = planned(epochs=4)
    whole, half = (forecast(plan, Slow, done) for done in (0, 2))
    assert half.total_s == pytest.approx(whole.total_s / 2, rel=0.4)


def test_one_batch_is_learnt_by_heart_or_the_check_fails():
    rows = list(overfit_batch(planned(NET, lr=0.01), make_engine_session))
    assert rows[-1].is_result
    assert rows[-1].figures["right"] == rows[-1].figures["images"] == 16
    assert rows[-1].figures["loss"] < rows[0].figures["loss"]
    with pytest.raises(MismatchError, match=r"one batch is not learnt by heart in 500 steps: \d+ of 16 right, loss "):
        list(overfit_batch(planned(lr=1e-9), FakeSession))
    with pytest.raises(NumericError, match=r"loss became nan at step 1 of one batch \(lr 1\); try --lr 0.1"):
        list(overfit_batch(planned(lr=1.0), lambda plan: FakeSession(plan, poison_at=(1, 1))))


def numbers():
    """Targets that are numbers: how bright each digit is, and its label."""
    data = load_dataset("digits")

    def targets(part):
        brightness = part.images.mean((1, 2, 3)) / 64
        return Split(part.images, np.stack([brightness, part.labels / 10], 1))

    return replace(
        data, train=targets(data.train), test=targets(data.test), classes=("brightness", "label"), targets="numbers"
    )


REGRESSION = "{name: net, input: [8, 8, 1], layers: [flatten, dense: 8, tanh, dense: classes]}"
BINARY = "{name: net, input: [8, 8, 1], classes: 2, layers: [flatten, dense: 3, tanh, dense: 1, sigmoid]}"


def two_classes():
    data = load_dataset("digits")
    parts = [Split(part.images[part.labels < 2], part.labels[part.labels < 2]) for part in (data.train, data.test)]
    return replace(data, train=parts[0], test=parts[1], classes=("zero", "one"))


LOSSES = {
    "cross_entropy": lambda: planned(NET),
    "weighted": lambda: planned(NET, class_weights="balanced", label_smoothing=0.1),
    "binary_cross_entropy": lambda: planned(BINARY, two_classes()),
    "mse": lambda: planned(REGRESSION, numbers(), loss="mse", lr=0.01),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_agree_for_every_loss(loss):
    *rows, last = check_gradients(LOSSES[loss]())
    assert last.is_result
    assert last.figures["arrays"] == len(rows) >= 4
    assert last.figures["largest_error"] == max(row.figures["error"] for row in rows) < 1e-6


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_one_batch_is_learnt_by_heart_with_every_loss(loss):
    rows = list(overfit_batch(LOSSES[loss](), make_engine_session))
    assert rows[-1].is_result
    assert ("right" in rows[-1].figures) == (loss != "mse")


def test_a_wrong_gradient_is_found(monkeypatch):
    engine = gradcheck._engine

    def wrong(plan):
        loss_of, values, gradients = engine(plan)

        def spoiled():
            loss = loss_of()
            gradients[:36] *= 1.001  # of conv1/weight
            return loss

        return spoiled, values, gradients

    monkeypatch.setattr(gradcheck, "_engine", wrong)
    with pytest.raises(
        NumericError, match=r"net: gradients differ from differences .* by up to .*: conv1/weight; "
    ) as e:
        list(check_gradients(planned(NET)))
    assert e.value.exit_code == 6


def test_gradcheck_leaves_the_first_weights_as_they_are():
    loss_of, values, _ = gradcheck._engine(planned(NET))
    before = values.copy()
    first = loss_of()
    assert loss_of() == first
    assert np.array_equal(values, before)
    assert np.allclose(values, Session(planned(NET).model, batch_size=1, threads=1).parameters, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gradcheck", "--dry-run"], "--dry-run and --gradcheck exclude each other"),
        (["--gradcheck", "--lr", "1"], "--lr is not used by --gradcheck"),
        (["--overfit-batch", "--epochs", "3"], "--epochs is not used by --overfit-batch"),
        (["--overfit-batch", "-o", "run"], "--run-dir is not used by --overfit-batch"),
        (["--gradcheck", "--resume", "run"], "--resume is not used by --gradcheck"),
        (["--overfit-batch", "--no-report"], "--report is not used by --overfit-batch"),
    ],
)
def test_what_a_check_does_not_use_is_refused(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_error(run_cnn("train", "--dataset", "digits", *options), 2, message)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_has_its_exit_code_and_its_row_in_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_cnn("train", "-d", "digits", "--limit", 64, "--overfit-batch", "--lr", "1e-9", "--json")
    assert result.code == 4
    *rows, error = (json.loads(line) for line in result.out.splitlines())
    assert {row["event"] for row in rows} == {"note", "overfit"}
    assert error["error"]["code"] == 4
    quiet = run_cnn("train", "-d", "digits", "--limit", 64, "--gradcheck", "-q")
    assert (quiet.code, len(quiet.out.splitlines())) == (0, 1)


def test_an_accuracy_is_no_target_for_numbers():
    from cnncli.errors import UsageError

    with pytest.raises(UsageError, match=r"--target 0\.9 is an accuracy, and targets that are numbers have none"):
        planned(REGRESSION, numbers(), loss="mse", target="0.9")
    assert planned(REGRESSION, numbers(), loss="mse", target="val_loss=0.01").options.target == "val_loss=0.01"
