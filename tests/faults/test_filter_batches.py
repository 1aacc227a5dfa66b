"""What happens to a batch whose processes are stopped or killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faults.installed import CNN, run
from PIL import Image


def write(path: Path, *shape: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(path)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_fail_fast_prints_one_error(tmp_path: Path, options: list[str]) -> None:
    """Children that are asked to stop, at whatever instant, end without the error path of the program."""
    for number in range(4):
        write(tmp_path / f"{number}.png", 8, 8)
    names = ["0.png", "a missing file", *(f"{number}.png" for number in range(1, 4))]
    for _ in range(8):
        result = run(["filter", *names, "-k", "box", "-o", "o/", "-f", "--fail-fast", *options], tmp_path)
        assert result.code == 3, result
        errors = [line for line in result.err.splitlines() if line.startswith("cnn: error")]
        assert errors == ["cnn: error: a missing file: no such file; check the name"], result
        if options:
            bodies = [json.loads(line) for line in result.out.splitlines()]
            assert [body["error"]["code"] for body in bodies if "source" not in body] == [3], result


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """After SIGKILL of the parent each child finishes the files it has in hand and begins no other."""
    for number in range(40):
        write(tmp_path / f"in/{number:02}.png", 900, 900)
    words = [
        "filter",
        "in",
        "-r",
        "-k",
        "motion:31",
        "-o",
        "out/",
        "--workers",
        "2",
        "-j",
        "1",
        "--manifest",
        "m.jsonl",
    ]
    process = subprocess.Popen([CNN, *words], cwd=tmp_path, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("out/*.png")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    then = len(list(tmp_path.glob("out/*.png")))
    assert process.stderr is not None
    process.stderr.read()  # ends when the last child has ended
    process.stderr.close()
    files = sorted((tmp_path / "out").iterdir())
    at_work = 1 + 3  # of each child: one is filtered, three are being written
    assert then <= len(files) <= then + 2 * at_work, (then, files)
    assert all(file.name.endswith(".png") for file in files), "a temporary file was left"
    done = run([*words, "--skip-existing"], tmp_path)
    assert done.code == 0, done
    assert len(list(tmp_path.glob("out/*.png"))) == 40


def test_what_a_dead_child_was_writing_is_removed(tmp_path: Path) -> None:
    """A child that dies before the rename leaves no temporary; the others finish."""
    for number in range(6):
        write(tmp_path / f"{number}.png", 8, 8)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, cnncli.io.atomic as atomic\n"
        "link = os.link\n"
        "def dying(source, target):\n"
        "    os.kill(os.getpid(), 9) if '/4-box' in target else link(source, target)\n"
        "atomic.os.link = dying\n"
    )
    names = [f"{number}.png" for number in range(6)]
    result = run(["filter", *names, "-k", "box", "-o", "o/"], tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.code == 7, result
    assert "4.png: the process that decoded it died, twice" in result.err
    assert sorted(os.listdir(tmp_path / "o")) == [f"{number}-box.png" for number in range(6) if number != 4]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("words", [["a.png"], ["a.png", "b.png"]])
def test_the_next_run_removes_what_a_killed_one_was_writing(tmp_path: Path, words: list[str]) -> None:
    for name in words:
        write(tmp_path / name, 8, 8)
    command = ["filter", *words, "-k", "box", "-o", "o/"]
    kill = ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=link", "-e", "inject=link:signal=KILL:when=1"]
    run(command, tmp_path, prefix=kill)
    (tmp_path / "o").mkdir(exist_ok=True)
    left = sorted(name for name in os.listdir(tmp_path / "o") if ".tmp." in name)
    assert len(left) == (1 if len(words) == 1 else 0)  # a batch cleans up after its children
    result = run(command, tmp_path)
    assert result.code == 0, result
    assert sorted(os.listdir(tmp_path / "o")) == [name.replace(".png", "-box.png") for name in words]


def test_only_abandoned_temporaries_of_the_own_outputs_are_removed(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 8, 8)
    write(tmp_path / "b.png", 8, 8)
    gone, alive = dead_process(), os.getpid()
    (tmp_path / "o").mkdir()
    ours = [f".{name}.tmp.{gone}" for name in ("a-box.png", "a-box.tif", "b-box-2.png")]
    others = [
        f".c-box.png.tmp.{gone}",
        f".a-box.png.tmp.{alive}",
        f"a-box.png.tmp.{gone}",
        ".a-box.png.tmp.x",
        ".a.png",
    ]
    for name in (*ours, *others):
        (tmp_path / "o" / name).touch()
    result = run(["filter", "a.png", "b.png", "-k", "box", "-o", "o/"], tmp_path)
    assert result.code == 0, result
    assert sorted(os.listdir(tmp_path / "o")) == sorted([*others, "a-box.png", "b-box.png"])


def test_a_closed_pipe_ends_a_batch_of_one_quietly(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 1500, 1500)
    script = f"{CNN} filter a.png -k box -o - --manifest m.jsonl; echo $? > code"
    done = subprocess.run(
        ["sh", "-c", f"({script}) | head -c 8 > head"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "code").read_text() == "141\n"
    assert not re.search(r"error|Traceback", done.stderr), done.stderr


def test_an_interrupted_batch_says_so_once(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / f"in/{number:02}.png", 500, 500)
    words = [CNN, "filter", "in", "-r", "-k", "motion:31", "-o", "out/", "--workers", "2"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("out/*.png")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and children
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert err.count("cnn: error") == 1, err
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
