"""Where compiled code cannot be kept, `cnn` compiles in memory and says so once; a writable `CNN_CACHE_DIR` helps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults.installed import run
from PIL import Image

NETWORK = "name: small\ninput: 8x8x1\nlayers:\n  - flatten\n  - dense: classes\n  - softmax\n"
NOBODY = 65534


@pytest.fixture(scope="module")
def ordinary_user() -> list[str]:
    """Return what runs a command as a user who may not write everywhere: nobody, where the tests run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed: root cannot become another user")
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    tried = subprocess.run([*prefix, sys.executable, "-c", "import cnncli"], capture_output=True, text=True, cwd="/")
    if tried.returncode:
        pytest.skip(f"another user cannot read this installation: {tried.stderr.strip()[-80:]}")
    return prefix


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that every user may enter and write, with a network, a picture and a home nobody may write."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    (path / "small.yaml").write_text(NETWORK)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(path / "a.png")
    (path / "home").mkdir(mode=0o555)
    yield path
    shutil.rmtree(path)


def environment(folder: Path, cache: str = "") -> dict[str, str]:
    return {"HOME": str(folder / "home"), "XDG_CACHE_HOME": "", "CNN_CACHE_DIR": cache}


TRAIN = ["train", "small.yaml", "-d", "digits", "-e", "1", "--limit", "64", "-o", "run"]
FILTER = ["filter", "a.png", "-k", "sobel", "--dtype", "float32", "-o", "o.npy", "-f"]


def warnings(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("cnn: warning: ")]


def test_row106_nowhere_to_keep_compiled_code(folder: Path, ordinary_user: list[str]) -> None:
    for command in (TRAIN, ["predict", "run", "a.png"], FILTER):
        result = run(command, folder, env=environment(folder), prefix=ordinary_user)
        assert result.code == 0, result
        (line,) = warnings(result.err)
        assert line.endswith("/.cache/cnncli: compiled kernels are not kept there: Permission denied; "
                             "set CNN_CACHE_DIR to a folder of your own")  # fmt: skip
        assert result.err.count("compiling kernels") == 1


def test_an_empty_folder_of_ones_own_is_filled_and_used(folder: Path, ordinary_user: list[str]) -> None:
    cache = folder / "cache"
    for turn in range(2):
        result = run(FILTER, folder, env=environment(folder, str(cache)), prefix=ordinary_user)
        assert result.code == 0, result
        assert warnings(result.err) == []
        assert ("compiling kernels" in result.err) == (turn == 0)
    assert (cache / "kernels").stat().st_mode & 0o777 == 0o700


def test_row106_a_folder_that_cannot_be_written(folder: Path, ordinary_user: list[str]) -> None:
    kept = folder / "cache" / "kernels"
    kept.mkdir(parents=True, mode=0o755)
    if os.geteuid() == 0:
        os.chown(kept, NOBODY, NOBODY)
    kept.chmod(0o500)
    result = run(FILTER, folder, env=environment(folder, str(kept.parent)), prefix=ordinary_user)
    kept.chmod(0o700)
    assert result.code == 0, result
    assert [line.split(": ", 2)[2] for line in warnings(result.err)] == [
        f"{kept.parent}: compiled kernels are not kept there: the folder is not writable; "
        "set CNN_CACHE_DIR to a folder of your own"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_row109_a_folder_of_another_user(folder: Path) -> None:
    kept = folder / "cache" / "kernels"
    kept.mkdir(parents=True, mode=0o700)
    os.chown(kept, NOBODY, NOBODY)
    result = run(FILTER, folder, env=environment(folder, str(kept.parent)))
    assert result.code == 0, result
    assert [line.split(": ", 2)[2] for line in warnings(result.err)] == [
        f"{kept.parent}: compiled kernels are not kept there: the folder belongs to another user; "
        "set CNN_CACHE_DIR to a folder of your own"
    ]
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("command", [TRAIN, FILTER], ids=["train", "filter"])
@pytest.mark.parametrize("width", ["7", "avx2", "0"])
def test_an_unknown_vector_width_is_refused(folder: Path, command: list[str], width: str) -> None:
    result = run(command, folder, env={"CNN_SIMD": width})
    assert result.code == 3
    assert result.err.splitlines()[-1] == f"cnn: error: CNN_SIMD is {width!r}, not 4, 8 or 16; unset it"
    assert not (folder / "run").exists()
    assert not (folder / "o.npy").exists()


def test_a_quiet_command_compiles_without_a_word(folder: Path) -> None:
    result = run([*FILTER, "-q"], folder, env={"CNN_CACHE_DIR": str(folder / "cache")})
    assert (result.code, result.err) == (0, "")
    assert any((folder / "cache" / "kernels").glob("*.code"))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_file_system_without_locks(folder: Path) -> None:
    trace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS"]
    cache = {"CNN_CACHE_DIR": str(folder / "cache")}
    result = run(TRAIN, folder, env=cache, prefix=trace)
    assert result.code == 0, result
    assert "cannot be locked (Function not implemented): start no second run there" in result.err
    result = run(["predict", "run", "a.png"], folder, env=cache, prefix=trace)
    assert result.code == 0, result
    assert any((folder / "cache" / "kernels").glob("*.code"))
