"""The store of compiled code: wrong files are compiled again, unsafe folders are not used."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, numpy as np
from cnncli.kernels import notices
notices.on_compile.append(lambda name: print("compile", name))
notices.on_refuse.append(lambda reason: print("refuse", reason))
from cnncli.kernels.host import LANES
from cnncli.kernels.program import Chain, Op, Place, Program
x, y = np.linspace(-1, 1, LANES).astype(np.float32), np.zeros(LANES, np.float32)
op = Op("elementwise.relu_forward", (Place(x), Place(y), 1, 1, 1, LANES, LANES, LANES, LANES))
Program([[Chain((op,), 1)]], 1).run()
print("right" if (y == np.maximum(x, 0)).all() else y)
print("numba" in sys.modules)
"""
COMPILED = ["compile relu_forward-float32", "compile lead-int64", "compile follow-int64", "right", "True"]


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
    assert run(folder) == COMPILED
    return folder


def files(folder):
    return sorted((folder / "kernels").glob("*.code"))


def test_second_run_compiles_nothing(filled):
    assert run(filled) == ["right", "False"]


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:100], lambda b: b[: len(b) // 2], lambda b: b[:-1],
                                    lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:]])  # fmt: skip
def test_damaged_file_is_compiled_again_and_replaced(filled, damage):
    for path in files(filled):
        path.write_bytes(damage(path.read_bytes()))
    assert run(filled) == COMPILED
    assert run(filled) == ["right", "False"]


def test_folder_that_others_may_write_is_not_used(filled):
    (filled / "kernels").chmod(0o777)
    try:
        lines = run(filled)
    finally:
        (filled / "kernels").chmod(0o700)
    assert lines[0].startswith(
        f"refuse {filled}: compiled kernels are not kept there: the folder is writable by others;"
    )
    assert lines[1:] == COMPILED


def test_cache_that_cannot_be_made_means_compiling_in_memory(tmp_path):
    (tmp_path / "file").write_text("no folder")
    lines = run(tmp_path / "file" / "below")
    assert lines[0].startswith("refuse ")
    assert lines[-2:] == ["right", "True"]


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
    assert done.stdout.splitlines()[-2] == "right"
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
    assert [lines[-2] for lines in outputs] == ["right"] * 3
    # one compiles, the others wait for it and load
    assert sum(line.startswith("compile relu") for lines in outputs for line in lines) == 1
    assert run(tmp_path) == ["right", "False"]


def test_vector_width_has_its_own_files(filled):
    before = len(files(filled))
    assert run(filled, CNN_SIMD="4")[-2] == "right"
    assert len(files(filled)) == before + 3


def test_disabled_compiler_is_ignored(filled, tmp_path):
    assert run(tmp_path, NUMBA_DISABLE_JIT="1") == COMPILED
    assert run(filled, NUMBA_DISABLE_JIT="1") == ["right", "False"]
