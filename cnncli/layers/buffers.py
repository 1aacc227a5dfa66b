"""What a layer's arithmetic is given: where its inputs, outputs, parameters and gradients lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnncli.shapes import Pads, Shape

if TYPE_CHECKING:
    from cnncli.kernels.program import Op, Place

NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class View:
    """Feature maps of a block of images, (C, H, W, lanes); a vector of n values is (n, 1, 1, lanes).

    Parameters
    ----------
    place : Place
        Of channel 0, row 0, column 0; around it lies a halo of zeros as wide as the neighbouring layers asked for.
    shape : (C, H, W)
    channel_step, row_step, lanes : int
        Elements between channels, rows and columns.
    """

    place: Place
    shape: tuple[int, int, int]
    channel_step: int
    row_step: int
    lanes: int

    def at(self, channel: int, row: int, column: int) -> Place:
        """Return the place of one pixel, which may lie in the halo."""
        return self.place.shifted(channel * self.channel_step + row * self.row_step + column * self.lanes)

    @property
    def steps(self) -> tuple[int, int]:
        """Return channel and row step, as most kernels want them."""
        return self.channel_step, self.row_step

    @property
    def is_contiguous(self) -> bool:
        """Return whether the maps follow each other without a halo."""
        _, height, width = self.shape
        return self.row_step == width * self.lanes and self.channel_step == height * self.row_step


@dataclass(frozen=True)
class Buffers:
    """Everything one layer touches in one pass over a batch.

    Parameters
    ----------
    x, y, dx, dy : View
        Input, output and the gradients with respect to them; `dx` is None where nobody wants it.
    weights, gradients : mapping of str to Place
        By parameter name. Gradients of a weight that is `spread` have one part a block of images.
    zero : Place
        One zero, for a bias that is not there.
    blocks : int
        Blocks of images in the batch.
    rectify : bool
        The ReLU after this layer (or, for a pool, before it) is done here.
    spread : bool
        The gradient of the weights is written block by block; else by one pass over the whole batch at the end.
    key : Place
        64 bits that change with every step, for random numbers.
    allocate : callable
        ``allocate(elements)``: memory for each block of images.
    """

    x: View
    y: View
    dx: View | None
    dy: View | None
    weights: Mapping[str, Place]
    gradients: Mapping[str, Place]
    zero: Place
    blocks: int
    rectify: bool
    spread: bool
    key: Place
    allocate: Callable[[int], Place]


@dataclass(frozen=True)
class Backward:
    """The ops of a backward pass: those for each block of images, and those for the whole batch afterwards.

    `after` holds pairs of an op and the number of tasks it is shared out over.
    """

    now: tuple[Op, ...] = ()
    after: tuple[tuple[Op, int], ...] = ()


def whole_batch(place: Place) -> Place:
    """Return the place without its step from block to block: for an op that walks over the blocks itself."""
    return replace(place, task_step=0)


def as_image(shape: Shape) -> tuple[int, int, int]:
    """Return (n, 1, 1) for (n,) and the shape itself otherwise."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])
