"""The three passes of a convolution, each as sweeps of the register tile (kernels/contraction.py).

The input gradient is a convolution of dy with the weights read backwards; with a stride s, the input pixels fall into
s*s classes that see different taps, and each class is a sweep of its own (Dumoulin and Visin 2016, chapter 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

from cnncli.layers.buffers import Backward, Buffers, View, whole_batch
from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.kernels.program import Op
    from cnncli.layers.conv import Conv2D

#: tasks that a whole-batch weight gradient is shared out over, where there are so many rows
_PARTS = 16


def forward(layer: Conv2D, b: Buffers) -> tuple[Op, ...]:
    """Return the ops of y = x * weight + bias, one a group."""
    from cnncli.kernels.sweep import Sweep, contract

    taps = layer.kernel[0] * layer.kernel[1]
    channels, filters = b.x.shape[0] // layer.groups, layer.filters // layer.groups
    corner = b.x.at(0, -layer.padding[0], -layer.padding[2])
    sweep = Sweep(
        rows=filters, columns=b.y.shape[2], outer=b.y.shape[1], inner=1,
        a_row=channels * taps,
        b_column=layer.stride[1] * b.x.lanes, b_outer=layer.stride[0] * b.x.row_step, b_inner=0,
        c_row=b.y.channel_step, c_column=b.y.lanes, c_outer=b.y.row_step, c_inner=0,
        lengths=(channels, *layer.kernel),
        a_steps=(taps, layer.kernel[1], 1),
        b_steps=(b.x.channel_step, layer.dilation[0] * b.x.row_step, layer.dilation[1] * b.x.lanes),
        bias_row=int(layer.bias), rectify=int(b.rectify),
        reach=b.x.shape[1], first_row=-layer.padding[0], row_step=layer.stride[0], tap_step=layer.dilation[0],
    )  # fmt: skip
    return tuple(
        contract(
            b.weights["weight"].shifted(group * filters * channels * taps),
            corner.shifted(group * channels * b.x.channel_step),
            b.y.at(group * filters, 0, 0),
            b.weights["bias"].shifted(group * filters) if layer.bias else b.zero,
            sweep,
        )
        for group in range(layer.groups)
    )


def backward(layer: Conv2D, b: Buffers) -> Backward:
    """Return the ops of the gradients with respect to weight, bias and, if somebody wants it, the input."""
    if b.dy is None:
        return Backward()
    gradients = (*_weight_gradient(layer, b, b.dy), *_bias_gradient(layer, b, b.dy))
    inputs = tuple(_input_gradient(layer, b.dy, b.dx, b)) if b.dx is not None else ()
    if b.spread:
        return Backward(now=(*(op for op, _ in gradients), *inputs))
    return Backward(now=inputs, after=gradients)


def _weight_gradient(layer: Conv2D, b: Buffers, dy: View) -> Iterator[tuple[Op, int]]:
    from cnncli.kernels.sweep import Sweep, correlate

    (rows, columns), (vertical, horizontal) = layer.kernel, layer.dilation
    channels, filters = b.x.shape[0] // layer.groups, layer.filters // layer.groups
    parts = 1 if b.spread else max(1, min(_PARTS, filters // 8))
    place = (lambda p: p) if b.spread else whole_batch
    corner = place(b.x.at(0, -layer.padding[0], -layer.padding[2]))
    target = b.gradients["weight"]
    blocks = 1 if b.spread else b.blocks
    # one tap a row leaves no columns for the tile: take the channels instead
    by_channel = columns == 1
    sweep = Sweep(
        rows=filters, columns=channels if by_channel else columns, outer=1 if by_channel else channels, inner=rows,
        a_row=dy.channel_step,
        b_column=b.x.channel_step if by_channel else horizontal * b.x.lanes,
        b_outer=b.x.channel_step, b_inner=vertical * b.x.row_step,
        c_row=channels * rows * columns,
        c_column=rows * columns if by_channel else 1, c_outer=rows * columns, c_inner=columns,
        lengths=(blocks, *dy.shape[1:]),
        a_steps=(dy.place.task_step, dy.row_step, dy.lanes),
        b_steps=(b.x.place.task_step, layer.stride[0] * b.x.row_step, layer.stride[1] * b.x.lanes),
        parts=parts,
    )  # fmt: skip
    for group in range(layer.groups):
        yield (
            correlate(
                place(dy.at(group * filters, 0, 0)),
                corner.shifted(group * channels * b.x.channel_step),
                target.shifted(group * filters * channels * rows * columns),
                sweep,
            ),
            parts,
        )


def _bias_gradient(layer: Conv2D, b: Buffers, dy: View) -> Iterator[tuple[Op, int]]:
    from cnncli.kernels.program import Op

    if not layer.bias:
        return
    source = dy.place if b.spread else whole_batch(dy.place)
    blocks = 1 if b.spread else b.blocks
    sizes = layer.filters, blocks, *dy.shape[1:], dy.channel_step, dy.place.task_step, dy.row_step, dy.lanes
    yield Op("reduction.sum_lanes_of", (source, b.gradients["bias"], *sizes)), 1


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


def _classes(length: int, kernel: int, stride: int, before: int, dilation: int) -> Iterator[_Axis]:
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


def gradient_halo(layer: Conv2D, x: Shape) -> Pads:
    """Return the zeros around dy that the input gradient reads: top, bottom, left, right."""
    halo: list[int] = []
    out = layer.out_shape(x)
    for axis in (0, 1):
        arguments = x[axis + 1], layer.kernel[axis], layer.stride[axis], layer.padding[2 * axis], layer.dilation[axis]
        low = high = 0
        for part in _classes(*arguments):
            if part.taps:
                low = min(low, part.start - (part.taps - 1) * part.back)
                high = max(high, part.start + part.count - 1)
        halo += [-low, max(0, high - (out[axis + 1] - 1))]
    return halo[0], halo[1], halo[2], halo[3]


def _input_gradient(layer: Conv2D, dy: View, dx: View, b: Buffers) -> Iterator[Op]:
    from cnncli.kernels.sweep import Sweep, contract

    taps = layer.kernel[0] * layer.kernel[1]
    channels, filters = dx.shape[0] // layer.groups, layer.filters // layer.groups
    for group in range(layer.groups):
        weights = b.weights["weight"].shifted(group * filters * channels * taps)
        for v in _classes(dx.shape[1], layer.kernel[0], layer.stride[0], layer.padding[0], layer.dilation[0]):
            for h in _classes(dx.shape[2], layer.kernel[1], layer.stride[1], layer.padding[2], layer.dilation[1]):
                sweep = Sweep(
                    rows=channels, columns=h.count, outer=v.count, inner=1,
                    a_row=taps,
                    b_column=dy.lanes, b_outer=dy.row_step, b_inner=0,
                    c_row=dx.channel_step, c_column=layer.stride[1] * dx.lanes,
                    c_outer=layer.stride[0] * dx.row_step, c_inner=0,
                    lengths=(filters, v.taps, h.taps),
                    a_steps=(channels * taps, v.tap_step * layer.kernel[1], h.tap_step),
                    b_steps=(dy.channel_step, -v.back * dy.row_step, -h.back * dy.lanes),
                    reach=dy.shape[1], first_row=v.start, row_step=1, tap_step=-v.back,
                )  # fmt: skip
                yield contract(
                    weights.shifted(v.tap * layer.kernel[1] + h.tap),
                    dy.at(group * filters, v.start, h.start),
                    dx.at(group * channels, v.first, h.first),
                    b.zero,
                    sweep,
                )
