"""Variants of one kernel, compiled by different processes, must not replace each other when loaded together."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
from cnncli.compute.arguments import Operand
from cnncli.compute.program import Op, OpSequence, Program
from cnncli.compute.host import LANES
from cnncli.kernels.convolution.loops import LoopNest
for name in sys.argv[1:]:
    rows, columns = map(int, name.split("x"))
    a = np.arange(1, rows + 1, dtype=np.float32)
    b = np.repeat(np.arange(1, columns + 1, dtype=np.float32), LANES).reshape(columns, LANES)
    guarded, zero = np.zeros((rows + 4, columns + 4, LANES), np.float32), np.zeros(1, np.float32)
    nest = LoopNest(rows=rows, columns=columns, outer=1, inner=1, a_row=1, b_column=LANES, b_outer=0, b_inner=0,
                    c_row=(columns + 4) * LANES, c_column=LANES, c_outer=0, c_inner=0,
                    lengths=(1, 1, 1), a_steps=(0, 0, 0), b_steps=(0, 0, 0))
    arrays = {"a": a, "b": b, "c": guarded, "bias": zero}
    operands = {name: Operand(array) for name, array in arrays.items()}
    op = Op("convolution.contraction.contract", {**operands, "nest": nest}, variant=(rows, columns, 1, 3, 0))
    Program([[OpSequence((op,), 1)]], 1).run()
    wanted = np.zeros_like(guarded)
    wanted[:rows, :columns] = (a[:, None] * b[:, 0])[..., None]
    print(name, (guarded == wanted).all())
"""


def run(folder, *names):
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(
        command, env=os.environ | {"CNN_CACHE_DIR": str(folder)}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_variants_from_different_processes(tmp_path):
    assert run(tmp_path, "3x2") == ["3x2", "True"]
    assert run(tmp_path, "1x1") == ["1x1", "True"]
    assert run(tmp_path, "2x4") == ["2x4", "True"]
    assert run(tmp_path, "1x1", "3x2", "2x4")[1::2] == ["True"] * 3
    assert run(tmp_path, "2x4", "3x2", "1x1")[1::2] == ["True"] * 3
