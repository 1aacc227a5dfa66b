"""Normalisation of each image by itself: over groups of channels, or over all of its values.

Wu and He 2018, arXiv:1803.08494 (groups); Ba, Kiros and Hinton 2016, arXiv:1607.06450 (layers).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.layers.recording import Table
from cnncli.shapes import Shape

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value

EPS = Option("eps", "number", 1e-5, 0, 1, open_low=True, help="added to the variance")


@dataclass(frozen=True)
class ImageNorm(Layer, ABC):
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` with the mean and variance of each image's values.

    Nothing depends on the other images of a batch: training and prediction are the same arithmetic.
    """

    eps: float = 1e-5

    @abstractmethod
    def channel_groups(self, x: Shape) -> int:
        """Return into how many groups of adjacent channels an image is divided."""

    @abstractmethod
    def affine(self, x: Shape) -> Shape:
        """Return the shape of weight and bias: their axes are the first ones of `x`."""

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight and bias."""
        shape = self.affine(xs[0])
        return {"weight": Param(shape, "ones", decays=False), "bias": Param(shape, "zeros", decays=False)}

    def params_formula(self, *xs: Shape) -> str:
        """Return ``2*C``, or ``2*C*H*W``."""
        return "*".join(map(str, (2, *self.affine(xs[0]))))

    def _steps(self, x: Shape) -> tuple[int, int, int]:
        """Return how far apart the parameters of two channels, rows and columns are."""
        if len(self.affine(x)) == 1:
            return 1, 0, 0
        return prod(x[1:]), x[2], 1

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y and keeps the statistics of each image."""
        (x,) = xs
        shape, y, groups = x.shape, g.value(x.shape), self.channel_groups(x.shape)
        statistics = Table(2 * groups * _lanes(), f"{g.label} statistics", "block")

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            source, sizes = b.reads[0], {"groups": groups, "statistics": b.tables[statistics]}
            operands = {"x": source, "y": b.writes[0], **b.weights, "steps": self._steps(shape)}
            return [
                Op("norms.groupnorm.moments", {"x": source, **sizes, "eps": self.eps}),
                Op("norms.groupnorm.normalise", operands | sizes | {"relu": int("relu" in b.absorbed)}),
            ]

        g.step("forward", [x], [y], emit, tables_written=[statistics], in_place=[0], epilogues=["relu"])
        g.notes[self, g.node] = statistics
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the gradients of weight and bias and, where wanted, of x."""
        (x,) = xs
        statistics = g.notes[self, g.node]
        size = prod(self.affine(x.shape))
        dweight, dbias = g.parameter_gradient("weight", size), g.parameter_gradient("bias", size)
        sizes = {"groups": self.channel_groups(x.shape), "steps": self._steps(x.shape)}

        def emit_parameters(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[0], "dy": b.reads[1], "statistics": b.tables[statistics]}
            gradients = {"dweight": b.partials[dweight], "dbias": b.partials[dbias]}
            return [Op("norms.groupnorm.parameter_gradients", maps | gradients | sizes)]

        g.step("dweight", [x, dy], [], emit_parameters, tables_read=[statistics], tables_written=[dweight, dbias])
        if not g.wants_gradient(x):
            return (None,)
        dx = g.value(x.shape)

        def emit(b: Bound) -> list[Op]:
            from cnncli.compute.program import Op

            maps = {"x": b.reads[1], "dy": b.reads[0], "dx": b.writes[0], "statistics": b.tables[statistics]}
            return [Op("norms.groupnorm.input_gradient", maps | sizes | {"weight": b.weights["weight"]})]

        g.step("dx", [dy, x], [dx], emit, tables_read=[statistics], in_place=[0])
        return (dx,)


def _lanes() -> int:
    from cnncli.compute.host import LANES

    return LANES


@dataclass(frozen=True)
class GroupNorm(ImageNorm, kind="groupnorm", can_run=True):
    """Groups of C / groups adjacent channels have mean 0 and variance 1; one weight and bias per channel.

    The arithmetic and parameters of ``torch.nn.GroupNorm(groups, C)``.
    """

    main: ClassVar[str] = "groups"
    summary: ClassVar[str] = "per image and group of channels: mean 0, variance 1, then a scale and shift per channel"
    options: ClassVar[tuple[Option, ...]] = (
        Option("groups", "int", low=1, help="groups of adjacent channels; `in` is one per channel"),
        EPS,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"groups": 3}),
        Example({"groups": 2, "eps": 1e-3}, ((6, 5, 4),)),
        Example({"groups": 3}, ((9,),)),
    )

    groups: int = 1

    def out_shape(self, *xs: Shape) -> Shape:
        """Return the shape of the input."""
        if xs[0][0] % self.groups:
            raise ShapeError(
                f"groups={self.groups} does not divide {xs[0][0]:,} channels", hint="take a divisor of the channels"
            )
        return xs[0]

    def channel_groups(self, x: Shape) -> int:
        """Return `groups`."""
        del x
        return self.groups

    def affine(self, x: Shape) -> Shape:
        """Return (C,)."""
        return x[:1]

    def label(self) -> str:
        """Return ``g=8``."""
        return f"g={self.groups}"


@dataclass(frozen=True)
class LayerNorm(ImageNorm, kind="layernorm", can_run=True):
    """All C*H*W values of an image have mean 0 and variance 1; one weight and bias for every value.

    The arithmetic and parameters of ``torch.nn.LayerNorm((C, H, W))``, or ``torch.nn.LayerNorm(n)`` for a vector. A
    weight and bias per channel over the same statistics are those of ``groupnorm: 1``.
    """

    summary: ClassVar[str] = "per image: mean 0, variance 1, then a scale and shift of every value"
    options: ClassVar[tuple[Option, ...]] = (EPS,)
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({"eps": 1e-3}, ((9,),)))

    def channel_groups(self, x: Shape) -> int:
        """Return 1: all channels together."""
        del x
        return 1

    def affine(self, x: Shape) -> Shape:
        """Return the shape of the input."""
        return x
