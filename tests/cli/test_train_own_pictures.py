"""`cnn train` on a folder of pictures, and `cnn predict` with what it learned: one preparation of pictures."""

import json

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest
from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session

NETWORK = (
    "cnn: 1\nname: small\nlayers:\n  - conv: {filters: 4, kernel: 3}\n  - relu\n  - globalavgpool\n  - dense: classes\n"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Photographs of two colours in many sizes, a network of the user's, and a short run with a validation folder."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 6), ("test", 4)):
        for label, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
            (folder / "photos" / part / label).mkdir(parents=True)
            for k in range(count):
                size = random.integers(20, 60, 2)
                pixels = np.clip(random.normal(colour, 40, (size[0], size[1], 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"photos/{part}/{label}/{k}.png")
    (folder / "small.yaml").write_text(NETWORK)
    done = run_cnn("train", folder / "small.yaml", "--dataset", folder / "photos", "--run-dir", folder / "run",
                   "--epochs", "5", "--plain", "--resize", "24x32", "--fit", "crop")  # fmt: skip
    assert done.code == 0, done.err
    return folder, done


def test_notes_say_what_was_chosen(run):
    _, done = run
    assert "photos: 40 train, 12 val, 8 test" in done.err
    assert "changed at random by --augment flip,crop:3" in done.err
    facts = read_checkpoint(run[0] / "run").training
    assert facts["augment"] == "flip,crop:3"


def test_prediction_of_the_files_is_that_of_the_training_s_arrays(run):
    folder, _ = run
    checkpoint = read_checkpoint(folder / "run")
    assert checkpoint.preprocessing.fit == "crop"
    data = load_data(DataRequest(str(folder / "photos"), resize=(24, 32), fit="crop"))
    assert data.sha256 == checkpoint.training["data_sha256"]
    session = make_engine_session(checkpoint_model(checkpoint, "run"), checkpoint, batch_size=3, threads=1)
    load_weights(session, checkpoint)
    rows = session.predict(data.validation.images)
    names = [folder / f"photos/val/{label}/{k}.png" for k in range(6) for label in ("blue", "red")]
    lines = run_cnn("predict", folder / "run", *names, "--json", "--probs").out.splitlines()
    for row, line in zip(rows, lines, strict=True):
        assert list(json.loads(line)["probs"].values()) == [round(float(p), 6) for p in row]
    right = sum(json.loads(line)["label"] == name.parent.name for line, name in zip(lines, names, strict=True))
    result = json.loads((folder / "run/result.json").read_text())
    assert right / 12 == result["val_acc"]
    assert result["test_images"] == 8


def test_a_share_is_not_split_off_where_the_folder_has_one(run):
    folder, _ = run
    train = ("train", folder / "small.yaml", "--resize", "24", "-n", "--dataset")
    expect_error(run_cnn(*train, folder / "photos", "--val-split", "0.2"), 2, "brings 12 images for validation")
    assert run_cnn(*train, folder / "photos/train", "--val-split", "0.25").code == 0


def test_bad_sizes_are_refused(run):
    folder, _ = run
    for size in ("0", "4x", "x4", "4x4x4", "5000", "-3", "4.5"):
        done = run_cnn("train", "--dataset", folder / "photos", "-n", "--resize", size)
        expect_error(done, 2, "HEIGHTxWIDTH")
