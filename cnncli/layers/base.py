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
from cnncli.shapes import Pads, Pair, Shape

if TYPE_CHECKING:
    from cnncli.layers.recording import Graph, Value

OptionType: TypeAlias = Literal["int", "pair", "pads", "number", "bool", "choice", "init", "activation", "shape"]

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
    decays : bool
        False for the parameters of a normalisation, which weight decay leaves alone as it does vectors.
    """

    shape: Shape
    init: str = "zeros"
    fan_in: int = 1
    fan_out: int = 1
    trainable: bool = True
    decays: bool = True

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
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()  # options that exclude each other; the first of one is needed
    inputs: ClassVar[int] = 1  # how many inputs it takes; 0 says any number
    is_activation: ClassVar[bool] = False
    loss: ClassVar[str] = ""  # the loss that computes this activation itself
    can_run: ClassVar[bool] = False  # forward and backward are those of this very kind
    examples: ClassVar[tuple[Example, ...]] = (Example(),)

    def __init_subclass__(cls, kind: str = "", can_run: bool = False, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.can_run = can_run  # said of each class: a layer that inherits another one's shapes has other arithmetic
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

    def forward(self, g: Graph, xs: tuple[Value, ...]) -> Value:
        """Record the steps that make the output from the inputs, and return it."""
        raise self._cannot_run()

    def backward(self, g: Graph, xs: tuple[Value, ...], y: Value, dy: Value) -> tuple[Value | None, ...]:
        """Record the steps that make the gradients of the parameters and, where wanted, of the inputs, from `dy`.

        Returns
        -------
        tuple of Value or None
            One per input: the gradient that flows into it through this layer.
        """
        raise self._cannot_run()

    def _cannot_run(self) -> InvalidInputError:
        kinds = ", ".join(sorted(kind for kind, layer in KINDS.items() if layer.can_run))
        return InvalidInputError(
            f"layer kind {self.kind} has shapes and counts, but cannot be run yet", hint=f"use {kinds}"
        )

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


def pads_text(pads: Pads) -> str:
    """Return ``1`` for four equal sides and ``0/1/0/1`` (top/bottom/left/right) otherwise."""
    return str(pads[0]) if len(set(pads)) == 1 else "/".join(map(str, pads))
