"""`cnn eval`: the figures that training reported, to the last bit, with any batch size, order and threads."""

import csv
import io
import json
import re

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image
from terminal import read_terminal

from cnncli.engine.losses import Objective
from cnncli.engine.session import Session
from cnncli.errors import InvalidInputError
from cnncli.io.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.dataset import Dataset, Split
from cnncli.io.preprocessing import Preprocessing
from cnncli.model import parse_model
from cnncli.tasks.evaluate import run_data
from cnncli.tasks.evaluate.run_data import Wanted, images_of_run

BINARY = """\
cnn: 1
name: pair
input: [8, 8, 1]
classes: 2
layers:
  - flatten
  - dense: {dense}
  - {ending}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval") / "run"
    assert run_cnn("train", "-d", "digits", "-e", 2, "-q", "-o", folder, "--seed", 3).code == 0
    return folder


def told(run, *options):
    result = run_cnn("eval", run, "--json", *options)
    assert result.code == 0, result.err
    return result.json


def test_the_figures_are_those_of_the_run_to_the_last_bit(run):
    result = json.loads((run / "result.json").read_text())
    facts = read_checkpoint(run).training
    for size, threads in ((1, 2), (7, 1), (64, 2), (1000, 1)):
        test = told(run, "-b", size, "-j", threads)
        assert (test["acc"], test["loss"]) == (result["test_acc"], result["test_loss"])
        assert (test["images"], test["part"]) == (result["test_images"], "test")
        held = told(run, "-b", size, "-j", threads, "--part", "validation")
        assert (held["acc"], held["loss"]) == (facts["val_acc"], facts["val_loss"])
        assert held["images"] == result["val_images"]


def test_a_run_with_a_limit_and_another_share_is_found_again(tmp_path):
    folder = tmp_path / "run"
    options = ("--limit", 300, "--val-split", 0.3, "--seed", 9, "-b", 50)
    assert run_cnn("train", "-d", "digits", "-e", 1, "-q", "-o", folder, *options).code == 0
    result = json.loads((folder / "result.json").read_text())
    assert told(folder)["loss"] == result["test_loss"]
    held = told(folder, "--part", "validation", "-b", 7)
    assert (held["images"], held["acc"], held["loss"]) == (90, result["val_acc"], result["val_loss"])
    assert told(folder, "--part", "train")["images"] == 210


def test_the_json_object_holds_all_figures(run):
    body = told(run, "--worst", 3, "--top-k", 2)
    confusion = np.array(body["confusion"])
    assert confusion.sum() == body["images"] == 359
    assert confusion.trace() == body["correct"] == round(body["acc"] * 359)
    assert [row["class"] for row in body["per_class"]] == body["classes"] == list("0123456789")
    assert [row["images"] for row in body["per_class"]] == confusion.sum(1).tolist()
    assert [row["answered"] for row in body["per_class"]] == confusion.sum(0).tolist()
    assert (body["top_k"], len(body["worst"]), body["checkpoint"]) == (2, 3, f"{run}/best.safetensors")
    assert body["acc"] <= body["top_k_acc"] <= 1
    assert all(one["truth"] != one["label"] for one in body["worst"])
    assert {"arch", "dataset", "epoch", "schema", "acc_interval", "macro_f1", "loss_name"} <= body.keys()


def test_eval_is_predict_image_by_image(run, tmp_path):
    pictures = load_dataset("digits").test
    for number, image in enumerate(pictures.images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number:03}.png")
    lines = [json.loads(line) for line in run_cnn("eval", run, "--format", "jsonl").out.splitlines()]
    names = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    order = np.random.default_rng(0).permutation(len(names))
    rows = run_cnn("predict", run, *(names[place] for place in order), "--json", "-j", 1).out.splitlines()
    for place, row in zip(order, map(json.loads, rows), strict=True):
        assert {key: row[key] for key in ("label", "index", "prob")} == {
            key: lines[place][key] for key in ("label", "index", "prob")
        }
        assert lines[place]["truth"] == str(pictures.labels[place])
        assert lines[place]["correct"] == (row["index"] == pictures.labels[place])


def test_a_bar_on_a_terminal_alone(run, tmp_path):
    shown, code = read_terminal(["eval", run, "-b", "1"], tmp_path)
    assert code == 0
    assert re.search(r"images .*/359", shown)
    assert "/359" not in read_terminal(["eval", run, "-q"], tmp_path)[0]
    assert run_cnn("eval", run).err == ""


def test_text_and_csv(run):
    plain = run_cnn("eval", run).out
    assert f"{run}/best.safetensors · digits · epoch" in plain
    assert "classes in rows, answers in columns" in plain
    assert max(map(len, plain.splitlines()[1:])) <= 80
    rows = list(csv.DictReader(io.StringIO(run_cnn("eval", run, "--format", "csv").out)))
    expected = told(run)["per_class"]
    assert [row["class"] for row in rows] == [row["class"] for row in expected]
    assert [float(row["f1"]) for row in rows] == [row["f1"] for row in expected]
    assert run_cnn("eval", run, "--format", "md").out.count("\n") == 12


def test_a_condition_decides_the_exit_code(run, tmp_path):
    acc = told(run)["acc"]
    assert run_cnn("eval", run, "--expect", f"acc>={acc!r}", "--expect", "loss<100").code == 0
    missed = run_cnn("eval", run, "--expect", "acc>0.9999", "-o", tmp_path / "e.json", "-q")
    expect_error(missed, 4, f"acc is {acc:.10g}, expected > 0.9999")
    assert json.loads((tmp_path / "e.json").read_text())["acc"] == acc
    unknown = run_cnn("eval", run, "--expect", "accuracy>1")
    expect_error(unknown, 2, "no such figure")
    assert unknown.out == ""
    expect_error(run_cnn("eval", run, "--expect", "acc"), 2, "write it as 'acc>=0.9'")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--top-k", "11"], 2, ["the network has 10 classes"]),
        (["--worst", "2", "--format", "csv"], 2, ["--worst has no place in csv"]),
        (["--top-k", "2", "--format", "jsonl"], 2, ["--top-k has no place in jsonl"]),
        (["--dataset", ""], 2, ["--dataset is empty"]),
        (["--dataset", "digitz"], 2, ["did you mean digits?"]),
        (["--data-dir", "."], 2, ["digits is bundled"]),
        (["--json", "--format", "csv"], 2, ["exclude each other"]),
    ],
)
def test_options_that_cannot_be_used_are_refused(run, options, code, words):
    result = run_cnn("eval", run, *options)
    assert result.code == code
    assert all(word in result.err for word in words), result.err


def test_a_part_without_images_is_refused(tmp_path):
    folder = tmp_path / "run"
    assert run_cnn("train", "-d", "digits", "-e", 1, "-q", "-o", folder, "--limit", 100, "--val-split", 0).code == 0
    result = run_cnn("eval", folder, "--part", "validation")
    expect_error(result, 2, "no images for validation", "it has test (100), train (100)")


def test_missing_and_damaged_checkpoints(run, tmp_path):
    expect_error(run_cnn("eval", tmp_path), 3, "holds no best.safetensors")
    data = bytearray((run / "best.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(data)
    expect_error(run_cnn("eval", tmp_path / "bad.safetensors"), 3, "bad.safetensors", "SHA-256")


def checkpoint_of(ending, dense, classes, **facts):
    text = BINARY.format(dense=dense, ending=ending).replace("classes: 2", f"classes: {len(classes)}")
    model = parse_model(text, "net")
    session = Session(model, batch_size=4, threads=1, seed=4, objective=Objective(facts.get("loss", "auto")))
    prep = Preprocessing((1, 8, 8), (0.3,), (0.4,))
    parameters = {name: array.copy() for name, array in session.named().items()}
    return Checkpoint(parameters, text, classes, prep, {"dataset": "digits", **facts}), session


def dataset_of(labels, classes, name="own", targets="classes"):
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 8, 8, 1), np.uint8)
    part = Split(images, labels)
    return Dataset(name, part, part, classes, (0.3,), (0.4,), targets=targets)


@pytest.mark.parametrize(
    ("ending", "dense", "loss", "labels", "targets"),
    [
        ("sigmoid", 1, "binary_cross_entropy", np.arange(30) % 2, "classes"),
        ("sigmoid", 2, "binary_cross_entropy", np.random.default_rng(2).integers(0, 2, (30, 2)) * 1.0, "labels"),
        ("relu", 2, "mse", np.random.default_rng(2).normal(size=(30, 2)), "numbers"),
    ],
)
def test_losses_other_than_softmax(monkeypatch, tmp_path, ending, dense, loss, labels, targets):
    classes = ("no", "yes")
    checkpoint, session = checkpoint_of(ending, dense, classes, loss=loss)
    write_checkpoint(tmp_path / "m.safetensors", checkpoint)
    data = dataset_of(labels, classes, targets=targets)
    monkeypatch.setattr(run_data, "load_data", lambda *_, **__: data)
    session._layout.normalise((0.3,), (0.4,))
    expected = session.evaluate(data.test.images, labels)
    for options in (("-b", 1), ("-b", 7), ("-b", 64, "-j", 2)):
        body = told(tmp_path / "m.safetensors", *options)
        assert body["kind"] == targets
        assert body["loss"] == expected[0]
        assert body["acc"] == (None if targets == "numbers" else expected[1])
    assert ("auc" in body, "label_acc" in body, "rmse" in body, "confusion" in body) == (
        targets == "classes",
        targets == "labels",
        targets == "numbers",
        targets == "classes",
    )
    for style in ("plain", "csv", "jsonl", "md"):
        result = run_cnn("eval", tmp_path / "m.safetensors", "--format", style)
        assert (result.code, result.err) == (0, "")
        assert result.out


def test_a_network_that_answers_with_nan_ends_with_6(monkeypatch, tmp_path):
    checkpoint, _ = checkpoint_of("softmax", 2, ("no", "yes"))
    huge = {name: np.full_like(array, 1e38) for name, array in checkpoint.parameters.items()}
    write_checkpoint(tmp_path / "m.safetensors", Checkpoint(**{**vars(checkpoint), "parameters": huge}))
    monkeypatch.setattr(run_data, "load_data", lambda *_, **__: dataset_of(np.arange(5) % 2, ("no", "yes")))
    expect_error(run_cnn("eval", tmp_path / "m.safetensors"), 6, "answers image 0 with NaN or infinity")


def test_classes_of_another_data_set_are_told_by_their_names(monkeypatch):
    checkpoint, _ = checkpoint_of("softmax", 2, ("no", "yes"))
    swapped = dataset_of(np.array([0, 1, 1]), ("yes", "no"))
    monkeypatch.setattr(run_data, "load_data", lambda *_, **__: swapped)
    assert images_of_run(checkpoint, "m", Wanted()).images.labels.tolist() == [1, 0, 0]
    monkeypatch.setattr(run_data, "load_data", lambda *_, **__: dataset_of(np.array([0, 1]), ("no", "maybe")))
    with pytest.raises(InvalidInputError, match=r"'maybe' of own is no class of the network; it knows no, yes"):
        images_of_run(checkpoint, "m", Wanted())


def test_other_images_than_those_of_the_run_are_said(monkeypatch):
    checkpoint, _ = checkpoint_of("softmax", 2, ("no", "yes"), data_sha256="0" * 64)
    data = dataset_of(np.array([0, 1, 1]), ("no", "yes"))
    monkeypatch.setattr(run_data, "load_data", lambda *_, **__: data)
    assert "not the images of the run: SHA-256" in images_of_run(checkpoint, "m", Wanted()).notes[0]
    same, _ = checkpoint_of("softmax", 2, ("no", "yes"), data_sha256=data.sha256)
    assert images_of_run(same, "m", Wanted()).notes == ()
    assert "has learnt these" in images_of_run(same, "m", Wanted(part="train")).notes[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of pictures in three classes, of mixed sizes, gray and colour."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(5)
    for label, colour in {"red": (200, 40, 30), "<b>green": (30, 190, 60), "blue, dark": (20, 40, 160)}.items():
        (folder / label).mkdir()
        for number in range(20):
            size = random.integers(9, 40, 2)
            pixels = np.clip(random.normal(colour, 30, (*size, 3)), 0, 255).astype(np.uint8)
            picture = Image.fromarray(pixels)
            (picture.convert("L") if number == 7 else picture).save(
                folder / label.replace("/", "_") / f"{number:02}.png"
            )
    return folder


def test_a_run_on_own_pictures_is_found_again_and_predict_agrees(photos, tmp_path):
    folder = tmp_path / "run"
    given = ("train", "-d", photos, "-e", 2, "-q", "-o", folder, "--resize", "16x16", "--val-split", 0.25)
    assert run_cnn(*given).code == 0
    result = json.loads((folder / "result.json").read_text())
    body = told(folder, "--part", "validation", "-b", 7)
    assert (body["acc"], body["loss"], body["images"]) == (result["val_acc"], result["val_loss"], 15)
    assert told(folder)["part"] == ("test" if result["test_images"] else "validation")
    # the same pictures by another name: no run knows them, so all of them are measured
    other = tmp_path / "others"
    for path in sorted(photos.rglob("*.png"))[::3]:
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        (other / path.parent.name / path.name).write_bytes(path.read_bytes())
    lines = run_cnn("eval", folder, "-d", other, "--part", "train", "--format", "jsonl", "-b", 7).out.splitlines()
    rows = run_cnn("predict", folder, other, "-r", "--json").out.splitlines()
    assert len(rows) == len(lines) == 20
    predicted = {row["path"]: row for row in map(json.loads, rows)}
    for line in map(json.loads, lines):
        row = predicted[line["path"]]
        assert {key: line[key] for key in ("label", "prob")} == {key: row[key] for key in ("label", "prob")}
        assert f"/{line['truth']}/" in line["path"]
    worst = told(folder, "-d", other, "--worst", 1)["worst"]
    assert all(one["path"] in predicted for one in worst)


def test_pictures_that_are_gone_or_broken_are_said(photos, tmp_path):
    checkpoint, _ = checkpoint_of("softmax", 2, ("no", "yes"), source=str(tmp_path / "gone"), dataset="gone")
    write_checkpoint(tmp_path / "m.safetensors", checkpoint)
    expect_error(run_cnn("eval", tmp_path / "m.safetensors"), 2, "gone, are not there", "name them with --dataset")
    for name in ("no", "yes"):
        (tmp_path / "d" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "d" / name / "0.png")
    (tmp_path / "d/yes/1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    result = run_cnn("eval", tmp_path / "m.safetensors", "-d", tmp_path / "d", "--part", "train")
    expect_error(result, 3, "1 of 3 pictures cannot be read", "yes/1.png")
