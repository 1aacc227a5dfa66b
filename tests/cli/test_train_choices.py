"""`cnn train --classes`, `--normalize` and `--monitor`: each decides what it says, and is found again."""

import csv
import json
import shutil

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder with train/ and test/ of three classes, some in other sizes than the rest."""
    root = tmp_path_factory.mktemp("choices")
    random = np.random.default_rng(1)
    for part, count in (("train", 9), ("test", 4)):
        for label, level, side in (("cat", 60, 10), ("dog", 120, 10), ("emu", 200, 17)):
            (root / "photos" / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(random.normal(level, 40, (10, side, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / "photos" / part / label / f"{number}.png")
    return root


def test_a_choice_of_classes_is_a_folder_of_them(photos, tmp_path):
    whole = str(photos / "photos")
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        shutil.copytree(photos / "photos" / name, tmp_path / "two" / name)
    chosen = load_data(DataRequest(whole, classes=("cat", "dog")))
    assert chosen.sha256 == load_data(DataRequest(str(tmp_path / "two"))).sha256
    assert chosen.image_shape == (3, 10, 10)  # what is left out has no say in the size
    turned = load_data(DataRequest(whole, classes=("dog", "cat")))
    assert turned.classes == ("dog", "cat")
    folders = [name.split("/")[-2] for name in turned.test.names]
    assert folders == [turned.classes[label] for label in turned.test.labels]


def test_classes_of_arrays_and_of_a_named_set(tmp_path):
    digits = load_data(DataRequest("digits"))
    some = load_data(DataRequest("digits", classes=("7", "1")))
    kept = np.flatnonzero(np.isin(digits.train.labels, (1, 7)))
    np.testing.assert_array_equal(some.train.images, digits.train.images[kept])
    np.testing.assert_array_equal(some.train.labels == 0, digits.train.labels[kept] == 7)
    np.savez(tmp_path / "d.npz", x=digits.train.images, y=digits.train.labels)
    arrays = load_data(DataRequest(str(tmp_path / "d.npz"), classes=("7", "1")))
    np.testing.assert_array_equal(arrays.train.images, some.train.images)
    assert (arrays.mean, arrays.std) == (some.mean, some.std) != (digits.mean, digits.std)


def test_eval_and_resume_find_the_choice_again(photos, tmp_path):
    folder = tmp_path / "run"
    given = ("train", "-d", photos / "photos", "--classes", "emu,cat", "--normalize", "none", "-e", 1, "-q", "-b", 8)
    done = run_cnn(*given, "-o", folder)
    assert done.code == 0, done.err
    prepared = read_checkpoint(folder).preprocessing
    assert (prepared.mean, prepared.std) == ((0.0,) * 3, (1.0,) * 3)
    body = run_cnn("eval", folder, "--json").json
    result = json.loads((folder / "result.json").read_text())
    assert (body["classes"], body["images"], body["loss"]) == (["emu", "cat"], 8, result["test_loss"])
    shutil.copytree(photos / "photos", tmp_path / "moved")
    moved = run_cnn("eval", folder, "-d", tmp_path / "moved", "--json")
    assert (moved.err, moved.json["loss"]) == ("", body["loss"])
    names = sorted((photos / "photos/test").glob("[ce]*/*.png"))
    rows = [json.loads(line) for line in run_cnn("predict", folder, *names, "--labels-from-dirs").out.splitlines()]
    assert sum(row["correct"] for row in rows) == body["correct"]
    assert run_cnn("train", "--resume", folder, "-e", 2, "-q").code == 0
    other = run_cnn("train", "--resume", folder, "-e", 3, "--classes", "cat,emu", "--normalize", "auto")
    expect_error(
        other, 3, "--classes cat,emu (the run: --classes emu,cat)", "--normalize auto (the run: --normalize none)"
    )


def test_numbers_to_normalize_by(photos):
    source = str(photos / "photos")
    pair = load_data(DataRequest(source, resize=(8, 8), normalize="0.5,0.25"))
    assert (pair.mean, pair.std) == ((0.5,) * 3, (0.25,) * 3)
    six = load_data(DataRequest(source, resize=(8, 8), normalize="0.1,0.2,0.3,1,2,3"))
    assert (six.mean, six.std) == ((0.1, 0.2, 0.3), (1, 2, 3))
    assert load_data(DataRequest("digits", normalize="0,2")).std == (2.0,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--classes", "1,eleven"), ("no class 'eleven'", "it has 0,1,2")),
        (("--classes", "1"), ("1 class, need 2 or more",)),
        (("--classes", "1,1"), ("stands twice",)),
        (("--classes", "1,,2"), ("a name is empty",)),
        (("--classes", '"1,2'), ("unexpected end of data",)),
        (("--normalize", "0.5"), ("--normalize '0.5' is not understood",)),
        (("--normalize", "127,64"), ("pixels scaled to 0..1",)),
        (("--normalize", "0.5,0"), ("not understood",)),
        (("--normalize", "nan,1"), ("not understood",)),
        (("--normalize", "0.1,0.2,0.3,1,1,1"), ("3 means for images of 1 channel",)),
        (("--monitor", "val_loss", "--val-split", 0), ("--val-split 0 leaves none",)),
        (("--monitor", "loss", "--epochs", 0), ("--epochs 0 trains nothing",)),
        (("--monitor", "loss", "--overfit-batch"), ("--monitor is not used by --overfit-batch",)),
    ],
)
def test_what_cannot_be_meant_is_refused(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expect_error(run_cnn("train", "-d", "digits", *options), 2, *words)


def test_targets_that_are_no_classes_have_no_classes_and_no_accuracy(photos, tmp_path):
    rows = "".join(f"{path},{number / 2}\n" for number, path in enumerate((photos / "photos").rglob("*.png")))
    table = photos / "photos/t.csv"
    table.write_text("path,y\n" + rows)
    expect_error(run_cnn("train", "-d", table, "--classes", "a,b"), 2, "--classes: the targets of", "are numbers")
    expect_error(run_cnn("train", "-d", table, "--monitor", "val_acc"), 2, "targets that are numbers have none")


@pytest.mark.parametrize("monitor", ["val_acc", "val_loss", "acc", "loss"])
def test_the_monitor_decides_the_best_epoch_and_patience(monitor, tmp_path):
    folder = tmp_path / "run"
    given = ("train", "-d", "digits", "--limit", 200, "-e", 12, "--lr", 0.03, "-b", 16, "--seed", 3, "-q", "-o", folder)
    assert run_cnn(*given, "--monitor", monitor, "--patience", 2, "--no-report").code == 0
    with (folder / "history.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    loss = "val_loss" if monitor.startswith("val_") else "loss"
    keys = [(row[monitor], -row[loss]) if monitor.endswith("acc") else (-row[loss],) for row in rows]
    best = 1 + keys.index(max(keys))
    result = json.loads((folder / "result.json").read_text())
    assert result["best_epoch"] == best
    assert len(rows) == min(12, best + 2)
    assert read_checkpoint(folder).training["epoch"] == best
    other = "loss" if monitor != "loss" else "acc"
    changed = run_cnn("train", "--resume", folder, "--epochs", 20, "--monitor", other)
    expect_error(changed, 3, f"--monitor {other} (the run: --monitor {monitor})")


def test_a_run_without_validation_can_wait_for_its_loss(tmp_path):
    folder = tmp_path / "run"
    given = ("train", "-d", "digits", "--limit", 60, "-e", 3, "-q", "--val-split", 0, "-o", folder, "--no-report")
    expect_error(run_cnn(*given, "--patience", 1), 2, "--val-split 0 leaves none")
    assert run_cnn(*given, "--patience", 1, "--monitor", "loss").code == 0
