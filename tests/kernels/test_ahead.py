"""A second process compiles, too, where much is missing; nothing depends on it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cnncli.compute.store import Routine

LINES = "float32 kernels.elementwise relu_forward\nint64 compute.team_loops follow\n"
SCRIPT = """
import numpy as np, os, sys
from cnncli.compute import ahead, notices
from cnncli.engine.session import Session
from cnncli.model import load_model
compiled = []
notices.on_compile.append(compiled.append)
session = Session(load_model(sys.argv[1]), batch_size=4, threads=int(sys.argv[2]), optimizer="adam")
images, labels = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1), np.arange(4)
for step in range(3):
    session.train_batch(images, labels, np.arange(4), 0.01, (0, step))
print(len(compiled), len(ahead._helpers), session.parameters.tobytes().hex())
"""
MODEL = "input: 8x8x1\nlayers: [conv: {filters: 4, kernel: 3}, tanh, maxpool: 2, flatten, dense: 4, softmax]\n"


def helper(folder):
    command = [sys.executable, "-P", "-m", "cnncli.compute.ahead"]
    environment = os.environ | {"CNN_CACHE_DIR": str(folder)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def kept(folder):
    return sorted(path.name.partition("-")[0] for path in (folder / "kernels").glob("*.code"))


def test_what_the_lines_name_is_compiled_into_the_store_and_an_unknown_name_is_skipped(tmp_path):
    process = helper(tmp_path)
    _, errors = process.communicate("float32 kernels.elementwise no_such_kernel\n" + LINES, timeout=300)
    assert process.returncode == 0, errors
    assert kept(tmp_path) == ["compute.team_loops.follow", "kernels.elementwise.relu_forward"]


def test_ctrl_c_ends_the_helper_without_a_word(tmp_path):
    process = helper(tmp_path)
    process.stdin.write(LINES)
    process.stdin.flush()
    deadline = time.monotonic() + 120
    while not kept(tmp_path):  # the folder and the first file appear
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""


def cold_training(folder, threads):
    (folder / "m.yaml").write_text(MODEL)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "m.yaml"), str(threads)],
        env=os.environ | {"CNN_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stderr == ""
    compiled, helpers, values = done.stdout.split()
    return int(compiled), int(helpers), values


@pytest.mark.slow
def test_a_cold_training_with_a_helper_and_without_one_ends_in_the_same_bits(tmp_path):
    """The helper starts only with two threads; what it compiles depends on the machine, the values do not."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    alone = cold_training(tmp_path / "one", 1)
    together = cold_training(tmp_path / "two", 2)
    assert alone[1:] == (0, together[2])
    assert together[1] == 1
    assert kept(tmp_path / "two" / "cache") == kept(tmp_path / "one" / "cache")
    assert together[0] <= alone[0] == len(kept(tmp_path / "one" / "cache"))
    assert cold_training(tmp_path / "two", 2) == (0, 0, alone[2])  # warm: nothing to share out


def test_what_is_in_the_store_or_in_this_process_is_not_asked_for():
    known = Routine("kernels.elementwise", "relu_forward")
    known.address()
    assert not known.can_be_kept()
    assert Routine("kernels.elementwise", "no_such_kernel").can_be_kept()
