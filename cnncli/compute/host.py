"""What this machine's processor can do; importing this does not import Numba."""

from __future__ import annotations

import os

import llvmlite.binding as llvm

from cnncli.errors import InvalidInputError


def host_lanes() -> int:
    """Return how many float32 fill a vector register of this machine, or what `CNN_SIMD` says.

    Raises
    ------
    InvalidInputError
        If `CNN_SIMD` is not 4, 8 or 16.
    """
    forced = os.environ.get("CNN_SIMD", "")
    if forced:
        if forced not in ("4", "8", "16"):
            raise InvalidInputError(f"CNN_SIMD is {forced!r}, not 4, 8 or 16", hint="unset it")
        return int(forced)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 4


LANES = host_lanes()
#: accumulators of a register tile that fit the register file beside the operands, by vector width
ACCUMULATORS = {16: 24, 8: 12, 4: 12}[LANES]


def has_feature(name: str) -> bool:
    """Return whether code may use a feature of this machine's processor, such as ``avx2``.

    `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` name another processor to compile for.
    """
    named = os.environ.get("NUMBA_CPU_FEATURES")
    if named is None and os.environ.get("NUMBA_CPU_NAME", "").lower() == "generic":
        named = ""
    if named is not None:
        return f"+{name}" in named.split(",")
    return bool(llvm.get_host_cpu_features().get(name))
