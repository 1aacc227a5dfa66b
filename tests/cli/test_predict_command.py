"""`cnn predict` as a user runs it: the numbers of memory, from files."""

import csv
import io
import json

import numpy as np
import pytest
from faults.installed import rows_of, run, said
from PIL import Image

from cnncli.errors import InvalidInputError
from cnncli.io.datasets import load_dataset
from cnncli.io.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    assert run(["train", "-d", "digits", "-q", "--run-dir", "run"], folder).code == 0
    return folder / "run"


@pytest.fixture
def pictures(tmp_path):
    images = load_dataset("digits").test.images[:20, ..., 0]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    return tmp_path


def test_files_give_what_memory_gives(digits_run, pictures):
    from cnncli.io.checkpoint import read_checkpoint
    from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session

    names = [f"{number:02}.png" for number in range(20)]
    result = run(["predict", str(digits_run), *names, "--probs"], pictures)
    rows = rows_of(result)
    checkpoint = read_checkpoint(digits_run)
    session = make_engine_session(checkpoint_model(checkpoint, "run"), checkpoint, batch_size=7, threads=1)
    load_weights(session, checkpoint)
    expected = session.predict(load_dataset("digits").test.images[:20])
    assert said(result) == []
    assert [row["path"] for row in rows] == names
    for row, probs in zip(rows, expected, strict=True):
        assert list(row["probs"].values()) == pytest.approx(probs.tolist(), abs=1e-6)
        assert row["index"] == probs.argmax()
        assert row["label"] == row["top"][0][0] == str(row["index"])
        assert row["prob"] == row["top"][0][1]
        assert len(row["top"]) == 3
        assert row["schema"] == "cnncli/1"


def test_formats(digits_run, pictures):
    table = run(["predict", str(digits_run), "00.png", "01.png", "--format", "plain", "-t", "2"], pictures)
    lines = table.out.decode().splitlines()
    assert lines[0].split() == ["image", "label", "prob", "next"]
    assert lines[1].split()[0] == "00.png"
    text = run(["predict", str(digits_run), "00.png", "01.png", "--format", "csv"], pictures).out.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["path"] for row in rows] == ["00.png", "01.png"]
    assert list(rows[0]) == ["path", "label", "index", "prob", "label2", "prob2", "label3", "prob3", "error"]
    assert run(["predict", str(digits_run), "00.png", "--json"], pictures).out.count(b"\n") == 1


def test_csv_has_every_column_whatever_comes_first(digits_run, pictures):
    arguments = ["predict", str(digits_run), "gone.png", "00.png", "--format", "csv", "--probs", "-t", "99"]
    result = run(arguments, pictures)
    assert result.code == 7
    failed, read = list(csv.DictReader(io.StringIO(result.out.decode())))
    assert failed["error"] == "no such file"
    assert read["error"] == ""
    assert sum(float(read[f"p({digit})"]) for digit in range(10)) == pytest.approx(1, abs=1e-4)
    assert read["label10"]
    assert None not in read


def test_a_picture_from_a_pipe(digits_run, pictures):
    from_file = rows_of(run(["predict", str(digits_run), "00.png"], pictures))
    from_pipe = rows_of(run(["predict", str(digits_run), "-"], pictures, stdin=(pictures / "00.png").read_bytes()))
    assert from_pipe[0]["path"] == "-"
    assert from_pipe[0]["top"] == from_file[0]["top"]


def test_names_cannot_steer_the_terminal(digits_run, pictures):
    bad = "[red]a\x1b[31m\n.png"
    (pictures / "00.png").rename(pictures / bad)
    result = run(["predict", str(digits_run), bad, "--format", "plain"], pictures)
    assert b"\x1b" not in result.out
    assert rb"[red]a\x1b[31m\n.png" in result.out


def test_dark_ink_is_inverted_and_said_unless_told_otherwise(digits_run, pictures):
    pixels = np.asarray(Image.open(pictures / "03.png"))
    Image.fromarray(255 - pixels).save(pictures / "dark.png")
    straight, dark = rows_of(run(["predict", str(digits_run), "03.png", "dark.png"], pictures))
    assert dark["top"] == straight["top"]
    assert dark["notes"] == ["dark ink on a light ground: inverted"]
    result = run(["predict", str(digits_run), "dark.png", "--invert", "no"], pictures)
    assert rows_of(result)[0]["top"] != straight["top"]
    assert said(result) == []


def test_a_run_directory_and_its_checkpoints_are_accepted(digits_run, pictures):
    outputs = {
        name: run(["predict", str(digits_run / name), "00.png"], pictures).out
        for name in ("", "best.safetensors", "last.safetensors")
    }
    assert outputs[""] == outputs["best.safetensors"]
    assert outputs["last.safetensors"]


def test_patterns_and_folders_are_searched_as_filter_does(digits_run, pictures):
    (pictures / "deep/er").mkdir(parents=True)
    (pictures / "19.png").rename(pictures / "deep/er/19.png")
    names = [row["path"] for row in rows_of(run(["predict", str(digits_run), "1*.png"], pictures))]
    assert names == [f"{number}.png" for number in range(10, 19)]
    names = [row["path"] for row in rows_of(run(["predict", str(digits_run), "-r", "deep", "00.png"], pictures))]
    assert names == ["deep/er/19.png", "00.png"]


def test_neighbours_and_their_number_change_nothing(digits_run, pictures):
    """Each picture alone, all of them, and all of them backwards around one that cannot be read."""
    names = [f"{number:02}.png" for number in range(0, 20, 5)]
    (pictures / "bad.png").write_bytes(b"")
    together = rows_of(run(["predict", str(digits_run), *names, "--probs"], pictures))
    backwards = run(["predict", str(digits_run), *names[::-1], "bad.png", "--probs"], pictures)
    assert backwards.code == 7
    assert [json.loads(line) for line in backwards.out.splitlines()][-2::-1] == together
    assert [rows_of(run(["predict", str(digits_run), name, "--probs"], pictures))[0] for name in names] == together


def test_the_table_of_a_terminal_wraps_nothing_it_can_show(tmp_path):
    """Written to a stream that says it is a terminal: no escape of a file name reaches it, each row is whole."""
    from cnncli.reporting.results.predictions import RowOptions, write_predictions
    from cnncli.tasks.predict.predict import FailedPicture, Prediction

    probs = np.array([0.25, 0.75])
    good = Prediction("[red]seven\x1b[31m.png", np.array([1, 0]), probs, ("cat", "d[b]og"))
    bad = FailedPicture("gone.png", InvalidInputError("no such file"))
    out = io.StringIO()
    write_predictions([good, bad], "table", out, RowOptions(top=2))
    head, _, first, second = (line.split() for line in out.getvalue().splitlines() if line.strip())
    assert head == ["image", "label", "prob", "next"]
    assert first == [r"[red]seven\x1b[31m.png", "d[b]og", "75.00%", "cat", "25.00%"]
    assert second == ["gone.png", "error", "no", "such", "file"]
    every = io.StringIO()
    write_predictions([good], "table", every, RowOptions(top=1, with_probs=True))
    assert "every class" in every.getvalue()
    assert "cat 25.00%  d[b]og 75.00%" in every.getvalue()


def test_a_network_that_answers_nan_is_a_row_with_error(tmp_path):
    """Weights so large that a sum overflows: finite, hence a valid checkpoint."""
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.io.images.image import Image as Picture
    from cnncli.tasks.predict.predict import FailedPicture, predict

    class Overflowing:
        def answer(self, images):
            rows = np.full((len(images), 2), np.nan, np.float32)
            return rows, rows

    checkpoint = Checkpoint({}, "", ("a", "b"), Preprocessing((1, 2, 2), (0.5,), (0.2,)))
    read = {"x.png": Picture(np.zeros((2, 2, 1), np.uint8))}.__getitem__
    (result,) = predict(checkpoint, Overflowing, ["x.png"], read)
    assert isinstance(result, FailedPicture)
    assert result.error.exit_code == 6
    assert "answers with NaN" in str(result.error)
