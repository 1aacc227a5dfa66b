"""Kernels that follow from a formula: smoothing, Laplacian of Gaussian, Gabor, motion, turned edges."""

from __future__ import annotations

import math

import numpy as np

from cnncli.errors import UsageError
from cnncli.filters.kernel import Kernel, Numbers, exact_kernel

LIMIT = 255  # the longest side of a kernel
WIDEST = 8191  # the longest side of a blur that goes along rows and columns in turn


def box(n: float = 3) -> Kernel:
    """Return the mean over n x n pixels."""
    side = _side("box", n)
    return exact_kernel(f"box:{side}", np.ones((side, side)), side * side)


def gaussian(sigma: float = 1.0, size: float | None = None) -> Kernel:
    """Return a sampled Gaussian, normalised to sum 1; the side defaults to ``2*ceil(3*sigma) + 1``."""
    weights = _gaussian("gaussian", sigma, size)
    return Kernel(f"gaussian:{sigma:g},{len(weights)}", weights[None, None])


def wide_profile(name: str, width: float, size: float | None = None) -> Numbers | None:
    """Return the numbers of one axis of ``box:n`` or ``gaussian:sigma,size`` beyond LIMIT, None for a smaller one.

    Box: `width` ones, to be divided by `width`; Gaussian: sampled at whole pixels and normalised to sum 1.

    Raises
    ------
    UsageError
        More than WIDEST numbers.
    """
    side: float = width
    if name == "gaussian":
        if not 0 < width <= 1000:
            return None
        side = 2 * math.ceil(3 * width) + 1 if size is None else size
    if not LIMIT < side < math.inf or side != int(side):
        return None
    if side > WIDEST:
        raise UsageError(f"{name} of {side:g} pixels: the limit is {WIDEST}", hint="reduce the image first")
    if name == "box":
        return np.ones(int(side))
    x = np.arange(int(side)) - (side - 1) / 2
    profile: Numbers = np.exp(-(x**2) / (2 * width**2))
    normalised: Numbers = profile / profile.sum()
    return normalised


def log(sigma: float = 1.4, size: float | None = None) -> Kernel:
    """Return the Laplacian of a Gaussian, shifted to sum 0.

    ``(r^2 - 2 sigma^2) / sigma^4 * G(r)`` (Marr and Hildreth 1980, doi:10.1098/rspb.1980.0020), positive outside.
    """
    weights = _gaussian("log", sigma, size)
    y, x = _grid(*weights.shape)
    weights = weights * (x**2 + y**2 - 2 * sigma**2) / sigma**4
    return Kernel(f"log:{sigma:g},{len(weights)}", (weights - weights.mean())[None, None])


def unsharp(amount: float = 1.0, sigma: float = 1.0, size: float | None = None) -> Kernel:
    """Return ``identity + amount * (identity - gaussian)``: what a blur loses, added again."""
    weights = -amount * _gaussian("unsharp", sigma, size)
    middle = len(weights) // 2
    weights[middle, middle] += 1 + amount
    return Kernel(f"unsharp:{amount:g},{sigma:g}", weights[None, None])


def gabor(
    theta: float = 0.0,
    sigma: float = 2.0,
    wavelength: float = 4.0,
    gamma: float = 0.5,
    psi: float = 0.0,
    size: float | None = None,
) -> Kernel:
    """Return ``exp(-(x'^2 + gamma^2 y'^2) / (2 sigma^2)) cos(2 pi x'/wavelength + psi)``, x' turned by theta degrees.

    The convention of OpenCV's getGaborKernel: rows count from the bottom up. The side defaults to
    ``2*ceil(3*sigma) + 1``. Not normalised.
    """
    if sigma <= 0 or wavelength <= 0:
        raise UsageError(f"gabor needs a positive sigma and wavelength, not {sigma:g} and {wavelength:g}")
    side = _default_side("gabor", sigma, size)
    y, x = _grid(side, side)
    x, y = -x, -y  # OpenCV fills its matrix from the last element to the first
    angle = math.radians(theta)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = -x * math.sin(angle) + y * math.cos(angle)
    envelope = np.exp(-(along**2 + gamma**2 * across**2) / (2 * sigma**2))
    weights = envelope * np.cos(2 * math.pi * along / wavelength + math.radians(psi))
    return Kernel(f"gabor:{theta:g},{sigma:g},{wavelength:g}", weights[None, None])


def motion(length: float = 9, angle: float = 0.0) -> Kernel:
    """Return the mean along a line of `length` pixels, turned counter-clockwise by `angle` degrees.

    Multiples of 45 degrees touch whole pixels; other lines share each step between its two nearest pixels.
    """
    count = _side("motion", length)
    if not math.isfinite(angle):
        raise UsageError("motion needs a finite angle")
    steps = np.arange(count, dtype=np.float64) - (count - 1) / 2
    radians = math.radians(angle)
    slope = max(abs(math.cos(radians)), abs(math.sin(radians)))
    dx = _clean(steps * math.cos(radians) / slope)
    dy = _clean(-steps * math.sin(radians) / slope)
    width, height = 2 * math.ceil(np.abs(dx).max()) + 1, 2 * math.ceil(np.abs(dy).max()) + 1
    if count % 2 == 0 and not np.any(dy):
        return exact_kernel(f"motion:{count},{angle:g}", np.ones((1, count)), count)
    if count % 2 == 0 and not np.any(dx):
        return exact_kernel(f"motion:{count},{angle:g}", np.ones((count, 1)), count)
    weights = np.zeros((height, width))
    for x, y in zip(dx + width // 2, dy + height // 2, strict=True):
        column, row = math.floor(x), math.floor(y)
        right, below = x - column, y - row
        for r, c, share in (
            (row, column, (1 - below) * (1 - right)),
            (row, column + 1, (1 - below) * right),
            (row + 1, column, below * (1 - right)),
            (row + 1, column + 1, below * right),
        ):
            if share:
                weights[r, c] += share
    name = f"motion:{count},{angle:g}"
    if np.all(weights == np.rint(weights)):
        return exact_kernel(name, weights, count)
    return Kernel(name, (weights / weights.sum())[None, None])


def turned_pair(name: str, horizontal: Numbers, vertical: Numbers, divisor: float, angle: float) -> Kernel:
    """Return ``cos(angle) * horizontal + sin(angle) * vertical``: the derivative along a direction.

    Steerable filters (Freeman and Adelson 1991, doi:10.1109/34.93808); 0 is x, 90 is y (downwards).
    """
    cosine, sine = _clean(np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))]))
    return Kernel(f"{name}:{angle:g}", (cosine * horizontal + sine * vertical)[None, None], divisor)


def turned_ring(name: str, matrix: Numbers, angle: float) -> Kernel:
    """Return a 3x3 kernel whose outer ring is turned counter-clockwise by a multiple of 45 degrees."""
    steps = angle / 45
    if steps != round(steps):
        raise UsageError(f"{name} turns in steps of 45 degrees, not {angle:g}", hint=f"try {name}:{round(steps) * 45}")
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]  # clockwise
    turned = matrix.copy()
    for i, place in enumerate(ring):
        turned[ring[(i - round(steps)) % 8]] = matrix[place]
    return Kernel(f"{name}:{angle:g}" if steps else name, turned[None, None])


def _gaussian(name: str, sigma: float, size: float | None) -> Numbers:
    if not (0 < sigma <= 1000):
        raise UsageError(f"{name} needs a sigma above 0 and up to 1000, not {sigma:g}")
    side = _default_side(name, sigma, size)
    _, x = _grid(side, side)
    profile = np.exp(-(x[0] ** 2) / (2 * sigma**2))
    weights: Numbers = np.outer(profile, profile)
    normalised: Numbers = weights / weights.sum()
    return normalised


def _default_side(name: str, sigma: float, size: float | None) -> int:
    if size is not None:
        return _side(name, size)
    side = 2 * math.ceil(3 * sigma) + 1
    if side > LIMIT:
        message = f"{name} with sigma {sigma:g} has {side}x{side} numbers, the limit is {LIMIT}x{LIMIT}"
        most = (LIMIT - 1) // 6
        raise UsageError(message, hint=f"use a sigma up to {most}, size={LIMIT}, or filter a smaller picture")
    return side


def _side(name: str, n: float) -> int:
    if n != int(n) or not 1 <= n <= LIMIT:
        raise UsageError(f"{name} needs a whole side from 1 to {LIMIT}, not {n:g}", hint=f"write {name}:5")
    return int(n)


def _grid(height: int, width: int) -> tuple[Numbers, Numbers]:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return y - (height - 1) / 2, x - (width - 1) / 2


def _clean(values: Numbers) -> Numbers:
    nearest = np.rint(values * 2) / 2
    return np.where(np.abs(values - nearest) < 1e-12, nearest, values)
