"""Arithmetic on arrays: compiled loops and the SIMD vectors they are written in."""
