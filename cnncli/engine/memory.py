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
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.size_bytes = 0

    def zeros(self, elements: int, dtype: str = "") -> np.ndarray:
        """Return an aligned vector of zeros."""
        kind = np.dtype(dtype) if dtype else self.dtype
        raw = np.zeros(elements * kind.itemsize + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        self.size_bytes += raw.nbytes
        return raw[start : start + elements * kind.itemsize].view(kind)
