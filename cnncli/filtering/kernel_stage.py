"""The kernel step as a stage, in NumPy or in compiled code, and the chain of stages of a plan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import ShapeError
from cnncli.filtering.plan import ResolvedPlan
from cnncli.filtering.stages import SourceStage, Stage, WindowStage
from cnncli.filters.borders import Border
from cnncli.filters.geometry import Geometry, resolve
from cnncli.filters.kernel import Kernel
from cnncli.kernels.image_filter import with_numpy as arithmetic
from cnncli.shapes import Pair

Rows = NDArray[Any]


class KernelStage(WindowStage):
    """Filter with a kernel as it meets the image (turned and scaled already)."""

    def __init__(
        self, source: Stage, kernel: Kernel, geometry: Geometry, border: Border, copy_border: bool, compiled: bool
    ) -> None:
        depth = source.shape[2]
        if not kernel.per_channel and kernel.channels != depth:
            order = "kernel arrays are (F, C, KH, KW), with --as keras (KH, KW, C, F)"
            hint = "use --gray or --channels" if kernel.channels == 1 else order
            raise ShapeError(f"{kernel.name} reads {kernel.channels} channels, the image has {depth}", hint=hint)
        stacked = kernel.filters if kernel.combine == "stack" else 1
        super().__init__(source, geometry, border, stacked * depth if kernel.per_channel else stacked)
        self.kernel, self.copy_border, self.compiled = kernel, copy_border, compiled
        self.rounding_start = 0.0  # Pillow adds its half before the products

    def rows(self, first: int, last: int) -> Rows:
        """Return the kernel's response in these rows; compiled code reads the pixels of the image directly."""
        if self.compiled and isinstance(self.source, SourceStage) and self.source.channels is None:
            block, places = self.source.pixels, self.wanted_rows(first, last)
        else:
            block, places = self.source_rows(first, last)
        out = self.respond(block, places, last - first)
        if self.copy_border:
            self.restore_border(out, self.source.rows(first, last), first)
        return out

    def respond(self, block: Rows, places: NDArray[np.int64], height: int) -> Rows:
        """Return `height` rows of the response.

        float32 from compiled code (on the thread of the caller), else the float type of `block`.
        """
        return (self._compiled if self.compiled else self._in_numpy)(block, places, (height, self.shape[1]))

    def _compiled(self, block: Rows, places: NDArray[np.int64], size: Pair) -> Rows:
        from cnncli.kernels.image_filter.job import FilterJob

        kernel, geometry, left = self.kernel, self.geometry, self.geometry.pads[2]
        starts = kernel.biases * kernel.divisor
        height, width, depth = block.shape
        shared: dict[str, Any] = {
            "dtype": block.dtype, "size": size, "rows": places, "columns": self.column_index, "left": left,
            "constant": self.border.value, "divisor": kernel.divisor, "stride": geometry.stride,
            "dilation": geometry.dilation,
        }  # fmt: skip
        if kernel.per_channel:
            stacked = kernel.filters if kernel.combine == "stack" else 1
            out = np.empty((*size, stacked * depth), np.float32)
            every = FilterJob(
                (height, width, depth), numerators=kernel.numerators[:, 0], starts=starts, combine=kernel.combine,
                **shared,
            )  # fmt: skip
            every.run(block, out, 1)
            return out
        out = np.zeros((*size, kernel.filters), np.float32)
        part = np.empty((*size, 1), np.float32)
        for channel in range(kernel.channels):
            plane = np.ascontiguousarray(block[..., channel : channel + 1])
            for f in range(kernel.filters):
                one = FilterJob(
                    (height, width, 1), numerators=kernel.numerators[f : f + 1, channel],
                    starts=starts[f : f + 1] * (channel == 0), combine="stack", **shared,
                )  # fmt: skip
                one.run(plane, part, 1)
                out[..., f : f + 1] += part
        return out

    def _in_numpy(self, block: Rows, places: NDArray[np.int64], size: Pair) -> Rows:
        padded = arithmetic.pad(block, places, self.column_index, self.border.value)
        responses = [self._response(padded, f, size) for f in range(self.kernel.filters)]
        return self.combined(responses)

    def combined(self, responses: list[Rows]) -> Rows:
        """Return what becomes of the responses of the filters."""
        if self.kernel.combine == "magnitude":
            return np.asarray(np.sqrt(sum(r * r for r in responses)))
        if self.kernel.combine == "maximum":
            return np.asarray(np.maximum.reduce(responses))
        return responses[0] if len(responses) == 1 else np.concatenate(responses, axis=2)

    def _response(self, padded: Rows, index: int, size: Pair) -> Rows:
        kernel, geometry = self.kernel, self.geometry
        total: Rows = np.empty((*size, padded.shape[2] if kernel.per_channel else 1), padded.dtype)
        if kernel.per_channel:
            weights = kernel.numerators[index, 0]
            if padded.dtype == np.float32:
                start = float(kernel.biases[index]) + self.rounding_start
                arithmetic.correlate_by_rows(padded, weights, geometry.stride, geometry.dilation, size, total, start)
                return total
            arithmetic.correlate(padded, weights, geometry.stride, geometry.dilation, size, total)
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

    def restore_border(self, out: Rows, original: Rows, first: int) -> None:
        """Put back the input where a window would leave the image; `original` are the rows of the input from `first`.

        Pillow does so.
        """
        top, bottom, left, right = self.geometry.pads
        height, width = self.shape[:2]
        rows = np.arange(first, first + len(out))
        outside = (rows < top) | (rows >= height - bottom)
        out[outside] = original[outside]
        out[:, :left] = original[:, :left]
        if right:
            out[:, width - right :] = original[:, width - right :]


class WideStage(KernelStage):
    """The second half of a blur that goes along columns and rows in turn."""


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
        halved=resolved.halved,
    )
