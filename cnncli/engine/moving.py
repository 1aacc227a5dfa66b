"""Moves and mirrors 8-bit images by compiled code."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cnncli.compute.arguments import Operand, pack
from cnncli.compute.store import routine


def move_images(images: NDArray[np.uint8], moves: NDArray[np.int64], ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images moved by whole pixels, then mirrored.

    Parameters
    ----------
    images : ndarray of uint8, (n, H, W, C)
    moves : ndarray of int64, (n, 4)
        Per image: pixels down, pixels to the right, 1 to mirror it left to right after that, and 1 to repeat the edge
        where nothing is known instead of `ground`.
    ground : ndarray of uint8, (C,)
        The pixel that comes in from outside.
    """
    images, ground = np.ascontiguousarray(images), np.ascontiguousarray(ground)
    result = np.empty_like(images)
    _mover(*images.shape).run(images, result, moves, ground)
    return result


class _Mover:
    def __init__(self, count: int, height: int, width: int, channels: int) -> None:
        move = routine("move_images.move_images")
        code = move.code()
        self._addresses = np.zeros(3, np.int64)
        self._moves = np.zeros((count, 4), np.int64)
        operands: dict[str, Operand | int] = {
            name: Operand(self._addresses, position) for position, name in enumerate(("source", "target", "ground"))
        }
        operands["moves"] = Operand(self._moves)
        operands |= {"count": count, "height": height, "width": width, "channels": channels}
        words, self._keep = pack(code.takes, operands, move.name)
        self._words = np.array([1, *words], np.int64)
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code.address)

    def run(
        self,
        images: NDArray[np.uint8],
        result: NDArray[np.uint8],
        moves: NDArray[np.int64],
        ground: NDArray[np.uint8],
    ) -> None:
        """Fill `result`."""
        self._moves[:] = moves
        self._addresses[:] = [array.ctypes.data for array in (images, result, ground)]
        self._call(self._words.ctypes.data, 0, 0)


@lru_cache(maxsize=4)
def _mover(count: int, height: int, width: int, channels: int) -> _Mover:
    return _Mover(count, height, width, channels)
