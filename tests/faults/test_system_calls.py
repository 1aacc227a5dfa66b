"""What `cnn train` asks of the operating system: no other program, no network, no half-written file."""

import os
import re
import shutil
import subprocess

import pytest
from faults.installed import CNN

from cnncli.io.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
TRAIN = ["train", "-d", "digits", "-e", "2", "--limit", "300", "-q", "--run-dir", "run"]


def traced(options, arguments, folder):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = ["strace", "-f", "-qq", "-o", folder / "trace", *options, CNN, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory):
    """Compile the kernels, so that their files are not among those counted."""
    folder = tmp_path_factory.mktemp("warm")
    subprocess.run([CNN, *TRAIN], cwd=folder, check=True, capture_output=True)


def test_no_program_is_started_and_no_connection_made(tmp_path):
    done = traced(["--seccomp-bpf", "-e", "trace=execve,connect,socket"], TRAIN, tmp_path)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "trace").read_text().splitlines()
    assert len(calls) == 1, calls
    assert "execve" in calls[0]


def test_row120_every_rename_follows_an_fsync_of_the_file_and_is_followed_by_one_of_the_folder(tmp_path):
    done = traced(["--seccomp-bpf", "-e", "trace=openat,fsync,rename", "-y"], TRAIN, tmp_path)
    assert done.returncode == 0, done.stderr
    run = f"{tmp_path}/run"
    calls = [line for line in (tmp_path / "trace").read_text().splitlines() if "fsync(" in line or " rename(" in line]
    ours = [line for line in calls if run in line or '"run/' in line]
    # an older checkpoint that gets the next number was written long before
    ours = [line for line in ours if not re.search(r'"[^"]*/last-\d\.safetensors"\)', line)]
    renames = [number for number, line in enumerate(ours) if " rename(" in line]
    assert len(renames) >= 8
    for number in renames:
        target = ours[number].split('", "')[1].split('"')[0]
        name = os.path.basename(target)
        assert f".{name}.tmp." in ours[number - 1], ours[number - 1 : number + 2]
        assert "fsync(" in ours[number - 1]
        assert f"<{run}>" in ours[number + 1], ours[number + 1]


@pytest.mark.parametrize("number", [1, 3, 4, 5, 7])
def test_row119_a_kill_at_any_rename_leaves_whole_files(tmp_path, number):
    """SQLite's method: the n-th call is the last one, for n = 1, 2, 3 ..."""
    inject = f"inject=rename:signal=KILL:when={number}"
    done = traced(["-e", "trace=rename", "-e", inject], TRAIN, tmp_path)
    assert done.returncode in (-9, 137), done.stderr
    names = {name for name in os.listdir(tmp_path / "run") if not name.startswith(".")}
    kept = {f"last{number}.safetensors" for number in ("", "-1", "-2")}
    assert names <= kept | {
        "command.txt",
        "config.yaml",
        "model.yaml",
        "best.safetensors",
        "history.csv",
        "result.json",
    }
    for name in names:
        if name.endswith(".safetensors"):
            read_checkpoint(tmp_path / "run" / name)
        else:
            assert (tmp_path / "run" / name).stat().st_size > 0
    again = subprocess.run([CNN, *TRAIN, "--force"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert not [name for name in os.listdir(tmp_path / "run") if ".tmp." in name]
