"""The steps of a filter as stages that compute rows on demand, so that no whole float image ever exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import ShapeError
from cnncli.filtering.plan import middle
from cnncli.filters.borders import Border, source_index
from cnncli.filters.geometry import Geometry, resolve
from cnncli.filters.steps import GRAY_WEIGHTS, PointStep, PoolStep
from cnncli.kernels.activation_table import ACTIVATIONS
from cnncli.kernels.image_filter import with_numpy as arithmetic

Rows = NDArray[Any]


class Stage(ABC):
    """Something that can give any of its rows.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns, channels of what comes out.

    Attributes
    ----------
    strip_values : int
        How many values to ask for at a time.
    """

    strip_values = 1 << 20

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    @abstractmethod
    def rows(self, first: int, last: int) -> Rows:
        """Return rows `first` up to but not including `last`, shape (last - first, W, C); never written to."""

    def counted(self, first: int, last: int) -> Rows:
        """Return the pixels of these rows that `minmax` and `equalize` go by, shape (n, C)."""
        return self.rows(first, last).reshape(-1, self.shape[2])


class SourceStage(Stage):
    """The pixels themselves, as `work` numbers times `factor`."""

    def __init__(self, pixels: Rows, channels: tuple[int, ...] | None, work: np.dtype, factor: float = 1.0) -> None:
        height, width, depth = pixels.shape
        super().__init__((height, width, depth if channels is None else len(channels)))
        self.pixels, self.channels, self.work, self.factor = pixels, channels, work, factor

    def rows(self, first: int, last: int) -> Rows:
        """Return the chosen channels of these rows as `work` numbers, times the factor."""
        block = self.pixels[first:last]
        if self.channels is not None:
            block = block[..., list(self.channels)]
        converted: Rows = block.astype(self.work, copy=False)
        return converted if self.factor == 1 else converted * converted.dtype.type(self.factor)


class GrayStage(Stage):
    """One channel from three, by weights."""

    def __init__(self, source: Stage, method: str) -> None:
        height, width, depth = source.shape
        if depth not in (1, 3):
            raise ShapeError(f"gray needs 1 or 3 channels, the image has {depth}", hint="choose some with --channels")
        super().__init__((height, width, 1))
        self.source, self.weights = source, GRAY_WEIGHTS[method]

    def rows(self, first: int, last: int) -> Rows:
        """Return the gray values of these rows, shape (last - first, W, 1)."""
        return self.changed(self.source.rows(first, last))

    def changed(self, block: Rows) -> Rows:
        """Return the gray values of colours."""
        if block.shape[2] == 1:
            return block
        weights = [block.dtype.type(w) for w in self.weights]
        total: Rows = block[..., :1] * weights[0]
        total += block[..., 1:2] * weights[1]
        total += block[..., 2:] * weights[2]
        return total


class PointStage(Stage):
    """Element-wise step, or with softmax one over the channels: the shape stays."""

    def __init__(self, source: Stage, step: PointStep, white: float) -> None:
        super().__init__(source.shape)
        self.source, self.step, self.white = source, step, white

    def rows(self, first: int, last: int) -> Rows:
        """Return these rows with the step applied to each value."""
        return self.changed(self.source.rows(first, last))

    def changed(self, block: Rows) -> Rows:
        """Return the value for each value of `block`."""
        changed: Rows = self._changed(block, self.step.kind, self.step.values)
        return changed

    def _changed(self, x: Rows, kind: str, values: tuple[float, ...]) -> Any:
        if kind == "relu":
            return np.maximum(x, x.dtype.type(0), dtype=x.dtype)
        if kind in ACTIVATIONS:
            return ACTIVATIONS[kind].function(x, *(x.dtype.type(value) for value in values))
        if kind == "softmax":
            powers = np.exp(x - x.max(axis=2, keepdims=True))
            return powers / powers.sum(axis=2, keepdims=True)
        if kind == "abs":
            return np.abs(x)
        if kind == "invert":
            return x.dtype.type(self.white) - x
        if kind == "round":
            return np.rint(x)
        if kind == "threshold":
            level = middle(self.white) if values[0] == -np.inf else values[0]
            return np.where(x >= level, x.dtype.type(self._high(values)), x.dtype.type(0))
        return np.clip(x, values[0], self._high(values))

    def _high(self, values: tuple[float, ...]) -> float:
        return self.white if values[1] == np.inf else values[1]


class WindowStage(Stage):
    """A stage whose values depend on windows of its source: holds the geometry and fetches padded rows."""

    def __init__(self, source: Stage, geometry: Geometry, border: Border, channels: int) -> None:
        super().__init__((*geometry.size, channels))
        self.source, self.geometry, self.border = source, geometry, border
        top, bottom, left, right = geometry.pads
        self.row_index = source_index(source.shape[0], top, bottom, border)
        self.column_index = source_index(source.shape[1], left, right, border)

    def wanted_rows(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the source rows (-1 for the border's constant) that rows `first` to `last` of the result read."""
        stride, reach = self.geometry.stride[0], self.geometry.dilation[0] * (self.geometry.kernel[0] - 1)
        return self.row_index[first * stride : (last - 1) * stride + reach + 1]

    def source_runs(self, first: int, last: int) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
        """Return the runs of source rows to fetch, and where each wanted row stands when they are joined."""
        wanted = self.wanted_rows(first, last)
        inside = np.unique(wanted[wanted >= 0])
        runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1) if inside.size else []
        places = np.where(wanted >= 0, np.searchsorted(inside, wanted), -1)
        return [(int(run[0]), int(run[-1]) + 1) for run in runs] or [(0, 1)], places

    def source_rows(self, first: int, last: int) -> tuple[Rows, NDArray[np.int64]]:
        """Return a block of source rows, and where in it each wanted row stands."""
        runs, places = self.source_runs(first, last)
        return joined([self.source.rows(*run) for run in runs]), places

    def rows(self, first: int, last: int) -> Rows:
        """Return these rows computed from the source rows that their windows cover."""
        return self.respond(*self.source_rows(first, last), last - first)

    @abstractmethod
    def respond(self, block: Rows, places: NDArray[np.int64], height: int) -> Rows:
        """Return `height` rows of the result.

        Parameters
        ----------
        block : ndarray, shape (H, W, C)
            Rows of the source.
        places : ndarray of int64
            For each row that the windows cover, its place in `block`; -1 for the constant of the border.
        """


class PoolStage(WindowStage):
    """The largest value or the mean of each window."""

    def __init__(self, source: Stage, step: PoolStep) -> None:
        hint = "use a smaller window"
        geometry = resolve(source.shape[:2], step.size, step.padding, stride=step.stride, what="window", hint=hint)
        border = Border("constant", -np.inf) if step.kind == "maxpool" else Border("zero")
        super().__init__(source, geometry, border, source.shape[2])
        self.kind = step.kind

    def respond(self, block: Rows, places: NDArray[np.int64], height: int) -> Rows:
        """Return the maximum or mean of each window; border pixels are not counted."""
        padded = arithmetic.pad(block, places, self.column_index, self.border.value)
        size, kernel, stride = (height, self.shape[1]), self.geometry.kernel, self.geometry.stride
        out = np.empty((*size, block.shape[2]), padded.dtype)
        if self.kind == "maxpool":
            arithmetic.pool_max(padded, kernel, stride, size, out)
        else:
            inside = np.outer(places >= 0, self.column_index >= 0)[..., None].astype(padded.dtype)
            arithmetic.pool_mean(padded, inside, kernel, stride, size, out)
        return out


def joined(blocks: list[Rows]) -> Rows:
    """Return blocks of rows as one, without a copy where there is only one."""
    return np.concatenate(blocks) if len(blocks) != 1 else blocks[0]
