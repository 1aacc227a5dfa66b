"""Upsampling by repetition of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Example, Layer, Option, pair_text, require_image
from cnncli.shapes import Pair, Shape


@dataclass(frozen=True)
class Upsample2D(Layer, kind="upsample"):
    """Every pixel becomes `factor` rows and columns (nearest neighbour)."""

    main: ClassVar[str] = "factor"
    summary: ClassVar[str] = "repeats every row and column"
    options: ClassVar[tuple[Option, ...]] = (
        Option("factor", "pair", (2, 2), 1, 64, help="repetitions, one number or [rows, columns]"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"factor": (2, 3)}),)

    factor: Pair = (2, 2)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, H * rows, W * columns)."""
        require_image("upsample", xs[0])
        return xs[0][0], xs[0][1] * self.factor[0], xs[0][2] * self.factor[1]

    def label(self) -> str:
        """Return ``x2``."""
        return f"x{pair_text(self.factor)}"
