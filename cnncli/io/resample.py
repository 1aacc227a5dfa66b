"""Change the size of a picture without aliasing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resample(picture: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Return `picture` at another size, with a triangle filter as wide as the reduction asks for.

    Parameters
    ----------
    picture : ndarray, (H, W) or (H, W, C)
        Numbers of any type. Read only; computed in float32.
    height, width : int
        At least 1 [px].

    Returns
    -------
    ndarray of float64, (height, width[, C])
        A new array; constants stay what they are.

    References
    ----------
    Turkowski 1990, "Filters for common resampling tasks", Graphics Gems, section "tent filter".

    Examples
    --------
    >>> resample(np.array([[0.0, 0.0, 7.0, 7.0]]), 1, 2)
    array([[1., 6.]])
    """
    if picture.ndim == 3:
        return np.stack([resample(picture[..., c], height, width) for c in range(picture.shape[2])], axis=-1)
    image = Image.fromarray(np.ascontiguousarray(picture, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)


def fit_inside(height: int, width: int, box: int) -> tuple[int, int]:
    """Return the size with the same aspect whose longer side is `box`; no side is below 1.

    Examples
    --------
    >>> fit_inside(200, 300, 28)
    (19, 28)
    """
    longer = max(height, width)
    return max(1, round(height * box / longer)), max(1, round(width * box / longer))


def rotate(picture: NDArray[np.uint8], degrees: float, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `picture` turned counter-clockwise about its centre, with bilinear interpolation, in its old size.

    Parameters
    ----------
    picture : ndarray of uint8, (H, W, C)
        C is 1 or 3; read only.
    degrees : float
    ground : ndarray of uint8, (C,)
        What comes in from outside.
    """
    planes = np.ascontiguousarray(np.moveaxis(picture, -1, 0), np.float32)  # Pillow rounds bytes down
    channels = [
        np.asarray(Image.fromarray(plane).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=float(colour)))
        for plane, colour in zip(planes, ground, strict=True)
    ]
    turned: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return turned
