"""Padding as a layer of its own: zeros around the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cnncli.layers.base import MAX_PADDING, Example, Layer, Option, Window, pads_text, require_image
from cnncli.shapes import Pads, Shape


@dataclass(frozen=True)
class Pad2D(Layer, kind="pad"):
    """Zeros on the four sides."""

    main: ClassVar[str] = "padding"
    summary: ClassVar[str] = "zeros around the image"
    options: ClassVar[tuple[Option, ...]] = (
        Option("padding", "pads", low=0, high=MAX_PADDING, help="a number or [top, bottom, left, right]"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"padding": (1, 0, 2, 1)}),)

    padding: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px]

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the layer; the words `valid`, `same` and `full` have no meaning without a kernel."""
        del x
        padding = options["padding"]
        return cls((0, 0, 0, 0) if isinstance(padding, str) else padding)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, H + top + bottom, W + left + right)."""
        require_image("pad", xs[0])
        channels, height, width = xs[0]
        return channels, height + sum(self.padding[:2]), width + sum(self.padding[2:])

    def window(self) -> Window:
        """Return a window of one pixel over the padded image."""
        return Window(padding=self.padding)

    def label(self) -> str:
        """Return ``p=0/1/0/1``."""
        return f"p={pads_text(self.padding)}"
