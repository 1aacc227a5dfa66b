"""MNIST through the command line: one run of LeNet-5, its accuracy, and what it reads in files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from faults.installed import rows_of, run, said
from PIL import Image

from cnncli.io.checkpoint import read_checkpoint
from cnncli.io.datasets import load_dataset
from cnncli.tasks.predict.predict import checkpoint_model, load_weights, make_engine_session

pytestmark = pytest.mark.skipif("CNN_DATA_DIR" not in os.environ, reason="CNN_DATA_DIR (folder with mnist/) is not set")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with the run ``m``: five epochs of LeNet-5."""
    folder = tmp_path_factory.mktemp("mnist")
    data = ["--data-dir", os.environ["CNN_DATA_DIR"]]
    arguments = ["train", "-d", "mnist", *data, "--arch", "lenet5", "-e", "5", "--seed", "0", "--run-dir", "m"]
    result = run(arguments, folder)
    assert result.code == 0, result.err
    return folder


def test_lenet_reaches_98_8_percent_in_five_epochs(trained):
    facts = json.loads((trained / "m/result.json").read_text())
    assert facts["test_acc"] >= 0.988
    assert facts["params"] == 61_706
    assert (facts["train_images"], facts["val_images"], facts["test_images"]) == (54_000, 6_000, 10_000)


def test_png_files_and_photographs(trained):
    """200 test images as PNG agree with memory one by one; the same digits photographed are still read."""
    test = load_dataset("mnist", Path(os.environ["CNN_DATA_DIR"])).test
    random = np.random.default_rng(0)
    for number, pixels in enumerate(test.images[:200, ..., 0]):
        Image.fromarray(pixels).save(trained / f"{number:03}.png")
        photograph(pixels, random).save(trained / f"{number:03}.jpg", quality=85)
    rows = rows_of(run(["predict", "m", *(f"{n:03}.png" for n in range(200)), "--probs"], trained))
    from_files = np.array([list(row["probs"].values()) for row in rows])

    checkpoint = read_checkpoint(trained / "m")
    session = make_engine_session(checkpoint_model(checkpoint, "m"), checkpoint, batch_size=64, threads=2)
    load_weights(session, checkpoint)
    assert np.allclose(from_files, session.predict(test.images[:200]), atol=1e-6)
    assert (from_files.argmax(1) == test.labels[:200]).mean() > 0.95

    result = run(["predict", "m", *(f"{n:03}.jpg" for n in range(200))], trained)
    photographed = rows_of(result)
    assert np.mean([row["index"] == label for row, label in zip(photographed, test.labels, strict=False)]) > 0.93
    assert "000.jpg: colour turned to gray; dark ink on a light ground: inverted; picture of 200x300" in result.err
    assert len(said(result)) == 6  # five pictures and a count of the rest


def photograph(pixels, random):
    """Return a digit as dark ink on unevenly lit paper, 300 high and 200 wide, off the middle."""
    size = 150
    enlarged = np.asarray(Image.fromarray(pixels).crop((2, 2, 26, 26)).resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:300, :200]
    ink = np.zeros((300, 200))
    top, left = random.integers(5, 140), random.integers(2, 45)
    ink[top : top + size, left : left + size] = enlarged / 255
    paper = 190 + 40 * x / 200 - 50 * y / 300 + 10 * np.sin(x / 60)
    gray = paper * (1 - 0.75 * ink) + random.normal(0, 4, ink.shape)
    return Image.fromarray(np.clip(gray[..., None] * [1, 0.97, 0.9], 0, 255).astype(np.uint8))
