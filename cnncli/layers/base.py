"""What every layer answers: shape, parameters, multiply-accumulates, window; and what its options are.

A layer kind is one frozen dataclass in one file. Its `options` are data, so that the reader of architecture
files, the command line, the JSON Schema and the error messages speak of the same names, defaults and ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from cnncli.errors import InvalidInputError, ShapeError
from cnncli.layers.buffers import NO_PADS, Backward, Buffers
from cnncli.shapes import Pads, Pair, Shape

if TYPE_CHECKING:
    from cnncli.kernels.program import Op

OptionType: TypeAlias = Literal["int", "pair", "pads", "number", "bool", "choice", "init", "activation"]

_RUNS = "use conv, maxpool, avgpool, flatten, dense, relu, dropout and a softmax at the end"
REQUIRED: Any = object()  # the default of an option that has none

MAX_FILTERS = 1_000_000
MAX_KERNEL = 255
MAX_PADDING = 4096


@dataclass(frozen=True)
class Param:
    """One parameter array of a layer.

    Parameters
    ----------
    shape : tuple of int
        Convolutions ``(F, C/groups, KH, KW)``, dense ``(units, features)``, per-channel values ``(C,)``.
    init : str
        Rule of the first values, as `cnncli.layers.initialisers` reads it.
    fan_in, fan_out : int
        Values that flow into and out of one weight's neuron.
    trainable : bool
        False for the running mean and variance of a batch normalisation.
    """

    shape: Shape
    init: str = "zeros"
    fan_in: int = 1
    fan_out: int = 1
    trainable: bool = True

    @property
    def size(self) -> int:
        """Return the number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Window:
    """The sliding window of a layer in pixels: one step of the receptive-field recurrence.

    `padding` is top, bottom, left, right; `ceil` says that the output length is rounded up.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    ceil: bool = False


@dataclass(frozen=True)
class Option:
    """One option of a layer kind as a user writes it.

    `low` and `high` bound every number; with `open_high`, `high` itself is refused (a dropout of 1).
    """

    name: str
    type: OptionType
    default: Any = REQUIRED
    low: float = 0
    high: float = MAX_FILTERS
    choices: tuple[str, ...] = ()
    help: str = ""
    open_high: bool = False
    open_low: bool = False


@dataclass(frozen=True)
class Example:
    """Options and an input shape on which tests try a layer."""

    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: tuple[Shape, ...] = ((3, 8, 9),)


KINDS: dict[str, type[Layer]] = {}


@dataclass(frozen=True)
class Layer:
    """A layer without a rule of its own: shape unchanged, no parameters, no work, a window of one pixel."""

    kind: ClassVar[str] = ""
    main: ClassVar[str] = ""  # the option that a bare value stands for: `conv: 8`
    summary: ClassVar[str] = ""
    options: ClassVar[tuple[Option, ...]] = ()
    inputs: ClassVar[int] = 1  # how many inputs it takes; 0 says any number
    is_activation: ClassVar[bool] = False
    examples: ClassVar[tuple[Example, ...]] = (Example(),)

    def __init_subclass__(cls, kind: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if kind:
            cls.kind = kind
            KINDS[kind] = cls

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the layer for checked `options` on an input of shape `x` (``same`` becomes numbers here)."""
        del x
        return cls(**options)

    def out_shape(self, *xs: Shape) -> Shape:
        """Return the output shape for the input shapes; raise `ShapeError` where they do not fit."""
        return xs[0]

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return the parameter arrays by name."""
        del xs
        return {}

    def macs(self, *xs: Shape) -> int:
        """Return the multiply-accumulates for one image; adding a bias is not one."""
        del xs
        return 0

    def window(self) -> Window:
        """Return the sliding window."""
        return Window()

    def halo(self) -> Pads:
        """Return the zeros around the input that `forward` reads: top, bottom, left, right [px]."""
        return NO_PADS

    def keeps_input(self, *xs: Shape, lanes: int) -> bool:
        """Return whether a weight gradient over the whole batch reads the input again after all blocks are done."""
        del xs, lanes
        return bool(self.params)

    def gradient_halo(self, *xs: Shape) -> Pads:
        """Return the zeros around the output's gradient that `backward` reads."""
        del xs
        return NO_PADS

    def forward(self, b: Buffers) -> tuple[Op, ...]:
        """Return the ops that fill `b.y` from `b.x`."""
        del b
        raise InvalidInputError(f"layer kind {self.kind} has shapes and counts, but cannot be run yet", hint=_RUNS)

    def backward(self, b: Buffers) -> Backward:
        """Return the ops that fill `b.dx` and `b.gradients` from `b.dy`."""
        del b
        raise InvalidInputError(f"layer kind {self.kind} has shapes and counts, but cannot be trained yet", hint=_RUNS)

    def params_formula(self, *xs: Shape) -> str:
        """Return the parameter count with its numbers, as in ``5*5*3*8 + 8``; empty where there are none."""
        del xs
        return ""

    def label(self) -> str:
        """Return the hyper-parameters in the lecture's letters, as in ``f=5, s=1, n_c=8``."""
        return ""


def require_image(name: str, x: Shape) -> None:
    """Raise `ShapeError` unless `x` has rows, columns and channels."""
    if len(x) != 3:
        raise ShapeError(
            f"{name} needs height x width x channels, its input is a vector of {x[0]:,} values",
            hint="put it before flatten, dense or global pooling",
        )


def pair_text(pair: Pair) -> str:
    """Return ``5`` for (5, 5) and ``5x3`` for (5, 3).

    Examples
    --------
    >>> pair_text((5, 3))
    '5x3'
    """
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def pads_text(pads: Pads) -> str:
    """Return ``1`` for four equal sides and ``0/1/0/1`` (top/bottom/left/right) otherwise."""
    return str(pads[0]) if len(set(pads)) == 1 else "/".join(map(str, pads))
