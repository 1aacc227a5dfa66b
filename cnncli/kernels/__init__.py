"""Arithmetic on arrays: the only folder that imports numba."""
