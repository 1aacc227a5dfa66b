"""Where the ink is: the ground under uneven light, the polarity of a picture, and the connected strokes on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.io.resample import fit_inside, resample

_GROUND_ROUNDS = 6
_GROUND_POINTS = 4096
_EVEN_SIDE = 128  # of the picture in which the ground is looked for [px]
_SMALLEST_PAGE = 12  # shorter side of a picture that has strokes and even ground [px]
_EVEN_STEP = 0.03  # of the range of grey: neighbours on the ground differ by less
_PAGE_SHARE = 0.5  # of the picture: an even region as large as this is the page
_FAINTEST = 24.0  # grey levels between ground and ink below which there is nothing to read
_SMALLEST_SHARE = 0.1  # of the largest stroke's ink; what has less is a speck
_SMALLEST_SIDE = 0.1  # of the picture's shorter side; a shape inside the frame is at least as long
_PEELINGS = 4  # times that shapes at the frame are taken away to find fainter ink inside


@dataclass(frozen=True)
class Ink:
    """Strokes cut out of a picture.

    Attributes
    ----------
    strength : ndarray of float64, (h, w)
        0 ground .. 255 full ink, cropped to the strokes.
    top, left : int
        Where the crop begins in the picture [px].
    dark_on_light : bool
        True where the ink is darker than the ground.
    shapes : int
        How many shapes of similar height stand side by side or one above the other: 2 for two digits.
    """

    strength: NDArray[np.float64]
    top: int
    left: int
    dark_on_light: bool
    shapes: int = 1


@dataclass(frozen=True)
class _Found:
    """Strokes of one polarity: which pixels, how strong each is (0..255), the threshold, and if they are inside."""

    strokes: NDArray[np.bool_]
    scaled: NDArray[np.float64]
    threshold: float
    shapes: int
    inside: bool
    contrast: float


def frame_is_light(gray: NDArray[Any]) -> bool:
    """Return True where most of the outermost pixels belong to the brighter of two classes of grey.

    Parameters
    ----------
    gray : ndarray, (H, W)
        0..255; read only.
    """
    frame = np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])
    return bool(np.median(frame) > otsu_threshold(gray.astype(np.uint8)))


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


def find_ink(gray: NDArray[np.float64], *, dark_on_light: bool | None = None) -> Ink | None:
    """Cut the strokes out of a picture, or return None where there is nothing but ground.

    The ground is a quadratic surface through the largest even region, so light that falls off to one side does no
    harm, nor does a table beside the sheet. Specks are dropped, and what touches the frame (the edge of a page, a
    shadow) is dropped where other strokes remain. Where no region is large enough, as in a digit that is cut out
    without a margin, the ground is the class of grey that most of the frame has.

    Parameters
    ----------
    gray : ndarray of float64, (H, W)
        0..255; read only.
    dark_on_light : bool, optional
        True for ink darker than the ground; looked for when left out.
    """
    page = _page(gray)
    if page is not None:
        found = {dark: _strokes_above(*_above_ground(-gray if dark else gray, page)) for dark in (False, True)}
        inside = {dark: result for dark, result in found.items() if result is not None and result.inside}
        if dark_on_light is not None:
            inside = {dark: result for dark, result in inside.items() if dark == dark_on_light}
        if inside:
            dark = max(inside, key=lambda key: float(inside[key].contrast * inside[key].strokes.sum()))
            return _cut(inside[dark], dark)
        if found[False] is None and found[True] is None:
            return None
    dark = frame_is_light(gray) if dark_on_light is None else dark_on_light
    at_frame = found[dark] if page is not None else None
    if at_frame is None:
        at_frame = _strokes_above(_above_frame(gray, dark), 0.0, peel=False)
    return _cut(at_frame, dark) if at_frame is not None else None


def _above_frame(gray: NDArray[np.float64], dark: bool) -> NDArray[np.float64]:
    """Return how far each pixel lies above the ground where that is one of two classes of grey and no region."""
    level = otsu_threshold(gray.astype(np.uint8))
    raw, ground = (-gray, gray > level) if dark else (gray, gray <= level)
    # the soft edges of the strokes are in the class too, so not its middle
    return raw - float(np.percentile(raw[ground], 20)) if ground.any() else np.zeros(gray.shape)


def _page(gray: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return the largest connected region without edges, where it covers the better part of the picture."""
    height, width = gray.shape
    size = fit_inside(height, width, min(max(height, width), _EVEN_SIDE))
    if min(size) < _SMALLEST_PAGE:
        return None
    small = resample(gray, *size)
    even = np.ones(size, np.bool_)
    down, right = np.abs(np.diff(small, axis=0)), np.abs(np.diff(small, axis=1))
    low, high = np.percentile(small, (1, 99))
    limit = max(_EVEN_STEP * (high - low), 5 * _noise(small), 2.0)
    even[:-1] &= down < limit
    even[1:] &= down < limit
    even[:, :-1] &= right < limit
    even[:, 1:] &= right < limit
    labels, count = connected_components(even)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    largest = int(sizes.argmax())
    if count == 0 or sizes[largest] < _PAGE_SHARE * even.size:
        return None
    rows, columns = np.arange(height) * size[0] // height, np.arange(width) * size[1] // width
    page: NDArray[np.bool_] = (labels == largest)[rows[:, None], columns]
    return page


def _noise(gray: NDArray[np.float64]) -> float:
    """Return the standard deviation of the noise: what is left when planes and straight edges are taken away.

    References
    ----------
    Immerkaer 1996, "Fast noise variance estimation", doi:10.1006/cviu.1996.0060; with a median in place of the mean.
    """
    rows = gray[:-2] - 2 * gray[1:-1] + gray[2:]
    return 1.4826 * float(np.median(np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]))) / 6


def _above_ground(raw: NDArray[np.float64], ground: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return how far each pixel lies above the ground, and the noise of the ground (a standard deviation).

    The surface is fitted to a grid of some thousand pixels: what deviates is left out and the fit repeated.
    """
    height, width = raw.shape
    step = max(1, round((height * width / _GROUND_POINTS) ** 0.5))
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    chosen = ground[::step, ::step].reshape(-1)
    basis = _surface_terms(y[::step], x[::step])[chosen]
    values = raw[::step, ::step].reshape(-1)[chosen]
    keep = np.ones(len(values), np.bool_)
    noise = level = 0.0
    fit: NDArray[Any] = np.zeros(basis.shape[1])
    for _ in range(_GROUND_ROUNDS):
        # the normal equations; by least squares again, as a picture of one row leaves some of them empty
        kept = basis[keep]
        fit = np.linalg.lstsq(kept.T @ kept, kept.T @ values[keep], rcond=None)[0]
        above = values - basis @ fit
        # ink lies on one side only, so the quieter side tells the noise
        spread = above - np.median(above)
        noise = 1.4826 * min(float(np.median(-spread[spread <= 0])), float(np.median(spread[spread >= 0])))
        keep = np.abs(spread) <= 2.5 * noise + 1.0
        level = float(np.median(above[keep]) if keep.any() else 0.0)
        if keep.sum() < basis.shape[1]:
            break
    constant, in_x, in_y, in_xx, in_xy, in_yy = fit
    surface = constant + level + y * (in_y + in_yy * y) + x * (in_x + in_xx * x) + in_xy * (y * x)
    return raw - surface, noise


def _surface_terms(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1, x, y, x², xy, y² for every pair of a column of y and a row of x."""
    columns = np.broadcast_arrays(np.ones_like(y), x, y, x * x, x * y, y * y)
    return np.stack(columns, axis=-1).reshape(-1, 6)


def _strokes_above(above: NDArray[np.float64], noise: float, *, peel: bool = True) -> _Found | None:
    """Return the shapes that stand out of the ground: those inside of the frame, or all where there are none.

    Shapes at the frame are often stronger than the ink (a dark table), so they are peeled off and the threshold is
    taken again, until a shape of some size lies inside.
    """
    remaining = np.ones(above.shape, np.bool_)
    frame = np.zeros(above.shape, np.bool_)
    frame[[0, -1]] = frame[:, [0, -1]] = True
    everything: _Found | None = None
    for _ in range(_PEELINGS):
        values = above[remaining]
        peak = float(np.percentile(values, 99.9)) if values.size else 0.0
        if peak < max(_FAINTEST, 6 * noise):
            break
        scaled = np.clip(above * (255 / peak), 0, 255)
        threshold = max(otsu_threshold(scaled[remaining].astype(np.uint8)), min(4 * noise * 255 / peak, 128))
        labels, count = connected_components((scaled > threshold) & remaining)
        if count == 0:
            break
        ink = np.bincount(labels.reshape(-1), scaled.reshape(-1), minlength=count + 1).astype(np.float64)
        ink[0] = 0
        boxes = bounding_boxes(labels, count)
        at_frame = np.zeros(count + 1, np.bool_)
        at_frame[np.unique(labels[frame])] = True
        if everything is None:
            chosen = ink >= _SMALLEST_SHARE * ink.max()
            everything = _Found(chosen[labels], scaled, threshold, _count_shapes(ink, boxes, chosen), False, peak)
        if not peel:
            break
        inner = np.where(at_frame, 0, ink)
        sides = np.maximum(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2])
        inner[sides < _SMALLEST_SIDE * min(above.shape)] = 0
        bands = _bands(labels, count)
        strokes_at_frame = ink[at_frame & ~bands].max(initial=0.0)
        if inner.max() > 0 and inner.max() >= _SMALLEST_SHARE * strokes_at_frame:
            chosen = inner >= _SMALLEST_SHARE * inner.max()
            return _Found(chosen[labels], scaled, threshold, _count_shapes(ink, boxes, chosen), True, peak)
        at_frame[0] = False
        if not at_frame.any():
            break
        # the soft rim of what is taken away counts as the frame from now on
        outside = _grown(_grown(at_frame[labels]))
        remaining &= ~outside
        frame |= _grown(outside)
    return everything


def _bands(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which shapes lie along the better part of a side of the picture, as a table beside a sheet does."""
    result = np.zeros(count + 1, np.bool_)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        result |= np.bincount(side, minlength=count + 1) > len(side) / 2
    result[0] = False
    return result


def bounding_boxes(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return top, bottom, left, right (ends excluded) of each label from 0 to count."""
    boxes = np.zeros((count + 1, 4), np.int64)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    for first, values in ((0, rows), (2, columns)):
        boxes[:, first] = labels.size
        np.minimum.at(boxes[:, first], numbers, values)
        np.maximum.at(boxes[:, first + 1], numbers, values + 1)
    boxes[0] = 0
    return boxes


def _count_shapes(ink: NDArray[np.float64], boxes: NDArray[np.int64], chosen: NDArray[np.bool_]) -> int:
    """Return how many of the chosen shapes could be digits of their own: similar in height, and beside each other."""
    heights = boxes[:, 1] - boxes[:, 0]
    wanted = chosen & (2 * heights >= heights[chosen].max()) & (5 * ink >= ink.max())
    tall = [int(number) for number in np.argsort(-ink) if wanted[number]]
    apart: list[int] = []
    for number in tall:
        if all(_are_apart(boxes[number], boxes[other]) for other in apart):
            apart.append(number)
    return max(1, len(apart))


def _are_apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    for start, end in ((0, 1), (2, 3)):
        common = min(one[end], other[end]) - max(one[start], other[start])
        if 4 * common <= min(one[end] - one[start], other[end] - other[start]):
            return True
    return False


def _cut(found: _Found, dark: bool) -> Ink:
    strokes, scaled = found.strokes, found.scaled
    full = float(np.percentile(scaled[strokes], 75))
    low = found.threshold / 2
    strength = np.clip((scaled - low) * (255 / (full - low)), 0, 255)
    strength[~_grown(strokes)] = 0  # one pixel more on each side: the soft edge of a stroke lies below the threshold
    rows, columns = np.flatnonzero(strength.any(axis=1)), np.flatnonzero(strength.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return Ink(strength[top : rows[-1] + 1, left : columns[-1] + 1], top, left, dark, found.shapes)


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
