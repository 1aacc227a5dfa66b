"""The steps of a filter as stages that compute rows on demand, so that no whole float image ever exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import ShapeError
from cnncli.filters.borders import Border, source_index
from cnncli.filters.geometry import Geometry, resolve
from cnncli.filters.kernel import Kernel
from cnncli.filters.steps import GRAY_WEIGHTS, GrayStep, KernelStep, PointStep, PoolStep, Step
from cnncli.kernels import image_filter_numpy as arithmetic
from cnncli.shapes import Pair
from cnncli.tasks.filter_plan import ResolvedPlan, full_scale

Rows = NDArray[Any]


class Stage(ABC):
    """Something that can give any of its rows.

    Parameters
    ----------
    shape : (int, int, int)
        Rows, columns, channels of what comes out.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    @abstractmethod
    def rows(self, first: int, last: int) -> Rows:
        """Return rows `first` up to but not including `last`, shape (last - first, W, C); never written to."""


class SourceStage(Stage):
    """The pixels themselves, as `work` numbers."""

    def __init__(self, pixels: Rows, channels: tuple[int, ...] | None, work: np.dtype) -> None:
        height, width, depth = pixels.shape
        super().__init__((height, width, depth if channels is None else len(channels)))
        self.pixels, self.channels, self.work = pixels, channels, work

    def rows(self, first: int, last: int) -> Rows:
        """As Stage."""
        block = self.pixels[first:last]
        if self.channels is not None:
            block = block[..., list(self.channels)]
        return np.asarray(block, self.work)


class GrayStage(Stage):
    """One channel from three, by weights."""

    def __init__(self, source: Stage, method: str) -> None:
        height, width, depth = source.shape
        if depth not in (1, 3):
            raise ShapeError(f"gray needs 1 or 3 channels, the image has {depth}", hint="choose some with --channels")
        super().__init__((height, width, 1))
        self.source, self.weights = source, GRAY_WEIGHTS[method]

    def rows(self, first: int, last: int) -> Rows:
        """As Stage."""
        block = self.source.rows(first, last)
        if block.shape[2] == 1:
            return block
        weights = [block.dtype.type(w) for w in self.weights]
        total = block[..., :1] * weights[0]
        total += block[..., 1:2] * weights[1]
        total += block[..., 2:] * weights[2]
        return total


class PointStage(Stage):
    """Each value by itself."""

    def __init__(self, source: Stage, step: PointStep, white: float) -> None:
        super().__init__(source.shape)
        self.source, self.step, self.white = source, step, white

    def rows(self, first: int, last: int) -> Rows:
        """As Stage."""
        x, kind, values = self.source.rows(first, last), self.step.kind, self.step.values
        if kind == "relu":
            return np.asarray(np.maximum(x, 0))
        if kind == "leaky_relu":
            return np.where(x > 0, x, x * x.dtype.type(values[0]))
        if kind == "abs":
            return np.abs(x)
        if kind == "sigmoid":
            small = np.exp(-np.abs(x))  # never overflows
            return np.where(x >= 0, 1, small) / (1 + small)
        if kind == "tanh":
            return np.asarray(np.tanh(x))
        if kind == "round":
            return np.rint(x)
        if kind == "threshold":
            return np.where(x >= values[0], x.dtype.type(self.white), x.dtype.type(0))
        return np.clip(x, values[0], min(values[1], self.white) if values[1] == np.inf else values[1])


class WindowStage(Stage):
    """A stage whose values depend on windows of its source: holds the geometry and fetches padded rows."""

    def __init__(self, source: Stage, geometry: Geometry, border: Border, channels: int) -> None:
        super().__init__((*geometry.size, channels))
        self.source, self.geometry, self.border = source, geometry, border
        top, bottom, left, right = geometry.pads
        self.row_index = source_index(source.shape[0], top, bottom, border)
        self.column_index = source_index(source.shape[1], left, right, border)

    def padded_rows(self, first: int, last: int) -> Rows:
        """Return the rows of the padded source that rows `first` to `last` of the result read."""
        stride, reach = self.geometry.stride[0], self.geometry.dilation[0] * (self.geometry.kernel[0] - 1)
        wanted = self.row_index[first * stride : (last - 1) * stride + reach + 1]
        inside = np.unique(wanted[wanted >= 0])
        runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1) if inside.size else []
        blocks = [self.source.rows(int(run[0]), int(run[-1]) + 1) for run in runs]
        width, depth = self.source.shape[1:]
        block = np.concatenate(blocks) if len(blocks) != 1 else blocks[0]
        places = np.where(wanted >= 0, np.searchsorted(inside, wanted), -1)
        if not inside.size:
            block = np.zeros((1, width, depth), block.dtype)
        return arithmetic.pad(block, places, self.column_index, self.border.value)


class PoolStage(WindowStage):
    """The largest value or the mean of each window."""

    def __init__(self, source: Stage, step: PoolStep) -> None:
        geometry = resolve(source.shape[:2], step.size, step.padding, stride=step.stride)
        border = Border("constant", -np.inf) if step.kind == "maxpool" else Border("zero")
        super().__init__(source, geometry, border, source.shape[2])
        self.pool = arithmetic.pool_max if step.kind == "maxpool" else arithmetic.pool_mean

    def rows(self, first: int, last: int) -> Rows:
        """As Stage."""
        padded = self.padded_rows(first, last)
        size = (last - first, self.shape[1])
        out = np.empty((*size, self.shape[2]), padded.dtype)
        self.pool(padded, self.geometry.kernel, self.geometry.stride, size, out)
        return out


class KernelStage(WindowStage):
    """Filter with a kernel as it meets the image (turned and scaled already)."""

    def __init__(self, source: Stage, kernel: Kernel, geometry: Geometry, border: Border, copy_border: bool) -> None:
        depth = source.shape[2]
        if not kernel.per_channel and kernel.channels != depth:
            hint = "use --gray or --channels" if kernel.channels == 1 else "the products are added over all channels"
            raise ShapeError(f"{kernel.name} reads {kernel.channels} channels, the image has {depth}", hint=hint)
        stacked = kernel.filters if kernel.combine == "stack" else 1
        super().__init__(source, geometry, border, stacked * depth if kernel.per_channel else stacked)
        self.kernel, self.copy_border = kernel, copy_border

    def rows(self, first: int, last: int) -> Rows:
        """As Stage."""
        padded = self.padded_rows(first, last)
        size = (last - first, self.shape[1])
        responses = [self._response(padded, f, size) for f in range(self.kernel.filters)]
        if self.kernel.combine == "magnitude":
            out = np.sqrt(sum(r * r for r in responses))
        elif self.kernel.combine == "maximum":
            out = np.maximum.reduce(responses)
        else:
            out = responses[0] if len(responses) == 1 else np.concatenate(responses, axis=2)
        if self.copy_border:
            self._restore_border(out, first, last)
        return out

    def _response(self, padded: Rows, index: int, size: Pair) -> Rows:
        kernel, geometry = self.kernel, self.geometry
        total: Rows = np.empty((*size, padded.shape[2] if kernel.per_channel else 1), padded.dtype)
        if kernel.per_channel:
            arithmetic.correlate(padded, kernel.numerators[index, 0], geometry.stride, geometry.dilation, size, total)
        else:
            part = np.empty_like(total)
            total[:] = 0
            for channel in range(kernel.channels):
                arithmetic.correlate(
                    padded[..., channel : channel + 1],
                    kernel.numerators[index, channel],
                    geometry.stride,
                    geometry.dilation,
                    size,
                    part,
                )
                total += part
        bias = kernel.biases[index]
        if bias:
            total += bias * kernel.divisor
        if kernel.divisor != 1:
            total /= kernel.divisor
        return total

    def _restore_border(self, out: Rows, first: int, last: int) -> None:
        """Put back the input where a window would leave the image."""
        top, bottom, left, right = self.geometry.pads
        original = self.source.rows(first, last)
        height, width = self.shape[:2]
        rows = np.arange(first, last)
        outside = (rows < top) | (rows >= height - bottom)
        out[outside] = original[outside]
        out[:, :left] = original[:, :left]
        if right:
            out[:, width - right :] = original[:, width - right :]


def build_stages(pixels: Rows, resolved: ResolvedPlan, work: np.dtype) -> Stage:
    """Return the last stage of the chain.

    Raises
    ------
    ShapeError
        A kernel or pool larger than what it reads; channel counts that do not fit.
    UsageError
        A kernel that cannot be scaled.
    """
    plan = resolved.plan
    if plan.channels is not None and max(plan.channels, default=0) >= pixels.shape[2]:
        raise ShapeError(f"channel {max(plan.channels)} of an image with {pixels.shape[2]} channels (counted from 0)")
    stage: Stage = SourceStage(pixels, plan.channels, work)
    if plan.gray:
        stage = GrayStage(stage, plan.gray)
    for step in plan.steps:
        stage = _stage(stage, step, resolved, full_scale(pixels.dtype))
    return stage


def _stage(source: Stage, step: Step, resolved: ResolvedPlan, white: float) -> Stage:
    if isinstance(step, KernelStep):
        geometry = kernel_geometry(source.shape, step.kernel, resolved)
        return KernelStage(source, resolved.kernel(step.kernel), geometry, resolved.border, resolved.copy_border)
    if isinstance(step, PoolStep):
        return PoolStage(source, step)
    if isinstance(step, GrayStep):
        return GrayStage(source, step.method)
    return PointStage(source, step, white)


def kernel_geometry(shape: tuple[int, int, int], kernel: Kernel, resolved: ResolvedPlan) -> Geometry:
    """Return where the windows of `kernel` lie on an image of `shape`."""
    return resolve(
        shape[:2],
        kernel.size,
        resolved.padding,
        stride=resolved.plan.stride,
        dilation=resolved.plan.dilation,
        late_anchor=resolved.late(),
        keras_same=resolved.keras_same,
    )
