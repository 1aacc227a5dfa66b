"""A warm start runs from stored machine code without Numba; a damaged or foreign file is made again."""

import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys, numpy as np
from cnncli.compute import notices
notices.on_compile.append(lambda name: print("compile", name))
from cnncli.filters.steps import parse_steps
from cnncli.filtering.apply import FilterPlan, apply_filter
pixels = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)
for kernel in ("sharpen", "gaussian:2", "sobel"):
    print(int(apply_filter(pixels, FilterPlan(parse_steps([kernel])), threads=2).pixels.astype(np.int64).sum()))
print("numba" in sys.modules)
import numba

@numba.njit
def risky(values, place):
    if place < 0:
        raise ValueError("negative")
    return [value * 2.0 for value in values][place]

print(risky(np.ones(3), 1))
try:
    risky(np.ones(3), -1)
except ValueError as error:
    print(error)
"""


def run(folder):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"CNN_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    lines = done.stdout.splitlines()
    compiled = [line for line in lines if line.startswith("compile")]
    rest = [line for line in lines if line not in compiled]
    return compiled, rest[:3], rest[3], rest[4:]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    compiled, sums, with_numba, after = run(folder)
    assert compiled == ["compile filter_strip-float32"]
    assert with_numba == "True"
    assert after == ["2.0", "negative"]
    return folder, sums


def files(folder):
    return list((folder / "kernels").glob("*.code"))


def test_second_run_needs_no_numba_and_gives_the_same(filled):
    folder, sums = filled
    # Numba works afterwards, exceptions included: what the linker was told did not reach it
    assert run(folder) == ([], sums, "False", ["2.0", "negative"])


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:40], lambda b: b[:-1], lambda b: b[:300] + b"\0" + b[301:]]
)
def test_damaged_code_is_never_run(filled, damage):
    folder, sums = filled
    (path,) = files(folder)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    compiled, again, with_numba, _ = run(folder)
    assert (compiled, again, with_numba) == (["compile filter_strip-float32"], sums, "True")
    path.unlink(missing_ok=True)
    path.write_bytes(whole)


def test_folder_that_others_may_write_is_not_used(filled):
    folder, sums = filled
    (folder / "kernels").chmod(0o777)
    try:
        compiled, again, with_numba, _ = run(folder)
        assert (compiled, again, with_numba) == (["compile filter_strip-float32"], sums, "True")
    finally:
        (folder / "kernels").chmod(0o700)


COMMAND = """
import sys
from cnncli.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("numba" in sys.modules)
"""
NETWORK = """\
name: small
input: 8x8x1
layers:
  - conv: {filters: 4, kernel: 3}
  - relu
  - maxpool: 2
  - dropout: 0.2
  - flatten
  - dense: classes
  - softmax
"""


def test_a_warm_training_and_prediction_need_no_numba_and_give_the_same(tmp_path):
    from PIL import Image

    (tmp_path / "small.yaml").write_text(NETWORK)
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "a.png")

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=tmp_path,
            env=os.environ | {"CNN_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        *out, with_numba = done.stdout.splitlines()
        return with_numba, "compiling kernels" in done.stderr, out

    train = ["train", "small.yaml", "-d", "digits", "-e", "1", "--limit", "200", "-o"]
    assert command(*train, "cold")[:2] == ("True", True)
    assert command(*train, "warm")[:2] == ("False", False)
    assert (tmp_path / "cold" / "best.safetensors").read_bytes() == (
        tmp_path / "warm" / "best.safetensors"
    ).read_bytes()
    first = command("predict", "warm", "a.png", "--format", "csv")
    assert command("predict", "warm", "a.png", "--format", "csv") == ("False", False, first[2])
