"""Global pooling: one value per channel, whatever the image size. Lin et al. 2013, arXiv:1312.4400."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Layer, require_image
from cnncli.shapes import Shape


@dataclass(frozen=True)
class GlobalPool2D(Layer):
    """All pixels of a channel become one value."""

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C,)."""
        require_image("global pooling", xs[0])
        return xs[0][:1]


@dataclass(frozen=True)
class GlobalAvgPool2D(GlobalPool2D, kind="globalavgpool"):
    """The mean of each channel."""

    summary: ClassVar[str] = "mean of each channel; the output is a vector"


@dataclass(frozen=True)
class GlobalMaxPool2D(GlobalPool2D, kind="globalmaxpool"):
    """The largest value of each channel."""

    summary: ClassVar[str] = "largest value of each channel; the output is a vector"
