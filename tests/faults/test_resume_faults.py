"""The installed program stopped, killed and continued: the same bytes as a run that was left alone."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from faults.installed import CNN, assert_refused, fingerprint, run
from tasks.train.continued import assert_same, begin, go_on, history

from cnncli.errors import CnnError
from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.train.run_directory import last_checkpoints

TRAIN = [
    "train",
    "-d",
    "digits",
    "-e",
    "4",
    "--limit",
    "300",
    "-b",
    "16",
    "--save-every",
    "3steps",
    "-q",
    "--no-report",
    "-o",
    "run",
]
RESUME = ["train", "--resume", "run", "--no-report", "-q"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(TRAIN, folder).code == 0
    return folder / "run"


def same(found, expected):
    assert (found / "best.safetensors").read_bytes() == (expected / "best.safetensors").read_bytes()
    assert history(found) == history(expected)
    results = [json.loads((path / "result.json").read_text()) | {"elapsed_s": 0} for path in (found, expected)]
    assert results[0] == results[1]


def test_row117_a_stopped_run_goes_on_from_another_directory_and_ends_with_the_same_bytes(whole, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    process = subprocess.Popen([CNN, *TRAIN], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/best.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    if process.returncode:  # else it was faster
        assert process.returncode == 143
        assert errors.splitlines()[-1].endswith("; `cnn train --resume run` continues")
        result = run(["train", "--resume", "../run", "-q"], tmp_path / "elsewhere")
        assert result.code == 0, result.err
    same(tmp_path / "run", whole)
    again = run(RESUME, tmp_path)
    assert (again.code, again.out) == (0, b"run: already at 4/4; pass --epochs 8 to train on\n")


def test_row91_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    process = subprocess.Popen(
        [CNN, *RESUME[:-1], "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline().startswith("epoch=5/")
    result = run(RESUME, tmp_path)
    assert result.code == 1
    assert re.fullmatch(rf"cnn: error: run: in use by pid {process.pid} on .*; wait for it.*\n", result.err), result.err
    process.kill()
    process.communicate()
    assert (tmp_path / "run/.lock").exists()
    epoch = read_checkpoint(tmp_path / "run/last.safetensors").training["epoch"]
    result = run([*RESUME, "--epochs", str(epoch + 1)], tmp_path)
    assert result.code == 0, result.err


def test_row86_a_damaged_checkpoint_gives_way_to_the_one_before(whole, tmp_path):
    """One flipped bit in the newest one; then in every one."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    flip(tmp_path / "run/last.safetensors")
    result = run([*RESUME[:-1]], tmp_path)
    assert result.code == 0, result.err
    assert "note: run/last.safetensors: the file is damaged: its SHA-256 is not the one that was stored" in result.err
    assert "note: continuing from run/last-1.safetensors, the checkpoint before: epoch " in result.err
    same(tmp_path / "run", whole)
    (tmp_path / "run/result.json").unlink()
    for path in (tmp_path / "run").glob("last*.safetensors"):
        flip(path)
    before = fingerprint(tmp_path)
    assert_refused(run(RESUME, tmp_path), 3, r"run/last\.safetensors: .*damaged", before, fingerprint(tmp_path))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-7] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["curves.png", "confusion.png", "report.html"])
def test_row93_a_report_that_the_disk_does_not_take_is_an_error_and_the_run_is_whole(name, whole, tmp_path):
    """strace refuses the rename of one file: no space left."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    number = {"curves.png": 1, "confusion.png": 2, "report.html": 3}[name]
    inject = ["-e", "trace=rename", "-e", f"inject=rename:error=ENOSPC:when={renames_of(tmp_path) + number}"]
    strace = ["strace", "-f", "-qq", "-o", "../trace", *inject]
    (tmp_path / "b").mkdir()
    shutil.copytree(tmp_path / "run", tmp_path / "b/run")
    result = run([*RESUME_WITH_REPORT], tmp_path / "b", prefix=strace)
    assert result.code == 1, result.err
    lines = [line for line in result.err.splitlines() if not line.startswith(("compiling kernels", "note: "))]
    assert len(lines) == 1, result.err
    assert re.fullmatch(rf"cnn: error: run/{re.escape(name)}: no space left.*; the run is complete; "
                        r"`cnn report run` writes the report", lines[0]), lines  # fmt: skip
    same(tmp_path / "b/run", whole)
    assert not [path for path in (tmp_path / "b/run").iterdir() if ".tmp." in path.name or path.name == name]
    assert run(["report", "run", "-q"], tmp_path / "b").code == 0
    assert (tmp_path / "b/run" / name).exists()


RESUME_WITH_REPORT = ["train", "--resume", "run", "--report", "-q"]


def renames_of(folder):
    """Return how many files a continued run renames before its report."""
    shutil.copytree(folder / "run", folder / "counted/run")
    strace = ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=rename"]
    assert run(RESUME, folder / "counted", prefix=strace).code == 0
    return len((folder / "counted/trace").read_text().splitlines())


def test_pictures_of_ones_own_are_found_again_and_may_have_moved(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    arrays = {f"x_{part}": random.integers(0, 99, (40, 8, 8, 1), np.uint8) for part in ("train", "test")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", **arrays, y_train=np.arange(40) % 4, y_test=np.arange(40) % 4)
    common = ["train", "-d", "own.npz", "--schedule", "constant", "--augment", "crop:1,flip", "--no-report", "-q"]
    assert run_cnn(*common, "-e", 3, "-o", "whole").code == 0
    assert run_cnn(*common, "-e", 1, "-o", "run").code == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_cnn("train", "--resume", "../run", "-e", 2, "-q", "--no-report", "--augment", "flip,crop:1").code == 0
    os.rename("../own.npz", "moved.npz")
    expect_error(run_cnn("train", "--resume", "../run", "-e", 3, "-q"), 3, "own.npz: no such file")
    np.savez("other.npz", **arrays, y_train=np.arange(40) % 4, y_test=np.arange(40)[::-1] % 4)
    other = run_cnn("train", "--resume", "../run", "-e", 3, "-q", "-d", "other.npz")
    expect_error(other, 3, "the images of other are not those of the run: SHA-256 ")
    moved = run_cnn("train", "--resume", "../run", "-e", 3, "-q", "--no-report", "-d", "moved.npz")
    assert moved.code == 0, moved.err
    assert history(tmp_path / "run") == history(tmp_path / "whole")
    found = [read_checkpoint(tmp_path / name / "last.safetensors") for name in ("run", "whole")]
    assert all(np.array_equal(found[0].parameters[name], array) for name, array in found[1].parameters.items())
    assert found[0].training["source"] == found[1].training["source"] == "own.npz"


REFUSED = {
    "not a run": (["--resume", "none"], 3, "none: no such run directory; name the folder"),
    "empty": (["--resume", ""], 2, "--resume is empty"),
    "84 changed": (
        ["--resume", "run", "--lr", "0.5", "-b", "8"],
        3,
        "-b|--batch-size 8 .the run: --batch-size 16., --lr 0.5",
    ),
    "84 seed, overridden": (
        ["--resume", "run", "--seed", "4", "--override"],
        3,
        "begin a new run with --init-from run",
    ),
    "84 network": (["--resume", "run", "--arch", "mlp"], 3, "run: the run trains digits, and mlp is another network"),
    "fewer epochs": (["--resume", "run", "-e", "2"], 2, "run: --epochs 2: epoch 4 is done already"),
    "another directory": (["--resume", "run", "-o", "b"], 2, "--run-dir is not used: --resume goes on in run"),
    "force": (["--resume", "run", "-f"], 2, "--force"),
    "override alone": (["-d", "digits", "--override"], 2, "--override changes a run that is continued"),
    "time": (["-d", "digits", "--max-time", "soon"], 2, "--max-time 'soon' is no length of time; such as 90s"),
    "interval": (["-d", "digits", "--save-every", "0steps"], 2, "--save-every '0steps' is not understood"),
    "target": (["-d", "digits", "--target", "101%"], 2, "--target 101%: an accuracy is above 0 and at most 1"),
    "target of no validation": (["-d", "digits", "--target", "0.9", "--val-split", "0"], 2, "use --target acc=0.9"),
    "patience of nothing": (
        ["-d", "digits", "-e", "0", "--patience", "2"],
        2,
        "--patience 2 is about epochs that are done, and --epochs 0",
    ),
    "keep 0": (["-d", "digits", "--keep", "0"], 2, "--keep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_line_and_nothing_changed(name, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    arguments, code, pattern = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    result = run_cnn("train", *arguments)
    assert result.code == code, result
    line = result.err.splitlines()[-1]
    assert line.startswith("cnn: error: ")
    assert re.search(pattern, line), line
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert os.listdir(tmp_path) == ["run"]


def test_row93_a_disk_that_is_full_at_any_point_leaves_the_last_checkpoint(tmp_path):
    """RLIMIT_FSIZE: the checkpoint grows with the history, so each limit lets some more of them through."""
    begin(tmp_path / "whole")
    largest = (tmp_path / "whole/last.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    messages = []
    for number, limit in enumerate(range(4096, largest + 1, 160)):
        path = tmp_path / str(number)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            begin(path)
        except CnnError as error:
            messages.append(error.message)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        if path.exists():
            read_checkpoint(last_checkpoints(path)[0])
            go_on(path)
            assert_same(path, tmp_path / "whole")
    assert len(messages) > 3
    assert all("larger than the allowed file size" in message for message in messages)


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(("call", "number"), [("write", 3), ("write", 11), ("fsync", 2), ("fsync", 9), ("rename", 7)])
def test_row119_a_kill_at_a_system_call_of_the_installed_program(call, number, whole, tmp_path):
    """tests/tasks/train/test_kill_and_resume.py kills at every one of them, within one process."""
    strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "trace",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*strace, CNN, *TRAIN], cwd=tmp_path, env=environment, capture_output=True, timeout=600)
    assert done.returncode in (-9, 137), done.stderr
    if (tmp_path / "run").is_dir() and last_checkpoints(tmp_path / "run"):
        result = run(RESUME, tmp_path)
    else:
        result = run([*TRAIN, "--force"], tmp_path)
    assert result.code == 0, result.err
    same(tmp_path / "run", whole)


KILLER = """
import os, random, signal, sys, time
from cnncli.cli.main import run
import cnncli.engine.session, cnncli.tasks.train.loop, cnncli.tasks.data.load, cnncli.reporting.progress

train, resume = sys.argv[1].split(), sys.argv[2].split()
choose, kills = random.Random(1), 0

def newest():
    return os.stat("run/last.safetensors").st_ino if os.path.exists("run/last.safetensors") else 0

while kills < 30:
    before, child, ended = newest(), os.fork(), 0
    if not child:
        os._exit(run(resume if before else train))
    while newest() == before and not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)  # each gets a little further, on a busy machine too
    if not ended:
        time.sleep(choose.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    kills += os.WIFSIGNALED(status)
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status):
            sys.exit(f"ended with {os.WEXITSTATUS(status)} after {kills} kills")
        os.rename("run", f"done-{kills}")
if os.path.exists("run"):
    if run(resume):
        sys.exit("does not go on")
    os.rename("run", "done-last")
"""


@pytest.mark.slow
def test_row118_thirty_kills_at_random_moments(tmp_path):
    """Children of one process that has imported everything: killed up to 0.1 s after a checkpoint of theirs."""
    train = [*TRAIN, "-e", "12"]
    assert run([*train, "-o", "whole"], tmp_path).code == 0
    arguments = [" ".join(train), " ".join(RESUME)]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    finished = list(tmp_path.glob("done-*"))
    assert finished
    for path in finished:
        same(path, tmp_path / "whole")
