"""What maximum and average pooling share. A pool's stride is its size unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from cnncli.layers.base import MAX_KERNEL, Example, Layer, Option, Window, pads_text
from cnncli.layers.windows import PADDING, ROUND, check_pool_pads, slide, with_pads
from cnncli.shapes import Pads, Pair, Shape, pair_text

if TYPE_CHECKING:
    from cnncli.compute.arguments import Window as KernelWindow


@dataclass(frozen=True)
class Pool2D(Layer):
    """A window that makes one value of each channel's pixels under it; it has no parameters."""

    main: ClassVar[str] = "size"
    options: ClassVar[tuple[Option, ...]] = (
        Option("size", "pair", low=1, high=MAX_KERNEL, help="rows x columns of the window, one number or two"),
        Option("stride", "pair", None, 1, 65_535, help="step in pixels; by default the size"),
        PADDING,
        ROUND,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"size": (2, 2)}),
        Example({"size": (3, 2), "stride": (2, 1), "padding": (1, 0, 0, 1)}),
        Example({"size": (3, 3), "stride": (2, 2), "round": "ceil"}),
    )

    size: Pair  # KH, KW [px]
    stride: Pair  # SH, SW [px]
    padding: Pads = (0, 0, 0, 0)  # top, bottom, left, right [px]
    ceil: bool = False

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the pool with its stride and its padding in pixels."""
        size = options["size"]
        stride = options.get("stride") or size
        window = with_pads(Window(size, stride), options.get("padding", "valid"), x)
        return cls(size, stride, window.padding, options.get("round", "floor") == "ceil")

    def out_shape(self, *xs: Shape) -> Shape:
        """Return (C, OH, OW)."""
        (x,) = xs
        rows, columns = slide("a pool", self.window(), x)
        check_pool_pads(self.window(), x)
        return x[0], rows, columns

    def window(self) -> Window:
        """Return size, stride, padding and rounding."""
        return Window(self.size, self.stride, self.padding, (1, 1), self.ceil)

    def kernel_window(self) -> KernelWindow:
        """Return the window as kernels take it."""
        from cnncli.compute.arguments import Window as KernelWindow

        return KernelWindow(*self.size, *self.stride, self.padding[0], self.padding[2])

    def label(self) -> str:
        """Return ``f=2, s=2``; padding and rounding only where they are set."""
        parts = [f"f={pair_text(self.size)}", f"s={pair_text(self.stride)}"]
        if any(self.padding):
            parts.append(f"p={pads_text(self.padding)}")
        if self.ceil:
            parts.append("ceil")
        return ", ".join(parts)
