"""Where feature maps live: one array a tensor, with a halo of zeros and room for every block or every worker."""

from __future__ import annotations

from math import prod

import numpy as np

from cnncli.kernels.host import LANES
from cnncli.kernels.program import Place
from cnncli.layers.buffers import NO_PADS, View, as_image
from cnncli.shapes import Pads, Shape

_ALIGNMENT = 64  # bytes of a cache line and of the widest vector


class Memory:
    """Every array of a plan, and what they take together.

    Parameters
    ----------
    blocks, workers : int
        Blocks of images in a batch; threads that work on them.
    dtype : str
        ``float32`` or ``float64``.
    """

    def __init__(self, blocks: int, workers: int, dtype: str) -> None:
        self.blocks, self.workers, self.dtype = blocks, workers, np.dtype(dtype)
        self.size_bytes = 0

    def zeros(self, elements: int, dtype: str | None = None) -> np.ndarray:
        """Return an aligned vector of zeros."""
        kind = np.dtype(dtype) if dtype else self.dtype
        raw = np.zeros(elements * kind.itemsize + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        self.size_bytes += raw.nbytes
        return raw[start : start + elements * kind.itemsize].view(kind)

    def each_block(self, elements: int) -> Place:
        """Return room for `elements` numbers for each block of images of a batch."""
        return Place(self.zeros(elements * self.blocks), task_step=elements)

    def each_worker(self, elements: int) -> Place:
        """Return room for `elements` numbers for each thread."""
        size = -(-elements // LANES) * LANES
        return Place(self.zeros(size * self.workers), worker_step=size)


class Tensor:
    """Feature maps (C, H, W, LANES) of a block of images: wishes first, memory when they are all known.

    Parameters
    ----------
    shape : Shape
        ``(C, H, W)`` or ``(features,)``.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = as_image(shape)
        self.halo = NO_PADS
        self.is_kept = False  # for every block of the batch, or only for the block each worker is at
        self._place: Place | None = None

    def wish_halo(self, halo: Pads) -> None:
        """Ask for zeros around the maps: top, bottom, left, right."""
        top, bottom, left, right = (max(pair) for pair in zip(self.halo, halo, strict=True))
        self.halo = top, bottom, left, right

    def allocate(self, memory: Memory) -> None:
        """Take memory, once."""
        if self._place is None:
            channels, height, width = self._padded
            # a transpose reads whole blocks of LANES features: it may look beyond the last one
            elements = channels * height * width * LANES + LANES * LANES
            self._place = memory.each_block(elements) if self.is_kept else memory.each_worker(elements)

    def view(self, shape: Shape) -> View:
        """Return the maps as `shape`, which holds as many values.

        Raises
        ------
        RuntimeError
            If there is no memory yet, or another shape is asked of maps that have a halo.
        """
        image = as_image(shape)
        if self._place is None or prod(image) != prod(self.shape) or (image != self.shape and any(self.halo)):
            raise RuntimeError(f"no view {image} of a tensor {self.shape} with halo {self.halo}")
        _, height, width = self._padded if image == self.shape else image
        row = width * LANES
        corner = self.halo[0] * row + self.halo[2] * LANES
        return View(self._place.shifted(corner), image, height * row, row, LANES)

    @property
    def _padded(self) -> tuple[int, int, int]:
        channels, height, width = self.shape
        top, bottom, left, right = self.halo
        return channels, height + top + bottom, width + left + right
