"""The most multiply-adds that a processor does: a loop that reads no memory."""

from __future__ import annotations

from cnncli.compute.arguments import Reals
from cnncli.compute.kernel import kernel
from cnncli.kernels.simd.vectors import LANES, vadd, vfma, vload, vstore

#: multiply-adds of vectors in one round, each of them independent of the others
CHAINS = 12


@kernel
def multiply_add(start: Reals, out: Reals, rounds: int) -> None:
    """Do `rounds` times s = s * a + b in CHAINS registers; out = their sum.

    `start` holds 2 + CHAINS vectors: a, b and the first values. Twelve chains of additions hide the latency of 4 or 5
    cycles of two units, and fit the 16 registers of AVX2.
    """
    a, b = vload(start, 0), vload(start, LANES)
    s0, s1, s2 = vload(start, 2 * LANES), vload(start, 3 * LANES), vload(start, 4 * LANES)
    s3, s4, s5 = vload(start, 5 * LANES), vload(start, 6 * LANES), vload(start, 7 * LANES)
    s6, s7, s8 = vload(start, 8 * LANES), vload(start, 9 * LANES), vload(start, 10 * LANES)
    s9, s10, s11 = vload(start, 11 * LANES), vload(start, 12 * LANES), vload(start, 13 * LANES)
    for _ in range(rounds):
        s0, s1, s2, s3 = vfma(s0, a, b), vfma(s1, a, b), vfma(s2, a, b), vfma(s3, a, b)
        s4, s5, s6, s7 = vfma(s4, a, b), vfma(s5, a, b), vfma(s6, a, b), vfma(s7, a, b)
        s8, s9, s10, s11 = vfma(s8, a, b), vfma(s9, a, b), vfma(s10, a, b), vfma(s11, a, b)
    low = vadd(vadd(vadd(s0, s1), vadd(s2, s3)), vadd(s4, s5))
    vstore(out, 0, vadd(low, vadd(vadd(vadd(s6, s7), vadd(s8, s9)), vadd(s10, s11))))
