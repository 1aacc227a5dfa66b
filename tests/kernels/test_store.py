"""The store of compiled code: wrong files are compiled again, unsafe folders are not used."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time

import pytest

SCRIPT = """
import sys, numpy as np
from cnncli.compute import notices
notices.on_compile.append(lambda name: print("compile", name))
notices.on_refuse.append(lambda reason: print("refuse", reason))
notices.on_wait.append(lambda line: print(line))
from cnncli.compute.host import LANES
from cnncli.compute.arguments import Maps, Operand
from cnncli.compute.program import Op, OpSequence, Program
x, y = np.linspace(-1, 1, LANES).astype(np.float32), np.zeros(LANES, np.float32)
maps = {name: Maps(Operand(array), 1, 1, 1, LANES, LANES) for name, array in (("x", x), ("y", y))}
Program([[OpSequence((Op("elementwise.relu_forward", maps),), 1)]], 1).run()
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
        timeout=600,
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


def test_row107_damaged_files_are_compiled_again_and_replaced(filled):
    """Three files, each damaged in another way, twice."""
    damages = [lambda b: b"", lambda b: b[:100], lambda b: b[: len(b) // 2],
               lambda b: b[:-1], lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:], lambda b: b + b"x"]  # fmt: skip
    for turn in (damages[:3], damages[3:]):
        for path, damage in zip(files(filled), turn, strict=True):
            path.write_bytes(damage(path.read_bytes()))
        assert run(filled) == COMPILED
        assert run(filled) == ["right", "False"]


def test_row109_folder_that_others_may_write_is_not_used(filled):
    (filled / "kernels").chmod(0o777)
    try:
        lines = run(filled)
    finally:
        (filled / "kernels").chmod(0o700)
    assert lines[0].startswith(
        f"refuse {filled}: compiled kernels are not kept there: the folder is writable by others;"
    )
    assert lines[1:] == COMPILED


def test_row106_cache_that_cannot_be_made_means_compiling_in_memory(tmp_path):
    (tmp_path / "file").write_text("no folder")
    lines = run(tmp_path / "file" / "below")
    assert lines[0].startswith("refuse ")
    assert lines[-2:] == ["right", "True"]


def test_row108_full_disk_means_compiling_in_memory(tmp_path):
    import resource

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"CNN_CACHE_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stdout.splitlines()[-2] == "right"
    assert files(tmp_path) == []
    assert list((tmp_path / "kernels").glob("*.tmp")) == []


def test_row110_two_processes_on_a_cold_cache(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"CNN_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [worker.communicate(timeout=600)[0].splitlines() for worker in workers]
    assert [lines[-2] for lines in outputs] == ["right"] * 3
    # one compiles, the others wait for it and load
    assert sum(line.startswith("compile relu") for lines in outputs for line in lines) == 1
    assert run(tmp_path) == ["right", "False"]


def test_vector_width_has_its_own_files(filled):
    before = len(files(filled))
    assert run(filled, CNN_SIMD="4")[-2] == "right"
    assert len(files(filled)) == before + 3


def test_row105_disabled_compiler_is_ignored(filled, tmp_path):
    assert run(tmp_path, NUMBA_DISABLE_JIT="1") == COMPILED
    assert run(filled, NUMBA_DISABLE_JIT="1") == ["right", "False"]


@contextlib.contextmanager
def locked(folder, text=""):
    """Hold the locks of the folder, as a process does that is compiling or has been suspended."""
    (folder / "kernels").mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as files:
        for digit in "0123456789abcdef":
            file = files.enter_context((folder / "kernels" / f".lock-{digit}").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(text)
            file.flush()
        yield


def test_a_warm_start_asks_for_no_lock(filled):
    with locked(filled, str(os.getpid())):
        assert run(filled) == ["right", "False"]


HASTY = SCRIPT.replace("import sys, numpy as np", "import sys, numpy as np\nfrom cnncli.compute import store\n"
                       "store.SAY_AFTER_S, store.WAIT_AT_MOST_S = 0.1, 0.5")  # fmt: skip


@pytest.mark.parametrize("owner", ["alive", "dead", "unknown"])
def test_a_process_that_compiles_for_ever_is_not_waited_for(tmp_path, owner):
    gone = subprocess.Popen(["true"])
    gone.wait()
    text, name = {
        "alive": (str(os.getpid()), f"pid {os.getpid()}"),
        "dead": (str(gone.pid), "another process"),
        "unknown": ("", "another process"),
    }[owner]
    with locked(tmp_path, text):
        done = subprocess.run(
            [sys.executable, "-c", HASTY],
            env=os.environ | {"CNN_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
            start_new_session=True,
        )
    assert done.stdout.splitlines() == [f"waiting for {name}, which is compiling kernels", *COMPILED]
    assert run(tmp_path) == ["right", "False"]


def test_a_file_system_without_locks(tmp_path):
    patch = "import fcntl, errno\ndef refuse(*_): raise OSError(errno.ENOSYS, 'no')\nfcntl.flock = refuse\n"
    done = subprocess.run(
        [sys.executable, "-c", patch + SCRIPT],
        env=os.environ | {"CNN_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stdout.splitlines() == COMPILED
    assert run(tmp_path) == ["right", "False"]


def test_different_routines_are_compiled_at_the_same_time(tmp_path):
    """Of sixteen locks a routine needs one."""
    assert run(tmp_path) == COMPILED
    needed = {path.stem[-1] for path in files(tmp_path)}
    kept = tmp_path / "kernels"
    assert {path.name for path in kept.glob(".lock*")} == {f".lock-{digit}" for digit in needed}
    for path in files(tmp_path):
        path.unlink()
    with contextlib.ExitStack() as held:
        for digit in set("0123456789abcdef") - needed:
            file = held.enter_context((kept / f".lock-{digit}").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        assert run(tmp_path) == COMPILED  # and did not wait: it would have said so


def test_row113_files_of_the_future_and_of_long_ago_are_files_like_any_others(tmp_path):
    """What a clock that is set back or ahead leaves."""
    assert run(tmp_path) == COMPILED
    used = files(tmp_path)
    for years, width in ((30, "4"), (-30, "8")):
        moved = time.time() + years * 365 * 86400
        for path in used:
            os.utime(path, (moved, moved))
        assert run(tmp_path) == ["right", "False"]
        # of another width: it compiles, so it looks for old files; one of the two may be the width of this machine
        assert run(tmp_path, CNN_SIMD=width)[-2] == "right"
        assert all(path.exists() for path in used)


def test_what_nobody_used_for_a_month_is_deleted_when_something_is_compiled(tmp_path):
    assert run(tmp_path) == COMPILED
    kept = tmp_path / "kernels"
    old = time.time() - 40 * 86400
    in_use = files(tmp_path)
    for name in ("a.code", "a.nbc", "a.native", ".a.tmp", "notes.txt"):
        (kept / name).write_bytes(b"old")
        os.utime(kept / name, (old, old))
    (kept / "young.code").write_bytes(b"of other sources")
    for path in in_use:
        os.utime(path, (old, old))
    assert run(tmp_path) == ["right", "False"]  # which marks its files as used
    assert (kept / "a.code").exists()
    assert run(tmp_path, CNN_SIMD="4")[-2] == "right"
    left = {path.name for path in kept.iterdir()}
    assert {path.name for path in in_use} | {"notes.txt", "young.code"} <= left
    assert not left & {"a.code", "a.nbc", "a.native", ".a.tmp"}
