"""Flatten: (C, H, W) becomes one vector in C order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from cnncli.layers.base import Layer
from cnncli.shapes import Shape


@dataclass(frozen=True)
class Flatten(Layer, kind="flatten"):
    """The values of all channels one after the other."""

    summary: ClassVar[str] = "all values as one vector"

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C*H*W,)."""
        return (prod(xs[0]),)
