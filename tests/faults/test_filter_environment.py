"""`cnn filter` where the machine is short of something: memory, files, a home, a locale, a place to write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from faults.installed import CNN, run
from PIL import Image

ROOM = np.random.default_rng(3).integers(0, 256, (600, 800, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        Image.fromarray(ROOM).save(tmp_path / f"{name}.png")
    return tmp_path


def limited(limit: str) -> list[str]:
    return ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh"]


@pytest.mark.parametrize("kib", [600_000, 800_000, 1_200_000])
def test_row102_little_memory(folder: Path, kib: int) -> None:
    """It works, or ends with one line on the lack of memory; it never crashes."""
    result = run(["filter", "a.png", "-k", "sharpen", "-q", "-o", "o.png"], folder, prefix=limited(f"-v {kib}"))
    assert result.code in (0, 1), result
    assert "Traceback" not in result.err
    assert (folder / "o.png").exists() == (result.code == 0)
    assert len(result.err.splitlines()) <= (1 if result.code else 2), result.err


def test_row103_few_files_may_be_open(folder: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    result = run(["filter", *names, "-k", "box", "-q", "-o", "out/"], folder, prefix=limited("-n 32"))
    assert result.code == 0, result
    assert len(list((folder / "out").iterdir())) == 3


@pytest.mark.parametrize("value", ["0", "-1", "abc", "", "99999999"])
def test_row104_thread_variable(folder: Path, value: str) -> None:
    env = {"NUMBA_NUM_THREADS": value}
    result = run(["filter", "a.png", "-k", "box", "-q", "-o", "o.png"], folder, env=env)
    assert result.code == 3, result
    assert "NUMBA_NUM_THREADS" in result.err
    assert len(result.err.splitlines()) == 1


def test_row105_jit_switched_off(folder: Path) -> None:
    result = run(["filter", "a.png", "-k", "box", "-q", "-o", "o.png"], folder, env={"NUMBA_DISABLE_JIT": "1"})
    assert result.code == 0, result


def test_row106_no_home_and_no_cache(folder: Path) -> None:
    env = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "CNN_CACHE_DIR": "/proc/nowhere"}
    noisy = folder / "large.png"
    Image.fromarray(np.tile(ROOM, (3, 3, 1))).save(noisy)  # large enough for compiled code
    result = run(["filter", "large.png", "-k", "gaussian:2", "-q", "-o", "o.png"], folder, env=env)
    assert result.code == 0, result
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"TERM": "dumb"}, {"COLUMNS": "20"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
def test_row112_plain_surroundings(folder: Path, env: dict[str, str]) -> None:
    result = run(["filter", "a.png", "-k", "box", "-o", "o.png"], folder, env=env)
    assert result.code == 0, result
    assert "wrote o.png" in result.err
    assert "\x1b" not in result.err


def test_row114_nowhere_to_write(folder: Path) -> None:
    """With a read-only root, numbers and pictures still go to standard output."""
    script = (
        f"mount -o remount,ro,bind / / 2>/dev/null && {CNN} filter a.png -k box -q -o - | head -c 8 | od -c | head -1"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        pytest.skip(f"no read-only root here: {done.stderr[:80]}")
    assert "211   P   N   G" in done.stdout
