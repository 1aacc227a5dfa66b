"""Padding and cropping as layers of their own: zeros around the image, or pixels taken off its sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnncli.errors import ShapeError
from cnncli.layers.base import MAX_PADDING, Example, Layer, Option, Window, pads_text, require_image
from cnncli.layers.recording import lanewise
from cnncli.shapes import Pads, Shape, format_hwc

if TYPE_CHECKING:
    from cnncli.compute.program import Op
    from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Shift2D(Layer):
    """An image moved within a larger or smaller one. `before` pixels are added at the top and left of the input."""

    @property
    def before(self) -> tuple[int, int]:
        """Return the rows at the top and columns at the left, negative where they are taken off."""
        window = self.window()
        return window.padding[0], window.padding[2]

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the step that fills y."""
        y = g.value(self.out_shape(xs[0].shape))
        g.step("forward", xs, [y], lambda b: _moved(b, *self.before), few=lanewise)
        return y

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the step that moves the gradient back; pixels that were taken off get 0."""
        if not g.wants_gradient(xs[0]):
            return (None,)
        dx = g.value(xs[0].shape)
        g.step("dx", [dy], [dx], lambda b: _moved(b, *(-number for number in self.before)))
        return (dx,)


def _moved(b: Bound, top: int, left: int) -> list[Op]:
    from cnncli.compute.program import Op

    return [Op("spatial.shift", {"x": b.reads[0], "y": b.writes[0], "top": top, "left": left})]


@dataclass(frozen=True)
class Pad2D(Shift2D, kind="pad", can_run=True):
    """Zeros on the four sides."""

    main: ClassVar[str] = "padding"
    summary: ClassVar[str] = "zeros around the image"
    options: ClassVar[tuple[Option, ...]] = (
        Option("padding", "pads", low=0, high=MAX_PADDING, help="a number or [top, bottom, left, right]"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"padding": (1, 0, 2, 1)}),)

    padding: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px]

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


@dataclass(frozen=True)
class Crop2D(Shift2D, kind="crop", can_run=True):
    """The image without some rows and columns at its four sides."""

    main: ClassVar[str] = "pixels"
    summary: ClassVar[str] = "takes rows and columns off the sides"
    options: ClassVar[tuple[Option, ...]] = (
        Option("pixels", "pads", low=0, high=MAX_PADDING, help="a number or [top, bottom, left, right]"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"pixels": (1, 0, 2, 1)}),)

    pixels: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px]

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, H - top - bottom, W - left - right)."""
        require_image("crop", xs[0])
        channels, height, width = xs[0]
        rows, columns = height - sum(self.pixels[:2]), width - sum(self.pixels[2:])
        if rows < 1 or columns < 1:
            raise ShapeError(
                f"cropping {pads_text(self.pixels)} leaves nothing of its input {format_hwc(xs[0])}",
                hint=f"take off fewer than {height} rows and {width} columns",
            )
        return channels, rows, columns

    def window(self) -> Window:
        """Return a window of one pixel; the padding is negative."""
        top, bottom, left, right = self.pixels
        return Window(padding=(-top, -bottom, -left, -right))

    def label(self) -> str:
        """Return ``2``, or ``0/1/0/1`` (top/bottom/left/right)."""
        return pads_text(self.pixels)
