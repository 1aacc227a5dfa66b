"""`cnn train` as a user runs it."""

import io
import json
import os
import re
import struct
from dataclasses import asdict, fields

import numpy as np
import pytest
from faults.installed import run
from terminal import read_terminal

from cnncli.io.datasets import DATASETS
from cnncli.io.safetensors_file import parse
from cnncli.reporting.progress import JsonReporter, PlainReporter, TerminalReporter
from cnncli.tasks.train.events import EVENTS, EpochDone, Evaluating, Progress


def test_the_first_command_of_the_readme_reaches_97_percent_offline(tmp_path):
    result = run(["train", "--dataset", "digits"], tmp_path, env={"CNN_OFFLINE": "1"})
    assert result.code == 0, result.err
    facts = json.loads((tmp_path / "runs/digits-1/result.json").read_text())
    assert facts["test_acc"] >= 0.97
    assert facts["elapsed_s"] < 60
    lines = result.out.decode().splitlines()
    assert len(lines) == facts["epochs"] + 1
    assert re.fullmatch(
        r"epoch=1/\d+ loss=\d\.\d{4} acc=0\.\d{4} val_loss=\d\.\d{4} val_acc=0\.\d{4} lr=0\.002 "
        r"images_per_s=\d+ elapsed_s=\d\.\d\d best=yes",
        lines[0],
    )
    assert lines[-1].startswith(f"test_acc={facts['test_acc']:.4f} test_loss=")
    assert lines[-1].endswith("run=runs/digits-1")
    header = [line for line in result.err.splitlines() if not line.startswith("compiling kernels")]
    assert header[0] == "digits · 38,282 parameters · digits: 1,294 train, 144 val, 359 test"
    assert all(len(line) <= 80 for line in header)


def test_any_thread_count_gives_the_same_bytes_and_a_seed_others(tmp_path):
    for name, extra in {"a": ["--threads", "1"], "b": ["--threads", "2"], "c": ["--seed", "1"]}.items():
        result = run(["train", "-d", "digits", "-e", "2", "-q", "--run-dir", name, *extra], tmp_path)
        assert result.code == 0, result.err
    a, b, c = ((tmp_path / name / "best.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("optimizer", ["adamw", "momentum", "sgd"])
def test_every_optimizer_learns_with_its_own_default_rate(tmp_path, optimizer):
    result = run(["train", "-d", "digits", "--optimizer", optimizer, "-e", "30", "--run-dir", "r", "-q"], tmp_path)
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "r/result.json").read_text())["test_acc"] > 0.95


def test_json_is_one_object_per_event_and_no_text(tmp_path):
    result = run(["train", "-d", "digits", "-e", "2", "--json", "--run-dir", "r"], tmp_path)
    assert result.err == ""
    rows = [json.loads(line) for line in result.out.splitlines()]
    kinds = [row["event"] for row in rows if row["event"] not in ("progress", "evaluating")]
    assert kinds == ["plan", "note", "epoch", "epoch", "finished"]
    assert all(row["schema"] == "cnncli/1" for row in rows)
    assert rows[-1]["run_dir"] == rows[0]["run_dir"] == "r"
    assert "--arch digits" in rows[1]["text"]
    again = run(["train", "--resume", "r", "--json"], tmp_path)
    assert [json.loads(line)["event"] for line in again.out.splitlines()] == ["nothing_to_do"]


def test_help_names_every_event_of_json_and_all_its_values(tmp_path):
    text = " ".join(run(["train", "--help"], tmp_path).out.decode().partition("Objects of --json")[2].split())
    for name, kind in EVENTS.items():
        described = text.partition(f" {name} ")[2]
        assert all(re.search(rf"\b{one.name}\b", described) for one in fields(kind) if one.name != "history"), name


def test_long_work_within_an_epoch_is_json_too():
    out, err = io.StringIO(), io.StringIO()
    often, seldom = JsonReporter(out, err, progress_every_s=0.0), JsonReporter(out, err)
    for reporter in (often, seldom):
        reporter.show(PROGRESS)
        reporter.show(Evaluating("validation", 1, 2, 20, 60))
    progress, evaluating = map(json.loads, out.getvalue().splitlines())
    assert progress == {"schema": "cnncli/1", "event": "progress", **asdict(PROGRESS)}
    assert evaluating == {"schema": "cnncli/1", "event": "evaluating", "part": "validation", "epoch": 1, "epochs": 2,
                          "done": 20, "images": 60}  # fmt: skip
    assert err.getvalue() == ""


def test_quiet_prints_only_the_result(tmp_path):
    result = run(["train", "-d", "digits", "-e", "1", "-q", "--run-dir", "r"], tmp_path)
    assert result.out.decode().startswith("test_acc=0.")
    assert len(result.out.splitlines()) == 1
    assert "train" not in result.err


def test_dry_run_says_the_plan_and_writes_nothing(tmp_path):
    result = run(["train", "-d", "digits", "-e", "7", "--dry-run"], tmp_path)
    assert result.code == 0
    assert "7 epochs · batch 64 · adam lr 0.002 cosine · seed 0" in result.err
    assert " MiB" in result.err
    assert os.listdir(tmp_path) == []


def test_own_architecture_schedule_and_warmup(tmp_path):
    (tmp_path / "net.yaml").write_text("input: [8, 8, 1]\nclasses: 10\nlayers: [flatten, dense: classes, softmax]\n")
    result = run(
        ["train", "net.yaml", "-d", "digits", "-e", "3", "--schedule", "constant", "--warmup", "1", "--lr", "0.01"],
        tmp_path,
    )
    assert result.code == 0, result.err
    rates = re.findall(r" lr=(\S+)", result.out.decode())
    assert rates == ["0.000476", "0.01", "0.01"]  # 0.01 / 21 steps of the first epoch
    assert (tmp_path / "runs/net-digits-1/model.yaml").read_text() == (tmp_path / "net.yaml").read_text()


def test_architecture_from_a_pipe(tmp_path):
    text = b"input: [8, 8, 1]\nlayers: [flatten, dense: 10, softmax]\n"
    result = run(["train", "-", "-d", "digits", "-e", "1", "--run-dir", "r"], tmp_path, stdin=text)
    assert result.code == 0, result.err


def test_force_replaces_a_run_and_numbers_count_up(tmp_path):
    for _ in range(2):
        assert run(["train", "-d", "digits", "-e", "1", "-q"], tmp_path).code == 0
    assert sorted(os.listdir(tmp_path / "runs")) == ["digits-1", "digits-2"]
    again = ["train", "-d", "digits", "-e", "1", "-q", "--run-dir", "runs/digits-1"]
    assert run(again, tmp_path).code == 1
    assert run([*again, "--force"], tmp_path).code == 0


def test_environment_stands_in_for_options(tmp_path):
    result = run(["train", "-d", "digits"], tmp_path, env={"CNN_TRAIN_EPOCHS": "2", "CNN_THREADS": "1"})
    assert result.code == 0
    assert "2 epochs" in result.err
    assert "1 thread ·" in result.err


def test_help_begins_with_examples(tmp_path):
    lines = run(["train", "-h"], tmp_path).out.decode().splitlines()
    assert "Examples:" in lines[4]
    assert max(map(len, lines)) <= 80


PROGRESS = Progress(
    epoch=1, epochs=2, step=3, steps=9, loss=0.5, acc=0.8, lr=1e-3, images_per_s=100.0, elapsed_s=1.0, epoch_left_s=2.0,
    left_s=205.0,
)  # fmt: skip


def test_a_terminal_gets_rows_and_fits_80_columns(tmp_path):
    shown, code = read_terminal(["train", "-d", "digits", "-e", "3", "--run-dir", "r"], tmp_path)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    assert "  epoch    loss     acc  val_loss  val_acc         lr     img/s    time" in lines
    assert len([line for line in lines if re.match(r" +[123]/3 +\S+ +\S+% +\S+ +\S+% ", line)]) == 3
    assert max(map(len, lines)) <= 80
    assert "\x1b[" in shown


@pytest.mark.parametrize("columns", [30, 40, 60, 71])
def test_rows_fit_narrow_terminals(columns, tmp_path):
    shown, code = read_terminal(["train", "-d", "digits", "-e", "2", "--run-dir", "r"], tmp_path, columns=columns)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    head = next(line for line in lines if line.startswith("  epoch"))
    end = head.index("val_acc") + len("val_acc")
    rows = [line for line in lines if re.match(r" +[12]/2 +\d", line) and line[:end].endswith("%")]  # not the live ones
    assert len(rows) == 2
    assert max(map(len, (head, *rows))) <= columns
    assert "val_acc" in head
    assert ("img/s" in head) == (columns == 71)


def drawn(reporter):
    """Return the lines that are live."""
    with reporter.console.capture() as shown:
        reporter.console.print(reporter.live.renderable)
    return [line.rstrip() for line in shown.get().splitlines() if line.strip()]


def test_the_live_row_shows_training_and_validation_and_gives_way_to_the_row_of_the_epoch():
    out = io.StringIO()
    with TerminalReporter(out, io.StringIO()) as reporter:
        reporter.show(PROGRESS)
        row, bar = drawn(reporter)
        assert row.split() == ["1/2", "0.5000", "80.00%", "0.001", "100", "1.0", "s"]
        assert bar.endswith(" 3/9  epoch 2.0 s, all 3:25 left")
        reporter.show(Evaluating("validation", 1, 2, 20, 60))
        assert drawn(reporter)[0] == row
        assert drawn(reporter)[1].endswith(" 20/60  validation images")
        reporter.show(EpochDone(1, 2, 0.5, 0.8, 0.4, 0.9, 1e-3, 100.0, 1.0, is_best=True))
        assert drawn(reporter) == []
        reporter.show(Evaluating("test", 2, 2, 5, 40))
        assert [line.endswith(" 5/40  test images") for line in drawn(reporter)] == [True]
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == ["epoch", "1/2"]


def test_long_epochs_say_where_they_are_on_standard_error():
    out, err = io.StringIO(), io.StringIO()
    often, seldom = PlainReporter(out, err, line_every_s=0.0), PlainReporter(out, out)
    for reporter in (often, seldom):
        reporter.show(PROGRESS)
        reporter.show(Evaluating("validation", 1, 2, 20, 60))
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == ["epoch=1/2 step=3/9 loss=0.5000 acc=0.8000", "epoch=1/2 validation=20/60"]


def test_no_color_takes_the_colours_away(tmp_path):
    shown, _ = read_terminal(["train", "-d", "digits", "-e", "1", "--run-dir", "r"], tmp_path, {"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[3[0-9]m", shown)


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_a_set_in_the_form_of_mnist_is_trained_on_offline(tmp_path, name):
    """From a folder that holds several sets, named by the option or by the environment."""
    random = np.random.default_rng(0)
    for other, brightness in {"mnist": 40, "fashion-mnist": 80, "kmnist": 120}.items():
        folder = tmp_path / "data" / other
        folder.mkdir(parents=True)
        for part, count in {"train": 60, "t10k": 20}.items():
            images = random.integers(0, brightness, (count, 28, 28), np.uint8)
            header = struct.pack(">BBBB3I", 0, 0, 8, 3, count, 28, 28)
            (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
            labels = bytes(k % 10 for k in range(count))
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels)
    options = ["train", "--dataset", name, "--epochs", "1"]
    ways = {
        "option": ([*options, "--data-dir", "data", "--run-dir", "option"], {}),
        "environment": ([*options, "--run-dir", "environment"], {"CNN_DATA_DIR": "data"}),
    }
    for arguments, environment in ways.values():
        result = run(arguments, tmp_path, env={"CNN_OFFLINE": "1"} | environment)
        assert result.code == 0, result.err
        assert f"unverified copy of {'KMNIST' if name == 'kmnist' else 'Fashion-MNIST'} in data/{name}" in result.err
    first, second = (parse((tmp_path / way / "best.safetensors").read_bytes(), way) for way in ways)
    assert all(np.array_equal(first[0][key], second[0][key]) for key in first[0])
    facts = json.loads((tmp_path / "option/result.json").read_text())
    assert facts["dataset"] == name
    from_command = run(["predict", "option", "picture.pgm", "--json"], with_picture(tmp_path))
    assert from_command.code == 0, from_command.err
    assert json.loads(from_command.out)["label"] in DATASETS[name].load(tmp_path / "data", lambda _: None).classes


def with_picture(folder):
    (folder / "picture.pgm").write_bytes(b"P5 28 28 255\n" + bytes(range(28)) * 28)
    return folder


def test_help_names_every_data_set(tmp_path):
    text = run(["train", "--help"], tmp_path).out.decode()
    listed = text.partition("Data sets:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\S+)", listed, re.MULTILINE) == list(DATASETS)
    assert "1,797 handwritten digits of 8x8, bundled" in listed
    assert "31 MB to fetch" in listed
