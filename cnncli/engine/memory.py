"""The arrays of a session: aligned, zeroed, and counted."""

from __future__ import annotations

import numpy as np

_ALIGNMENT = 64  # bytes of a cache line and of the widest vector


class Memory:
    """Allocates arrays and adds up what they take.

    Parameters
    ----------
    dtype : str
        ``float32`` or ``float64``: the type of arrays that name none.
    is_counted_only : bool
        Allocate nothing: every array is one number, seen many times.
    """

    def __init__(self, dtype: str, *, is_counted_only: bool = False) -> None:
        self.dtype = np.dtype(dtype)
        self.is_counted_only = is_counted_only
        self.size_bytes = 0

    def zeros(self, elements: int, dtype: str = "") -> np.ndarray:
        """Return an aligned vector of zeros."""
        kind = np.dtype(dtype) if dtype else self.dtype
        size = elements * kind.itemsize + _ALIGNMENT
        self.size_bytes += size
        if self.is_counted_only:
            return np.lib.stride_tricks.as_strided(np.zeros(1, kind), (elements,), (0,))
        raw = np.zeros(size, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        return raw[start : start + elements * kind.itemsize].view(kind)
