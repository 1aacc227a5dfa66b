"""`cnn predict`: logits, a threshold, folders named for classes, and batches of any size."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image
from terminal import read_terminal

from cnncli.io.datasets import load_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "run"
    assert run_cnn("train", "-d", "digits", "-e", 2, "-q", "-o", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the first 60 test digits in folders named for their classes."""
    root = tmp_path_factory.mktemp("folders")
    test = load_dataset("digits").test
    for number, (image, label) in enumerate(zip(test.images[:60], test.labels, strict=False)):
        (root / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(root / str(label) / f"{number:02}.png")
    return root


def rows_of(result):
    return [json.loads(line) for line in result.out.splitlines()]


def test_a_bar_on_a_terminal_is_gone_before_the_table(run, folders, tmp_path):
    shown, code = read_terminal(["predict", run, folders, "-r", "-b", "1"], tmp_path)
    assert code == 0
    bar, _, table = shown.rpartition("/60")
    assert "pictures" in bar
    assert table.count(".png") == 60
    assert "/60" not in read_terminal(["predict", run, folders, "-r", "-q"], tmp_path)[0]
    assert run_cnn("predict", run, folders, "-r").err == ""


def test_a_huge_picture_is_refused_without_an_option_that_predict_lacks(run, tmp_path):
    Image.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    row = rows_of(run_cnn("predict", run, tmp_path / "huge.png", "--json"))[0]
    assert row["error"]["message"] == "20000x6000 = 120 Mpx exceeds 100 Mpx"
    assert row["error"]["hint"] == "make it smaller; `cnn filter` takes it with --max-pixels 120000000"


def test_the_batch_size_changes_nothing(run, folders):
    whole = run_cnn("predict", run, folders, "-r", "--json", "--logits", "--probs")
    assert (whole.code, len(whole.out.splitlines())) == (0, 60)
    for size, threads in ((1, 1), (7, 2), (64, 1)):
        again = run_cnn("predict", run, folders, "-r", "--json", "--logits", "--probs", "-b", size, "-j", threads)
        assert again.out == whole.out


def test_logits_give_the_probabilities(run, folders):
    for row in rows_of(run_cnn("predict", run, folders, "-r", "--json", "--logits", "--probs")):
        powers = np.exp(list(row["logits"].values()))
        assert list(row["probs"].values()) == pytest.approx((powers / powers.sum()).tolist(), abs=2e-6)
        assert max(row["logits"], key=row["logits"].get) == row["label"]
    text = run_cnn("predict", run, folders / "3", "-r", "--format", "csv", "--logits").out
    assert "z(9)" in text.splitlines()[0]
    assert "logits" in run_cnn("predict", run, folders / "3", "-r", "--format", "plain", "--logits").out.splitlines()[0]


def test_folders_named_for_classes_give_accuracy_and_confusion(run, folders):
    result = run_cnn("predict", run, folders, "-r", "--json", "--labels-from-dirs")
    rows = rows_of(result)
    assert all(row["truth"] == row["path"].split("/")[-2] for row in rows)
    assert all(row["correct"] == (row["truth"] == row["label"]) for row in rows)
    hits = sum(row["correct"] for row in rows)
    assert f"accuracy {hits / 60:.2%}".replace("%", " %") + f": {hits} of 60;" in result.err
    table = [line.split() for line in result.err.splitlines()[2:]]
    for name in "0123456789":
        line = next(cells for cells in table if cells[0] == name)
        counts = [sum(row["truth"] == name and row["label"] == other for row in rows) for other in "0123456789"]
        assert line[1:] == [str(count or ".") for count in counts]
    lines = list(csv.DictReader(io.StringIO(
        run_cnn("predict", run, folders, "-r", "--format", "csv", "--labels-from-dirs").out
    )))  # fmt: skip
    assert [line["correct"] == "yes" for line in lines] == [row["correct"] for row in rows]
    # the same pictures by `cnn eval`
    body = run_cnn("eval", run, "--limit", 60, "--json").json
    assert body["correct"] == hits


def test_below_the_threshold_there_is_no_label(run, folders):
    rows = rows_of(run_cnn("predict", run, folders, "-r", "--json"))
    result = run_cnn("predict", run, folders, "-r", "--json", "--threshold", 0.6, "--labels-from-dirs")
    for row, sure in zip(rows, rows_of(result), strict=True):
        if row["prob"] >= 0.6:
            assert (sure["label"], sure["index"]) == (row["label"], row["index"])
        else:
            assert (sure["label"], sure["index"], sure["correct"]) == (None, None, False)
        assert sure["top"] == row["top"]
    unsure = sum(row["prob"] < 0.6 for row in rows)
    assert unsure
    assert f"{unsure} below the threshold count as wrong" in result.err


def test_a_broken_picture_among_labelled_ones_is_a_row(run, folders, tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3/good.png").write_bytes(next((folders / "3").iterdir()).read_bytes())
    (tmp_path / "3/bad.png").write_bytes(b"no picture")
    for form in ("jsonl", "csv", "plain", "table"):
        result = run_cnn("predict", run, tmp_path, "-r", "--format", form, "--labels-from-dirs")
        assert result.code == 7, result.err
        assert "of 1;" in result.err
        if form == "csv":
            rows = {row["path"].split("/")[-1]: row for row in csv.DictReader(io.StringIO(result.out))}
            assert rows["bad.png"]["truth"] == rows["good.png"]["truth"] == "3"
            assert rows["bad.png"]["error"]
            assert not rows["good.png"]["error"]


def test_what_cannot_be_done_is_refused(run, folders, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(next((folders / "3").iterdir()).read_bytes())
    given = ("predict", run, tmp_path / "cat/1.png")
    expect_error(run_cnn(*given, "--labels-from-dirs"), 2, "its folder 'cat' is no class of the network")
    expect_error(run_cnn("predict", run, "-", "--labels-from-dirs"), 2, "standard input lies in no folder")
    expect_error(run_cnn(*given, "--threshold", "nan"), 2, "--threshold nan is not a number")
    assert run_cnn(*given, "--threshold", "2").code == 2


def test_activations_are_written_once_for_each_layer(run, folders, tmp_path):
    picture = sorted((folders / "3").iterdir())[0]
    given = ("predict", run, picture, "--json", "--activations", tmp_path / "maps")
    assert run_cnn(*given).code == 0
    layers = {"conv1", "relu1", "conv2", "fc1", "fc2", "softmax1"}
    assert {f"{picture.stem}-{name}.png" for name in layers} <= {path.name for path in (tmp_path / "maps").iterdir()}
    with Image.open(tmp_path / "maps" / f"{picture.stem}-conv1.png") as drawn:
        assert drawn.mode == "RGB"
    again = run_cnn(*given)
    assert (again.code, len(again.out.splitlines())) == (1, 1)  # nothing is overwritten, nothing begun
    assert "exists, and 10 more" in again.err
    assert run_cnn(*given, "-f").code == 0
    some = run_cnn("predict", run, picture, "--activations", tmp_path / "two", "--layers", "fc1, conv1")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {f"{picture.stem}-{n}.png" for n in ("conv1", "fc1")}
    assert some.err == f"wrote 2 pictures of layers to {tmp_path}/two\n"
    one = run_cnn("predict", run, picture, "--activations", tmp_path / "one", "--layers", "fc1")
    assert one.err == f"wrote 1 picture of a layer to {tmp_path}/one\n"
    none = run_cnn("predict", run, picture, "--activations", tmp_path / "three", "--layers", "conv3")
    expect_error(none, 2, "has no layer 'conv3'", "did you mean conv")
    assert not (tmp_path / "three").exists()
    expect_error(run_cnn("predict", run, picture, "--layers", "conv1"), 2, "--layers is for the pictures of --activat")
    expect_error(run_cnn("predict", run, picture, "-f"), 2, "--force is for the pictures of --activations")
    expect_error(run_cnn("predict", run, "-", "--activations", tmp_path / "x"), 2, "standard input a second time")


def test_activations_of_many_pictures_are_those_of_each(run, folders, tmp_path):
    shutil.copytree(folders / "3", tmp_path / "in/3")
    shutil.copytree(folders / "3", tmp_path / "in/5")  # the same names again
    (tmp_path / "in/5/broken.png").write_bytes(b"no picture")
    given = ("predict", run, tmp_path / "in", "-r", "-q", "--layers", "conv1,softmax1", "--activations")
    for size, threads in ((64, 2), (1, 1), (7, 1)):
        assert run_cnn(*given, tmp_path / str(size), "-b", size, "-j", threads).code == 7
    names = sorted(path.name for path in (tmp_path / "64").iterdir())
    count = len(list((folders / "3").iterdir()))
    assert len(names) == 2 * 2 * count
    for name in names:
        content = (tmp_path / "64" / name).read_bytes()
        assert content == (tmp_path / "1" / name).read_bytes() == (tmp_path / "7" / name).read_bytes()
        assert content == (tmp_path / "64" / name.replace("5-", "3-", 1)).read_bytes()


def test_feature_maps_end_in_what_the_network_answers(run):
    from cnncli.engine.feature_maps import FeatureMaps
    from cnncli.io.checkpoint import read_checkpoint
    from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session

    checkpoint = read_checkpoint(run)
    model, prepared = checkpoint_model(checkpoint, "run"), checkpoint.preprocessing
    image = load_dataset("digits").test.images[5]
    network = FeatureMaps(model, checkpoint.parameters, mean=prepared.mean, std=prepared.std)
    maps = {name: found[0] for name, found in network.of(image[None]).items()}
    session = make_engine_session(model, checkpoint, batch_size=1, threads=1)
    load_weights(session, checkpoint)
    assert np.array_equal(list(maps.values())[-1], session.predict(image[None])[0])
    # the first layer by its definition
    x = np.pad((image[..., 0] / 255 - prepared.mean[0]) / prepared.std[0], 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
    weights, bias = (checkpoint.parameters[f"conv1/{name}"].astype(float) for name in ("weight", "bias"))
    expected = np.einsum("ijkl,fkl->fij", windows, weights[:, 0]) + bias[:, None, None]
    np.testing.assert_allclose(maps["conv1"], expected, atol=1e-5)
    np.testing.assert_array_equal(maps["relu1"], np.maximum(maps["conv1"], 0))
