"""The outputs of a layer as a picture of labelled tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cnncli.io.drawing.grid import gray, grid

MOST_MAPS = 256  # of a layer that are drawn


def activation_picture(name: str, maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the maps (C, H, W) of a layer side by side, or a vector (n,) as one strip; black is its least number.

    Every map has its own scale, from its least number (black) to its largest (white).
    """
    if maps.ndim == 1:
        strip = np.repeat(maps[None], max(1, len(maps) // 12), axis=0)
        title = f"{name}: {len(maps)} numbers, {maps.min():.3g} to {maps.max():.3g}"
        return grid([gray(strip)], title=title)
    shown = maps[:MOST_MAPS]
    size = f"{maps.shape[1]}x{maps.shape[2]}"
    left = f", {len(maps) - len(shown)} more left out" if len(shown) < len(maps) else ""
    title = f"{name}: {len(maps)} maps of {size}, {maps.min():.3g} to {maps.max():.3g}{left}"
    return grid([gray(one) for one in shown], [str(number) for number in range(len(shown))], title=title)
