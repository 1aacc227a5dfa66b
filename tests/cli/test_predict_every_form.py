"""`cnn predict` and `cnn eval` on pictures in every form: the same bytes with any batch size, threads and order."""

import json

import numpy as np
import pytest
from command_line import run_cnn
from PIL import Image

NETWORK = "layers:\n  - conv: {filters: 4, kernel: 3}\n  - relu\n  - globalavgpool\n  - dense: classes\n"


def pictures_of(folder, level, random):
    """Write a picture in each form: gray, colour, alpha, 16 bits, CMYK, turned by EXIF, tiny and very wide ones."""
    folder.mkdir(parents=True)

    def pixels(height, width, channels):
        return np.clip(random.normal(level, 50, (height, width, channels)), 0, 255).astype(np.uint8)

    gray = pixels(20, 30, 1)[..., 0]
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(gray).save(folder / "gray.jpg", quality=80)
    Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(pixels(18, 25, 3)).save(folder / "colour.jpg", quality=80)
    Image.fromarray(pixels(18, 25, 3)).save(folder / "colour.webp", lossless=True)
    Image.fromarray(pixels(18, 25, 4)).save(folder / "alpha.png")
    Image.fromarray(pixels(18, 25, 2)).save(folder / "gray-alpha.png")
    Image.fromarray(pixels(18, 25, 4), "CMYK").save(folder / "ink.jpg")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels(30, 20, 3)).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(pixels(1, 1, 3)).save(folder / "one.png")
    Image.fromarray(pixels(2, 700, 3)).save(folder / "wide.png")
    Image.fromarray(pixels(24, 24, 3)).save(folder / "square.bmp")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("forms"), np.random.default_rng(5)
    for part in ("train", "test"):
        for label, level in (("\N{FROG FACE} frog", 70), ('a "b", c', 180)):
            pictures_of(root / "photos" / part / label, level, random)
    (root / "small.yaml").write_text(NETWORK)
    given = ("train", root / "small.yaml", "-d", root / "photos", "--resize", "16", "-e", 2, "-b", 5, "-q")
    assert run_cnn(*given, "-o", root / "run").code == 0
    return root


@pytest.mark.filterwarnings("ignore:'mode' parameter")
def test_predict_is_eval_picture_by_picture_in_any_batch_order_and_threads(run):
    lines = run_cnn("eval", run / "run", "--format", "jsonl").out.splitlines()
    expected = {row["path"]: row for row in map(json.loads, lines)}
    names = sorted(str(path) for path in (run / "photos/test").glob("*/*"))
    assert sorted(expected) == names
    for form in ("jsonl", "csv", "plain", "table"):
        given = ("predict", run / "run", *names, "--probs", "--logits", "--labels-from-dirs", "--format", form)
        whole = run_cnn(*given)
        assert whole.code == 0, whole.err
        for size, threads in ((1, 1), (7, 2)):
            assert run_cnn(*given, "-b", size, "-j", threads) == whole
    order = np.random.default_rng(0).permutation(len(names))
    for size in (1, 7, 64):
        mixed = run_cnn("predict", run / "run", *(names[k] for k in order), "--labels-from-dirs", "-b", size).out
        for row in map(json.loads, mixed.splitlines()):
            one = expected[row["path"]]
            assert {key: row[key] for key in ("label", "index", "prob", "truth", "correct")} == {
                key: one[key] for key in ("label", "index", "prob", "truth", "correct")
            }


def test_the_last_epoch_of_validation_is_what_eval_measures(run):
    body = run_cnn("eval", run / "run/last.safetensors", "--part", "validation", "--json", "-b", 1).json
    row = (run / "run/history.csv").read_text().splitlines()[-1].split(",")
    assert [f"{body['loss']:.6g}", f"{body['acc']:.6g}"] == row[3:5]


def test_one_unit_from_training_to_predictions(run, tmp_path):
    (tmp_path / "one.yaml").write_text(NETWORK.replace("dense: classes", "dense: 1") + "  - sigmoid\n")
    given = ("train", tmp_path / "one.yaml", "-d", run / "photos", "--resize", "16", "-e", 2, "-q")
    assert run_cnn(*given, "-o", tmp_path / "run").code == 0
    body = run_cnn("eval", tmp_path / "run", "--json", "--worst", 100).json
    assert (body["loss_name"], body["kind"]) == ("binary_cross_entropy", "classes")
    assert body["loss"] == json.loads((tmp_path / "run/result.json").read_text())["test_loss"]
    options = ("--labels-from-dirs", "--probs", "--logits")
    rows = run_cnn("predict", tmp_path / "run", run / "photos/test", "-r", "--json", *options).out.splitlines()
    rows = [json.loads(row) for row in rows]
    assert sum(row["correct"] for row in rows) == body["correct"]
    names = body["classes"]
    for row in rows:
        (name, logit), probs = next(iter(row["logits"].items())), row["probs"]
        assert name == names[1]
        assert probs[names[1]] == pytest.approx(1 / (1 + np.exp(-logit)), abs=2e-6)
        assert sum(probs.values()) == pytest.approx(1, abs=2e-6)
        assert row["label"] == names[logit > 0]
    sure = run_cnn("predict", tmp_path / "run", run / "photos/test", "-r", "--json", "--threshold", 0.999).out
    assert all(row["label"] is None for row in map(json.loads, sure.splitlines()) if row["prob"] < 0.999)
