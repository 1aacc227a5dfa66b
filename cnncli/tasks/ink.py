"""Where the ink is: polarity of a picture, its ground under uneven light, and the connected strokes on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GROUND_ROUNDS = 6
_GROUND_POINTS = 4096
_SMALL_SIDE = 32  # up to here the frame decides the polarity [px]
_POLARITY_SIDE = 128
_FAINTEST = 24.0  # grey levels between ground and ink below which there is nothing to read
_SMALLEST_SHARE = 0.1  # of the largest stroke's ink; what has less is a speck


@dataclass(frozen=True)
class Ink:
    """Strokes cut out of a picture.

    Attributes
    ----------
    strength : ndarray of float64, (h, w)
        0 ground .. 255 full ink, cropped to the strokes.
    top, left : int
        Where the crop begins in the picture [px].
    """

    strength: NDArray[np.float64]
    top: int
    left: int


def is_dark_on_light(gray: NDArray[np.uint8]) -> bool:
    """Return True where ink is darker than its ground.

    In a small picture the frame is ground: it is compared with the two classes of grey. In a larger one light may
    fall off by more than the ink is dark, so the ground is taken away first and the longer tail is the ink.

    Parameters
    ----------
    gray : ndarray of uint8, (H, W)
        Read only.
    """
    if min(gray.shape) > _SMALL_SIDE:
        step = -(-max(gray.shape) // _POLARITY_SIDE)
        above, _ = _above_ground(gray[::step, ::step].astype(np.float64))
        return float((above**3).sum()) < 0
    frame = np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])
    return bool(np.median(frame) > otsu_threshold(gray))


def otsu_threshold(values: NDArray[np.uint8]) -> int:
    """Return the grey level that separates two classes best; the brighter class lies above it.

    References
    ----------
    Otsu 1979, "A threshold selection method from gray-level histograms", doi:10.1109/TSMC.1979.4310076, equation 18.
    """
    counts = np.bincount(values.reshape(-1), minlength=256).astype(np.float64)
    levels = np.arange(256)
    weight = np.cumsum(counts)
    first = np.cumsum(counts * levels)
    total, mean = weight[-1], first[-1] / weight[-1]
    splits = (weight > 0) & (weight < total)
    if not splits.any():
        return 127  # one grey level only
    between = np.zeros(256)
    between[splits] = (mean * weight - first)[splits] ** 2 / (weight * (total - weight))[splits]
    best = np.flatnonzero(between == between.max())
    return int(best[0] + best[-1]) // 2


def find_ink(gray: NDArray[np.float64], *, dark_on_light: bool) -> Ink | None:
    """Cut the strokes out of a picture, or return None where there is nothing but ground.

    The ground is a quadratic surface through what is not ink, so light that falls off to one side does no harm.
    Specks are dropped, and what touches the frame (a page's edge, a shadow) is dropped where other strokes remain.

    Parameters
    ----------
    gray : ndarray of float64, (H, W)
        0..255; read only.
    dark_on_light : bool
        True for ink darker than the ground.
    """
    raw = -gray if dark_on_light else gray
    above, noise = _above_ground(raw)
    peak = float(np.percentile(above, 99.9))
    if peak < max(_FAINTEST, 6 * noise):
        return None
    scaled = np.clip(above * (255 / peak), 0, 255)
    threshold = max(otsu_threshold(scaled.astype(np.uint8)), min(4 * noise * 255 / peak, 128))
    strokes = _strokes(scaled, scaled > threshold)
    if strokes is None:
        return None
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    # one pixel more on each side: the soft edge of a stroke lies below the threshold
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    window = slice(top, rows[-1] + 2), slice(left, columns[-1] + 2)
    full = float(np.percentile(scaled[strokes], 75))
    low = threshold / 2
    strength = np.clip((scaled[window] - low) * (255 / (full - low)), 0, 255)
    strength[~_grown(strokes)[window]] = 0
    return Ink(strength, int(top), int(left))


def _above_ground(raw: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return how far each pixel lies above the ground, and the noise of the ground (a standard deviation).

    The surface is fitted to a grid of some thousand pixels: what deviates is left out and the fit repeated.
    """
    height, width = raw.shape
    step = max(1, round((height * width / _GROUND_POINTS) ** 0.5))
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    terms = _surface_terms(y[::step], x[::step])
    values = raw[::step, ::step].reshape(-1)
    keep = np.ones(len(values), np.bool_)
    noise = level = 0.0
    fit: NDArray[Any] = np.zeros(terms.shape[1])
    for _ in range(_GROUND_ROUNDS):
        # the 6 normal equations; by least squares again, as a picture of one row leaves some of them empty
        kept = terms[keep]
        fit = np.linalg.lstsq(kept.T @ kept, kept.T @ values[keep], rcond=None)[0]
        above = values - terms @ fit
        # ink lies on one side only, so the quieter side tells the noise
        spread = above - np.median(above)
        noise = 1.4826 * min(float(np.median(-spread[spread <= 0])), float(np.median(spread[spread >= 0])))
        keep = np.abs(spread) <= 2.5 * noise + 1.0
        level = float(np.median(above[keep]) if keep.any() else 0.0)
        if keep.sum() < terms.shape[1]:
            break
    constant, in_x, in_y, in_xx, in_xy, in_yy = fit
    surface = constant + level + y * (in_y + in_yy * y) + x * (in_x + in_xx * x) + in_xy * (y * x)
    return raw - surface, noise


def _surface_terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1, x, y, x², xy, y² for every pair of a column of y and a row of x."""
    columns = np.broadcast_arrays(np.ones_like(y), x, y, x * x, x * y, y * y)
    return np.stack(columns, axis=-1).reshape(-1, 6)


def _strokes(scaled: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    labels, count = connected_components(mask)
    if count == 0:
        return None
    ink = np.bincount(labels.reshape(-1), scaled.reshape(-1), minlength=count + 1)
    ink[0] = 0
    frame = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    inner = ink.copy()
    inner[frame] = 0
    chosen = inner if inner.max() >= _SMALLEST_SHARE * ink.max() else ink
    wanted = chosen >= _SMALLEST_SHARE * chosen.max()
    wanted[0] = False
    kept: NDArray[np.bool_] = wanted[labels]
    return kept


def connected_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Number the parts of a mask that hang together, corners included.

    Runs of each row are joined with the runs they touch in the row above.

    Returns
    -------
    labels : ndarray of int64, (H, W)
        0 outside of the mask, 1 .. count inside.
    count : int
        How many parts.

    References
    ----------
    Rosenfeld and Pfaltz 1966, "Sequential operations in digital picture processing", doi:10.1145/321356.321357.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    parent = list(range(len(starts)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first_of_row = np.searchsorted(starts[:, 0], np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = first_of_row[row - 1], first_of_row[row]
        for run in range(here, first_of_row[row + 1]):
            while above < here and ends[above, 1] < starts[run, 1]:
                above += 1
            other = above
            while other < here and starts[other, 1] <= ends[run, 1]:
                parent[root(other)] = root(run)
                other += 1
    roots = np.array([root(run) for run in range(len(starts))], np.int64)
    _, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int64)
    for (row, start), (_, end), number in zip(starts, ends, numbers, strict=True):
        labels[row, start:end] = number + 1
    return labels, int(numbers.max()) + 1 if len(numbers) else 0


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with one pixel more all around."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: NDArray[np.bool_] = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown
