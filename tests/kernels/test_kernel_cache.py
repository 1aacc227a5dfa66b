"""The cache of compiled kernels: wrong files are compiled again, unsafe folders are not used."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, numpy as np
from cnncli.kernels import notices
notices.on_compile.append(lambda name: print("compile", name))
notices.on_refuse.append(lambda reason: print("refuse", reason))
from cnncli.kernels.elementwise import relu_forward
from cnncli.kernels.program import Chain, Op, Place, Program
from cnncli.kernels.simd import LANES
x, y = np.linspace(-1, 1, LANES).astype(np.float32), np.zeros(LANES, np.float32)
Program([[Chain((Op(relu_forward, (Place(x), Place(y), 1, 1, 1, LANES, LANES, LANES, LANES)),), 1)]], 1).run()
print("right" if (y == np.maximum(x, 0)).all() else y)
"""


def run(folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"CNN_CACHE_DIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert run(folder) == ["compile relu_forward-float32", "compile lead", "compile follow", "right"]
    return folder


def files(folder):
    return sorted((folder / "kernels").glob("*.nbc"))


def test_second_run_compiles_nothing(filled):
    assert run(filled) == ["right"]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:100], lambda b: b[: len(b) // 2], lambda b: b[:-1],
                                    lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:]])  # fmt: skip
def test_damaged_file_is_compiled_again_and_replaced(filled, damage):
    for path in files(filled):
        path.write_bytes(damage(path.read_bytes()))
    assert run(filled) == ["compile relu_forward-float32", "compile lead", "compile follow", "right"]
    assert run(filled) == ["right"]


def test_folder_that_others_may_write_is_not_used(filled):
    (filled / "kernels").chmod(0o777)
    try:
        lines = run(filled)
    finally:
        (filled / "kernels").chmod(0o700)
    assert lines[0].startswith(
        f"refuse {filled}: compiled kernels are not kept there: the folder is writable by others;"
    )
    assert lines[1:] == ["compile relu_forward-float32", "compile lead", "compile follow", "right"]


def test_a_pickle_planted_in_an_unsafe_folder_is_not_opened(tmp_path):
    import hashlib
    import pickle

    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o777)
    folder.chmod(0o700)
    run(tmp_path)
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    payload = pickle.dumps(Bomb())
    for path in files(tmp_path):
        path.write_bytes(hashlib.sha256(payload).digest() + payload)
    folder.chmod(0o777)
    assert run(tmp_path)[-1] == "right"
    assert not canary.exists()


def test_cache_that_cannot_be_made_means_compiling_in_memory(tmp_path):
    (tmp_path / "file").write_text("no folder")
    lines = run(tmp_path / "file" / "below")
    assert lines[0].startswith("refuse ")
    assert lines[-1] == "right"


def test_full_disk_means_compiling_in_memory(tmp_path):
    import resource

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"CNN_CACHE_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "right"
    assert files(tmp_path) == []
    assert list((tmp_path / "kernels").glob("*.tmp")) == []


def test_two_processes_on_a_cold_cache(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"CNN_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [worker.communicate(timeout=120)[0].splitlines() for worker in workers]
    assert [lines[-1] for lines in outputs] == ["right"] * 3
    # one compiles, the others wait for it and load
    assert sum(line.startswith("compile relu") for lines in outputs for line in lines) == 1
    assert run(tmp_path) == ["right"]


def test_vector_width_has_its_own_files(filled):
    before = len(files(filled))
    assert run(filled, CNN_SIMD="4")[-1] == "right"
    assert len(files(filled)) == before + 3


def test_disabled_compiler_is_ignored(filled):
    assert run(filled, NUMBA_DISABLE_JIT="1")[-1] == "right"
