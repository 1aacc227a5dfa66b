"""Layers that join branches: addition (residual networks), product (gates), concatenation along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer
from cnncli.layers.recording import lanewise
from cnncli.shapes import Shape, format_hwc

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Add(Layer, kind="add", can_run=True):
    """The sum of inputs of one shape. He et al. 2015, arXiv:1512.03385."""

    summary: ClassVar[str] = "sum of branches of the same shape"
    inputs: ClassVar[int] = 0
    examples: ClassVar[tuple[Example, ...]] = (Example({}, ((3, 4, 5), (3, 4, 5))),)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return the common shape."""
        if len(set(xs)) != 1:
            raise ShapeError(
                f"cannot add {' and '.join(map(format_hwc, dict.fromkeys(xs)))}",
                hint="give all branches the same height, width and channels",
            )
        return xs[0]

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the sums, two inputs at a time in their order."""
        y = xs[0]
        for x in xs[1:]:
            y = g.sum(y, x, "forward")
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Return dy for every input."""
        return tuple(dy for _ in xs)


@dataclass(frozen=True)
class Multiply(Layer, kind="multiply", can_run=True):
    """The product of inputs; a vector or 1x1xC multiplies every pixel. Hu et al. 2018, arXiv:1709.01507, equation 4."""

    summary: ClassVar[str] = "product of branches; a vector or 1x1xC multiplies every pixel"
    inputs: ClassVar[int] = 0
    examples: ClassVar[tuple[Example, ...]] = (
        Example({}, ((3, 4, 5), (3, 4, 5))),
        Example({}, ((3, 4, 5), (3,))),
        Example({}, ((3, 1, 1), (3,), (3, 4, 5))),
    )

    def out_shape(self, *xs: Shape) -> Shape:
        """Return the largest of the shapes."""
        largest = max(xs, key=lambda x: (prod(x), len(x)))
        if any(x != largest and x not in (largest[:1], (largest[0], 1, 1)) for x in xs):
            raise ShapeError(
                f"cannot multiply {' and '.join(map(format_hwc, dict.fromkeys(xs)))}",
                hint=f"give {format_hwc(largest)}, 1x1x{largest[0]} or a vector of {largest[0]}",
            )
        return largest

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the products, two inputs at a time in their order."""
        y = xs[0]
        before = []
        for x in xs[1:]:
            before.append(y)
            y = _product(g, y, x, self.out_shape(y.shape, x.shape), "forward")
        g.notes[self, g.node] = before
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record for each input dy times the other ones, summed over the pixels where it has one pixel only."""
        gradients: list[Value | None] = []
        for x, before in zip(reversed(xs[1:]), reversed(g.notes[self, g.node]), strict=True):
            gradients.append(_product(g, dy, before, x.shape, "dx") if g.wants_gradient(x) else None)
            dy = _product(g, dy, x, before.shape, "dx")
        return (dy if g.wants_gradient(xs[0]) else None, *reversed(gradients))


def _product(g: Graph, a: Value, b: Value, shape: Shape, name: str) -> Value:
    """Return a * b; where `shape` has one pixel and they have more, the sum over the pixels."""
    y = g.value(shape)
    is_sum = y.image[1:] == (1, 1) != a.image[1:]

    def emit(bound: Bound) -> list[Op]:
        from cnncli.compute.program import Op

        kernel = "broadcast.product_sum" if is_sum else "broadcast.product"
        return [Op(kernel, {"a": bound.reads[0], "b": bound.reads[1], "y": bound.writes[0]})]

    g.step(name, [a, b], [y], emit, in_place=[] if is_sum else [0, 1], few=lanewise)
    return y


@dataclass(frozen=True)
class Concat(Layer, kind="concat", can_run=True):
    """The channels of all inputs one after the other. Szegedy et al. 2014, arXiv:1409.4842."""

    summary: ClassVar[str] = "channels of all branches one after the other"
    inputs: ClassVar[int] = 0
    examples: ClassVar[tuple[Example, ...]] = (
        Example({}, ((3, 4, 5), (1, 4, 5))),
        Example({}, ((3,), (4,))),
    )

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (sum of C, H, W)."""
        if len({x[1:] for x in xs}) != 1:
            raise ShapeError(
                f"cannot concatenate {' and '.join(map(format_hwc, dict.fromkeys(xs)))}",
                hint="give all branches the same height and width",
            )
        return sum(x[0] for x in xs), *xs[0][1:]

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record a copy of each input; an input that can be made in its place needs none."""
        y = g.value(self.out_shape(*(x.shape for x in xs)))
        channel = 0

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            return [Op("elementwise.copy", {"x": b.reads[0], "y": b.writes[0]})]

        for x in xs:
            g.step("copy", [x], [g.part(y, channel, x.shape)], emit, is_copy=True, few=lanewise)
            channel += x.shape[0]
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Return the channels of dy that belong to each input."""
        firsts = [sum(x.shape[0] for x in xs[:i]) for i in range(len(xs))]
        return tuple(g.part(dy, first, x.shape) for first, x in zip(firsts, xs, strict=True))
