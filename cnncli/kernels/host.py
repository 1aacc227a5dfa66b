"""What this machine's processor can do; importing this does not import Numba."""

from __future__ import annotations

import os

import llvmlite.binding as llvm


def host_lanes() -> int:
    """Return how many float32 fill a vector register of this machine, or what `CNN_SIMD` says."""
    forced = os.environ.get("CNN_SIMD", "")
    if forced in ("4", "8", "16"):
        return int(forced)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 4


LANES = host_lanes()
#: accumulators of a register tile that fit the register file beside the operands, by vector width
ACCUMULATORS = {16: 24, 8: 12, 4: 12}[LANES]
