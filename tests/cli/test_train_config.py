"""`cnn train --config` and `--print-config`: a training written down, and trained again."""

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

from cnncli.language.tree import read_tree

NETWORK = "layers:\n  - conv: {filters: 4, kernel: 3}\n  - relu\n  - globalavgpool\n  - dense: classes\n"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Return the working folder with pictures in three folders with awkward names, and a network without a name."""
    random = np.random.default_rng(0)
    for label, level in (("été, dry", 60), ("\N{FROG FACE} frog", 120), ('a "b"', 200)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = np.clip(random.normal(level, 40, (14, 11 + number, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    (tmp_path / "own.yaml").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


OPTIONS = (
    "-e", 2, "-b", 5, "--optimizer", "momentum", "--lr", 0.01, "--resize", "12x10", "--fit", "crop", "--seed", 7,
    "--val-split", 0.25, "--classes", '"été, dry",🐸 frog', "--normalize", "0.4,0.3", "--monitor", "val_loss",
    "--class-weights", "balanced",
)  # fmt: skip


def test_a_config_trains_the_same_bytes_again(photos):
    given = ("train", "own.yaml", "-d", "photos", *OPTIONS)
    printed = run_cnn(*given, "--print-config", "-q")
    assert (printed.code, printed.err, (photos / "runs").exists()) == (0, "", False)
    (photos / "c.yaml").write_text(printed.out)
    assert run_cnn(*given, "-o", "first", "-q").code == 0
    best = (photos / "first/best.safetensors").read_bytes()
    for number, config in enumerate(("first/config.yaml", "c.yaml")):
        done = run_cnn("train", "--config", config, "-o", f"again{number}", "-q")
        assert done.code == 0, done.err
        assert (photos / f"again{number}/best.safetensors").read_bytes() == best
    assert (photos / "again0/config.yaml").read_text() == (photos / "first/config.yaml").read_text()
    # what is typed wins, also over the network
    done = run_cnn("train", "own.yaml", "--config", "c.yaml", "--epochs", 1, "--print-config", "-q")
    assert "\nepochs: 1\n" in done.out
    assert "\nbatch_size: 5\n" in done.out


def test_images_that_changed_are_said(photos):
    assert run_cnn("train", "own.yaml", "-d", "photos", *OPTIONS, "-o", "first", "-q").code == 0
    Image.new("RGB", (9, 9)).save(photos / "photos/été, dry/3.png")
    done = run_cnn("train", "--config", "first/config.yaml", "--print-config")
    assert done.code == 0
    assert "these are not the images of first/config.yaml" in done.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dataset: digits\nepoch: 3\n", ("c.yaml:2:1", "no option 'epoch'", "epochs")),
        ("dataset: digits\nepochs: many\n", ("c.yaml:2:1", "epochs:", "many")),
        ("dataset: digits\nlr: 0\n", ("c.yaml:2:1", "lr:")),
        ("dataset: digits\nmonitor: accuracy\n", ("c.yaml:2:1", "monitor:")),
        ("- digits\n", ("c.yaml", "holds no options")),
        ("dataset: digits\n  epochs: [\n", ("c.yaml:",)),
        ("dataset: digits\nnetwork: none.yaml\n", ("none.yaml", "no such file")),
    ],
)
def test_what_is_no_config_is_refused_with_its_line(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(text)
    expect_error(run_cnn("train", "--config", "c.yaml", "-o", "run"), 3, *words)
    assert not (tmp_path / "run").exists()


def test_a_config_by_hand_needs_no_more_than_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("dataset: digits\nepochs: 1\nlimit: 100\nresize: null\nloss: cross_entropy\n")
    assert run_cnn("train", "--config", "c.yaml", "-o", "run", "-q").code == 0
    assert "\nepochs: 1\n" in (tmp_path / "run/config.yaml").read_text()
    assert run_cnn("train", "--config", "c.yaml", "--overfit-batch", "-q", "-b", 8).code == 0
    assert read_tree((tmp_path / "run/config.yaml").read_text(), "c")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--print-config", "-d", "digits", "--dry-run"), "exclude each other"),
        (("--print-config", "-d", "digits", "-o", "x"), "--run-dir is not used by --print-config"),
        (("--print-config", "--resume", "x"), "--resume is not used by --print-config"),
        (("--print-config", "-d", "digits", "--no-report"), "--report is not used by --print-config"),
        (("--print-config", "-d", "digits", "--arch", "-"), "cannot name a network from standard input"),
        (("--config", "", "-d", "digits"), "--config is empty"),
    ],
)
def test_print_config_refuses_what_it_does_not_use(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = "{input: [8, 8, 1], layers: [flatten, dense: 10, softmax]}"
    expect_error(run_cnn("train", *options, stdin=network), 2, words)


def test_a_config_does_not_continue_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cnn("train", "-d", "digits", "-e", 1, "--limit", 60, "-o", "run", "-q").code == 0
    refused = run_cnn("train", "--resume", "run", "--config", "run/config.yaml")
    expect_error(refused, 2, "--config is not used: --resume goes on in run")
