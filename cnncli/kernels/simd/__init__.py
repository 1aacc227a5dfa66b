"""SIMD vectors as Numba values, functions of them, and the register tile."""
