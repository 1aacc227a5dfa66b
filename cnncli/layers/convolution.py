"""The three passes of a convolution as loop nests of the register tile (kernels/convolution): geometry alone.

The input gradient is a convolution of dy with the weights read backwards; with a stride s, the input pixels fall into
s*s classes that see different taps, and each class is a loop nest of its own (Dumoulin and Visin 2016, chapter 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

from cnncli.layers.base import Window
from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.compute.arguments import Operand, Partial
    from cnncli.compute.program import Op
    from cnncli.kernels.convolution.loops import LoopNest
    from cnncli.layers.recording import View


@dataclass(frozen=True)
class LoopPart:
    """A loop nest with what it reads and writes; it reads the weights from number `weight` on."""

    weight: int
    source: Operand
    target: Operand
    nest: LoopNest


def _contracted(parts: Sequence[LoopPart], weight: Operand, bias: Operand) -> list[Op]:
    from cnncli.kernels.convolution.loops import contract

    return [contract(weight.shifted(one.weight), one.source, one.target, bias, one.nest) for one in parts]


@dataclass(frozen=True)
class ConvLoops:
    """A convolution from `channels` to `filters` maps.

    Parameters
    ----------
    window : Window
    channels, filters, groups : int
        Of the whole layer; each group connects channels / groups to filters / groups.
    """

    window: Window
    channels: int
    filters: int
    groups: int = 1

    @property
    def _taps(self) -> int:
        return self.window.kernel[0] * self.window.kernel[1]

    @property
    def _of_group(self) -> tuple[int, int]:
        return self.channels // self.groups, self.filters // self.groups

    def forward(self, x: View, y: View, weight: Operand, bias: Operand, has_bias: bool, relu: bool) -> list[Op]:
        """Return the ops of y = x * weight + bias; with `relu`, negative results become 0."""
        return _contracted(self.forward_parts(x, y, has_bias=has_bias, relu=relu), weight, bias)

    def forward_parts(self, x: View, y: View, *, has_bias: bool, relu: bool) -> list[LoopPart]:
        """Return the loops of the forward pass."""
        from cnncli.kernels.convolution.loops import LoopNest

        window, taps = self.window, self._taps
        channels, filters = self._of_group
        corner = x.pixel(0, -window.padding[0], -window.padding[2])
        nest = LoopNest(
            rows=filters, columns=y.shape[2], outer=y.shape[1], inner=1,
            a_row=channels * taps,
            b_column=window.stride[1] * x.lanes, b_outer=window.stride[0] * x.row_step, b_inner=0,
            c_row=y.channel_step, c_column=y.lanes, c_outer=y.row_step, c_inner=0,
            lengths=(channels, *window.kernel),
            a_steps=(taps, window.kernel[1], 1),
            b_steps=(x.channel_step, window.dilation[0] * x.row_step, window.dilation[1] * x.lanes),
            bias_row=int(has_bias), relu=int(relu),
            reach=x.shape[1], first_row=-window.padding[0], row_step=window.stride[0], tap_step=window.dilation[0],
            groups=self.groups, a_group=filters * channels * taps, b_group=channels * x.channel_step,
            c_group=filters * y.channel_step, bias_group=filters * int(has_bias),
        )  # fmt: skip
        return [LoopPart(0, corner, y.operand, nest)]

    def weight_gradient(self, x: View, dy: View, target: Partial) -> list[Op]:
        """Return the ops that add the weight gradient of a block of images to `target`."""
        from cnncli.kernels.convolution.loops import LoopNest, contract_lanes

        window, (rows, columns) = self.window, self.window.kernel
        channels, filters = self._of_group
        corner = x.pixel(0, -window.padding[0], -window.padding[2])
        # one tap per row leaves no columns for the tile: take the channels instead
        by_channel = columns == 1
        nest = LoopNest(
            rows=filters, columns=channels if by_channel else columns, outer=1 if by_channel else channels, inner=rows,
            a_row=dy.channel_step,
            b_column=x.channel_step if by_channel else window.dilation[1] * x.lanes,
            b_outer=x.channel_step, b_inner=window.dilation[0] * x.row_step,
            c_row=channels * rows * columns,
            c_column=rows * columns if by_channel else 1, c_outer=rows * columns, c_inner=columns,
            lengths=(1, *dy.shape[1:]),
            a_steps=(0, dy.row_step, dy.lanes),
            b_steps=(0, window.stride[0] * x.row_step, window.stride[1] * x.lanes),
            groups=self.groups, a_group=filters * dy.channel_step, b_group=channels * x.channel_step,
            c_group=filters * channels * rows * columns,
        )  # fmt: skip
        return contract_lanes(dy.operand, corner, target, nest)

    def input_gradient(
        self, dy: View, dx: View, weight: Operand, bias: Operand, *, has_bias: bool = False, relu: bool = False
    ) -> list[Op]:
        """Return the ops that write dx, one per class of pixels.

        A transposed convolution adds a bias per map of dx and may rectify; otherwise `bias` holds a zero.
        """
        return _contracted(self.input_parts(dy, dx, has_bias=has_bias, relu=relu), weight, bias)

    def input_parts(self, dy: View, dx: View, *, has_bias: bool = False, relu: bool = False) -> list[LoopPart]:
        """Return the loops of the input gradient, one part per class of pixels."""
        from cnncli.kernels.convolution.loops import LoopNest

        window, taps = self.window, self._taps
        channels, filters = self._of_group
        parts = []
        for v in _classes(dx.shape[1], window, 0):
            for h in _classes(dx.shape[2], window, 1):
                nest = LoopNest(
                    rows=channels, columns=h.count, outer=v.count, inner=1,
                    a_row=taps,
                    b_column=dy.lanes, b_outer=dy.row_step, b_inner=0,
                    c_row=dx.channel_step, c_column=window.stride[1] * dx.lanes,
                    c_outer=window.stride[0] * dx.row_step, c_inner=0,
                    lengths=(filters, v.taps, h.taps),
                    a_steps=(channels * taps, v.tap_step * window.kernel[1], h.tap_step),
                    b_steps=(dy.channel_step, -v.back * dy.row_step, -h.back * dy.lanes),
                    bias_row=int(has_bias), relu=int(relu),
                    reach=dy.shape[1], first_row=v.start, row_step=1, tap_step=-v.back,
                    groups=self.groups, a_group=filters * channels * taps, b_group=filters * dy.channel_step,
                    c_group=channels * dx.channel_step, bias_group=channels * int(has_bias),
                )  # fmt: skip
                tap = v.tap * window.kernel[1] + h.tap
                parts.append(LoopPart(tap, dy.pixel(0, v.start, h.start), dx.pixel(0, v.first, h.first), nest))
        return parts

    def gradient_halo(self, x: Shape, out: Shape) -> Pads:
        """Return the zeros around dy that `input_gradient` reads: top, bottom, left, right."""
        halo: list[int] = []
        for axis in (0, 1):
            low = high = 0
            for part in _classes(x[axis + 1], self.window, axis):
                if part.taps:
                    low = min(low, part.start - (part.taps - 1) * part.back)
                    high = max(high, part.start + part.count - 1)
            halo += [-low, max(0, high - (out[axis + 1] - 1))]
        return halo[0], halo[1], halo[2], halo[3]


@dataclass(frozen=True)
class _Axis:
    """One class of input positions along one axis, and the taps that reach it.

    Input first, first + stride, ... (`count` of them) sees tap, tap + tap_step, ... (`taps` of them); the first
    position meets its first tap at output `start`, each further tap lies `back` outputs before.
    """

    first: int
    count: int
    tap: int
    tap_step: int
    taps: int
    start: int
    back: int


def _classes(length: int, window: Window, axis: int) -> Iterator[_Axis]:
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    before = window.padding[2 * axis]
    step = stride // gcd(stride, dilation)
    for rest in range(stride):
        first = (rest - before) % stride
        count = -(-(length - first) // stride)
        hits = [k for k in range(kernel) if (k * dilation - rest) % stride == 0]
        if count <= 0:
            continue
        tap = hits[0] if hits else 0
        start = (first + before - rest) // stride - (tap * dilation - rest) // stride
        yield _Axis(first, count, tap, step, len(hits), start, step * dilation // stride)
