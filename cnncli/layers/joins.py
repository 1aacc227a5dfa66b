"""Layers that join branches: addition (residual networks) and concatenation along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import Example, Layer
from cnncli.shapes import Shape, format_hwc


@dataclass(frozen=True)
class Add(Layer, kind="add"):
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


@dataclass(frozen=True)
class Concat(Layer, kind="concat"):
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
