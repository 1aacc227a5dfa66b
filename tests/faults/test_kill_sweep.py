"""The installed program killed at the n-th system call that changes a file, for n = 1, 2, 3 ...: SQLite's method.

By default a few of the calls, spread evenly over each command; with CNN_KILL_SWEEP=all every one of them (README.md of
this folder). tests/tasks/train/test_kill_and_resume.py does the same within one process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command_line import run_cnn
from faults.installed import CNN
from PIL import Image
from tasks.train.continued import assert_same

from cnncli.io.checkpoint import read_checkpoint
from cnncli.tasks.train.run_directory import REPORT_FILES, last_checkpoints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
KILLED = (-9, 137)
CALLS = ("write", "fsync", "rename", "link", "unlink", "ftruncate", "mkdir")
IS_WHOLE_SWEEP = os.environ.get("CNN_KILL_SWEEP") == "all"
NETWORK = "layers: [conv: {filters: 2, kernel: 3, bn: true, activation: relu}, flatten, dense: classes, softmax]\n"
TRAIN = [
    *("train", "net.yaml", "-d", "digits", "--limit", "60", "-b", "16", "-e", "2", "--save-every", "1steps"),
    *("--keep", "2", "--augment", "crop:1", "-q", "-o", "run"),
]
RESUME = ["train", "--resume", "run", "-q", "--no-report"]


def traced(folder: Path, options: list[str], arguments: list[str]) -> int:
    """Run the installed program under strace; return its exit status."""
    command = ["strace", "-f", "-qq", "-o", str(folder.parent / f"{folder.name}.trace"), *options]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "CNN_TRAIN_REPORT": "no"}
    done = subprocess.run(
        [*command, str(CNN), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def killed_at(folder: Path, call: str, number: int, arguments: list[str]) -> int:
    """Run the installed program, one process of which is killed at its n-th call of a kind; return the exit status."""
    status = traced(folder, ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"], arguments)
    for pid in {int(line.split()[0]) for line in trace_of(folder)}:
        while Path(f"/proc/{pid}").exists():  # a child ends the file that it has in hand
            time.sleep(0.01)
    return status


def trace_of(folder: Path) -> list[str]:
    return (folder.parent / f"{folder.name}.trace").read_text().splitlines()


def calls_of(folder: Path, arguments: list[str]) -> Counter[str]:
    """Run the installed program to its end; return how often one of its processes makes each call, at most."""
    assert traced(folder, ["--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"], arguments) == 0
    found = Counter(re.findall(r"^(\d+) +([a-z]+)\(", "\n".join(trace_of(folder)), re.M))
    assert {call for _, call in found} <= set(CALLS)
    return Counter({call: max(count for (_, name), count in found.items() if name == call) for _, call in found})


def network(folder: Path) -> None:
    (folder / "net.yaml").write_text(NETWORK)


def half_done(folder: Path) -> None:
    """A run that was killed in the middle of its second epoch."""
    network(folder)
    assert killed_at(folder, "fsync", 26, TRAIN) in KILLED
    saved = read_checkpoint(folder / "run/last.safetensors").training
    assert saved["epoch"] == 1
    assert saved["step"] in (1, 2, 3)


def go_on(folder: Path) -> None:
    """What a user does who finds the run directory as it is."""
    run = folder / "run"
    is_begun = run.is_dir() and last_checkpoints(run)
    result = run_cnn(*(RESUME if is_begun else [*TRAIN, "--force"]))
    assert result.code == 0, result.err


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".tmp." in path.name]


def check_training(folder: Path, whole: Path) -> None:
    for path in (folder / "run").glob("*.safetensors"):
        read_checkpoint(path)
    go_on(folder)
    assert not leftovers(folder)
    assert_same(folder / "run", whole / "run")


def check_report(folder: Path, whole: Path) -> None:
    """Each picture is whole or not there; `cnn report` writes what is missing."""
    for name in REPORT_FILES[:2]:
        if (folder / "run" / name).exists():
            Image.open(folder / "run" / name).load()
    if (folder / "run/report.html").exists():
        assert (folder / "run/report.html").read_text().rstrip().endswith("</html>")
    go_on(folder)
    assert run_cnn("report", "run", "-q").code == 0
    assert not leftovers(folder)
    for name in REPORT_FILES[:2]:
        assert (folder / "run" / name).read_bytes() == (whole / "run" / name).read_bytes()
    assert (folder / "run/report.html").exists()
    check_training(folder, whole)


def pictures(folder: Path) -> None:
    (folder / "in").mkdir()
    for number in range(5):
        Image.fromarray(np.full((20 + number, 30), 40 * number, np.uint8)).save(folder / f"in/{number}.png")


BATCH = ["filter", "in", "-r", "-k", "blur", "-o", "out/", "--manifest", "m.jsonl", "--skip-existing", "--workers", "1"]


def check_batch(folder: Path, whole: Path) -> None:
    """What is there is whole; the next run does the rest."""
    for turn in range(2):
        for path in (path for path in (folder / "out").rglob("*.png") if not path.name.startswith(".")):
            assert path.read_bytes() == (whole / "out" / path.relative_to(folder / "out")).read_bytes()
        if not turn:
            result = run_cnn(*BATCH)
            assert result.code == 0, result.err
    names = [
        sorted(path.relative_to(place).as_posix() for path in (place / "out").rglob("*")) for place in (folder, whole)
    ]
    assert names[0] == names[1]


@dataclass(frozen=True)
class Command:
    """A command that is killed; `samples` is how many of its calls are tried by default."""

    prepare: Callable[[Path], None]
    arguments: list[str]
    check: Callable[[Path, Path], None]
    samples: int
    is_end: bool = False  # only the calls that TRAIN does not make


COMMANDS = {
    "train": Command(network, TRAIN, check_training, 5),
    "resume": Command(half_done, RESUME, check_training, 3),
    "report of a training": Command(network, [*TRAIN, "--report"], check_report, 2, is_end=True),
    "filter": Command(pictures, BATCH, check_batch, 3),
}


def spread(points: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """Return `count` of the points, evenly, or all."""
    if IS_WHOLE_SWEEP or len(points) <= count:
        return points
    return [points[(2 * number + 1) * len(points) // (2 * count)] for number in range(count)]


@pytest.mark.parametrize("name", COMMANDS)
def test_row119_a_kill_at_any_system_call_leaves_whole_files_and_loses_nothing(name, tmp_path, monkeypatch):
    command = COMMANDS[name]
    (tmp_path / "whole").mkdir()
    (tmp_path / "start").mkdir()
    command.prepare(tmp_path / "start")
    shutil.copytree(tmp_path / "start", tmp_path / "whole", dirs_exist_ok=True)
    traced(tmp_path / "whole", [], command.arguments)  # compiles what is not in the store: those files do not count
    shutil.rmtree(tmp_path / "whole")
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    counts = calls_of(tmp_path / "whole", command.arguments)
    before: Counter[str] = Counter()
    if command.is_end:
        shutil.copytree(tmp_path / "start", tmp_path / "without")
        before = calls_of(tmp_path / "without", TRAIN)
    points = [(call, number) for call in CALLS for number in range(before[call] + 1, counts[call] + 1)]
    assert len(points) >= 9
    tried = spread(points, command.samples)
    for call, number in tried:
        folder = tmp_path / f"{call}-{number}"
        shutil.copytree(tmp_path / "start", folder)
        status = killed_at(folder, call, number, command.arguments)
        # where a child is killed, the parent starts another one, or says that it died: of one file, or at all
        assert status in (KILLED if name != "filter" else (*KILLED, 0, 1, 7)), (call, number)
        monkeypatch.chdir(folder)
        try:
            command.check(folder, tmp_path / "whole")
        except Exception as error:
            raise AssertionError(f"{name}: killed at {call} {number} of {counts[call]}") from error
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
    print(f"{name}: killed at {len(tried)} of {len(points)} calls ({dict(counts)})")
