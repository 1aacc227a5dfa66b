"""Targets that are numbers are standardised within the training: their unit and zero change nothing but the unit."""

import csv
import json

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

from cnncli.io.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

NETWORK = "input: [6, 6, 1]\nlayers:\n  - flatten\n  - dense: 8\n  - relu\n  - dense: classes\n"
GIVEN = ("-e", 8, "-b", 16, "--lr", 0.01, "-q", "--seed", 2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Return a folder with pictures and three tables: targets near 1, the same times 1024, and prices near 250,000."""
    folder = tmp_path_factory.mktemp("scale")
    (folder / "p").mkdir()
    random = np.random.default_rng(4)
    rows = []
    for number in range(90):
        upper, lower = random.integers(0, 256, 2).tolist()
        Image.fromarray(np.array([upper, lower], np.uint8).repeat(18).reshape(6, 6)).save(folder / f"p/{number}.png")
        rows.append((f"p/{number}.png", "test" if number >= 70 else "train", upper / 128 + 0.25, lower / 128 - 1.0))
    forms = {"one": (1.0, 0.0), "large": (1024.0, 0.0), "price": (10_000.0, 250_000.0)}
    for name, (factor, offset) in forms.items():
        lines = [f"{path},{part},{a * factor + offset!r},{b!r}\n" for path, part, a, b in rows]
        (folder / f"{name}.csv").write_text("path,split,a,b\n" + "".join(lines))
    (folder / "net.yaml").write_text(NETWORK)
    for name in forms:
        done = run_cnn("train", folder / "net.yaml", "-d", folder / f"{name}.csv", "-o", folder / name, *GIVEN)
        assert done.code == 0, done.err
    return folder


def truths(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return np.array([[float(row["a"]), float(row["b"])] for row in csv.DictReader(file)])


def answers(folder, name):
    names = [folder / f"p/{number}.png" for number in range(90)]
    lines = run_cnn("predict", folder / name, *names, "--json").out.splitlines()
    return np.array([list(json.loads(line)["values"].values()) for line in lines])


def test_mean_and_deviation_are_those_of_the_training_images(tables):
    for name in ("one", "price"):
        facts = read_checkpoint(tables / name).training
        assert run_cnn("eval", tables / name, "--part", "train", "--json").json["images"] == 63
        lines = run_cnn("eval", tables / name, "--part", "train", "--format", "jsonl").out.splitlines()
        targets = np.array([list(json.loads(line)["targets"].values()) for line in lines])
        np.testing.assert_allclose(facts["target_mean"], targets.mean(0), rtol=1e-13)
        np.testing.assert_allclose(facts["target_std"], targets.std(0), rtol=1e-12)


def test_another_unit_gives_the_same_weights_and_answers_in_it(tables):
    one, large = (read_checkpoint(tables / name) for name in ("one", "large"))
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(large.parameters[name], array)
    np.testing.assert_allclose(answers(tables, "large") / [1024, 1], answers(tables, "one"), rtol=1e-5, atol=2e-6)


def test_large_targets_are_learnt_and_all_figures_are_in_their_unit(tables):
    truth, answer = truths(tables, "price")[70:], answers(tables, "price")[70:]
    errors = answer - truth
    for number in (3, 70):  # a picture alone takes another way through the network
        row = run_cnn("predict", tables / "price", tables / f"p/{number}.png", "--json").json
        assert list(row["values"].values()) == answers(tables, "price")[number].tolist()
    body = run_cnn("eval", tables / "price", "--json").json
    assert body["loss"] == pytest.approx((errors**2).mean(), rel=1e-4)
    assert body["rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
    assert body["mae"] == pytest.approx(abs(errors).mean(), rel=1e-4)
    for column, one in enumerate(body["per_target"]):
        assert one["rmse"] == pytest.approx(np.sqrt((errors[:, column] ** 2).mean()), rel=1e-4)
        expected = 1 - (errors[:, column] ** 2).sum() / ((truth[:, column] - truth[:, column].mean()) ** 2).sum()
        assert one["r2"] == pytest.approx(expected, abs=1e-4)
        assert one["r2"] > 0.5
    result = json.loads((tables / "price/result.json").read_text())
    assert result["test_loss"] == body["loss"]
    held = run_cnn("eval", tables / "price", "--part", "validation", "--json", "-b", 3).json
    assert held["loss"] == result["val_loss"]
    with (tables / "price/history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 5


def test_the_training_loss_is_in_the_unit_too(tables):
    first = {}
    for name in ("one", "large"):
        with (tables / name / "history.csv").open() as file:
            first[name] = float(next(csv.DictReader(file))["loss"])
    # of two targets only the first has another unit
    assert first["one"] * 10_000 < first["large"] < first["one"] * 1024**2


def test_a_continued_run_and_a_config_give_the_same_bytes(tables, tmp_path):
    given = ("train", tables / "net.yaml", "-d", tables / "price.csv", *GIVEN, "--schedule", "constant")
    assert run_cnn(*given, "-o", tmp_path / "whole").code == 0
    assert run_cnn(*given, "-e", 3, "-o", tmp_path / "parts").code == 0
    assert run_cnn("train", "--resume", tmp_path / "parts", "-e", 8, "-q").code == 0
    assert run_cnn("train", "--config", tmp_path / "whole/config.yaml", "-o", tmp_path / "again", "-q").code == 0
    best = (tmp_path / "whole/best.safetensors").read_bytes()
    for name in ("parts", "again"):
        assert (tmp_path / name / "best.safetensors").read_bytes() == best


def test_checks_take_standardised_targets(tables):
    given = ("train", tables / "net.yaml", "-d", tables / "price.csv", "--lr", 0.02, "-b", 8, "-q")
    assert run_cnn(*given, "--overfit-batch").code == 0
    checked = run_cnn("train", tables / "net.yaml", "-d", tables / "price.csv", "-b", 8, "-q", "--gradcheck")
    assert checked.code == 0, checked.err


def test_behind_a_sigmoid_and_for_constant_targets(tables, tmp_path):
    (tmp_path / "net.yaml").write_text(NETWORK + "  - sigmoid\n")
    given = ("train", tmp_path / "net.yaml", "-d", tables / "one.csv", *GIVEN, "--loss", "mse")
    assert run_cnn(*given, "-o", tmp_path / "run").code == 0
    assert "target_std" not in read_checkpoint(tmp_path / "run").training
    table = tables / "constant.csv"
    table.write_text("path,y\n" + "".join(f"p/{number}.png,0.1\n" for number in range(30)))
    assert run_cnn("train", tables / "net.yaml", "-d", table, *GIVEN, "-o", tmp_path / "c").code == 0
    row = run_cnn("predict", tmp_path / "c", tables / "p/3.png", "--json").json
    assert row["values"]["y"] == pytest.approx(0.1, abs=0.5)


@pytest.mark.parametrize(
    "facts", [{"target_std": [1.0]}, {"target_std": [0.0, 1.0]}, {"target_mean": None}, {"target_std": "1"}]
)
def test_a_checkpoint_with_another_scale_is_refused(facts, tables, tmp_path):
    found = read_checkpoint(tables / "one")
    broken = {**vars(found), "training": {**found.training, **facts}}
    write_checkpoint(tmp_path / "b.safetensors", Checkpoint(**broken))
    refused = run_cnn("predict", tmp_path / "b.safetensors", tables / "p/3.png")
    expect_error(refused, 3, "target_mean and target_std are not one number per output")
