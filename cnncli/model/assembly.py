"""Nodes put together one by one: unique names, shapes, limits, and errors that name the layer that does not fit."""

from __future__ import annotations

from math import prod

from cnncli.errors import InvalidInputError, ShapeError
from cnncli.language.items import fail
from cnncli.language.tree import Mark
from cnncli.layers.base import Layer
from cnncli.model.network import NETWORK_INPUT, Node
from cnncli.model.vocabulary import PREFIXES
from cnncli.shapes import Shape, format_hwc

MAX_LAYERS = 1_000
MAX_PARAMETERS = 1_000_000_000
MAX_VALUES = 2**40  # values of one activation


class LayerError(InvalidInputError):
    """A layer that does not fit or is written wrongly, with the network before it.

    Parameters
    ----------
    message, where, hint
        As for every `CnnError`.
    done : tuple of Node
        The nodes before it.
    input_shape : tuple of int
        What the network reads.
    is_misfit : bool
        Shapes do not fit; else it is written wrongly: an unknown key, a value out of range.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        done: tuple[Node, ...] = (),
        input_shape: Shape = (),
        is_misfit: bool = False,
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.done, self.input_shape, self.is_misfit = done, input_shape, is_misfit


class Assembly:
    """The nodes of a network so far."""

    def __init__(self, shape: Shape, max_parameters: int | None) -> None:
        self.shape = shape
        self.max_parameters = max_parameters
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        self.reserved: set[str] = set()  # names that stand in the file further down
        self.numbers: dict[str, int] = {}
        self.parameters = 0
        self.layers = 0

    def shape_of(self, index: int) -> Shape:
        """Return the output shape of a node, or the input shape for -1."""
        return self.shape if index == NETWORK_INPUT else self.nodes[index].out_shape

    def add(
        self,
        layer: Layer,
        inputs: tuple[int, ...],
        mark: Mark,
        scope: tuple[str, ...],
        name: str,
        what: str,
        owner: int | None = None,
    ) -> int:
        """Add a node; return its index."""
        shapes = tuple(self.shape_of(index) for index in inputs)
        if owner is None:
            self.layers += 1
            if self.layers > MAX_LAYERS:
                raise fail(mark, f"more than {MAX_LAYERS:,} layers", "repeat less")
        try:
            out = layer.out_shape(*shapes)
            _check_size(out)
            params = layer.params(*shapes)
        except ShapeError as error:
            raise self.failure(mark, name or what, error) from None
        self.parameters += sum(param.size for param in params.values())
        if self.max_parameters is not None and self.parameters > self.max_parameters:
            gib = self.parameters * 4 / 2**30
            raise fail(
                mark,
                f"{self.parameters:,} parameters need {gib:,.1f} GiB (with gradients and Adam {4 * gib:,.1f}), "
                f"the limit is {self.max_parameters:,}",
                "use fewer units or filters, or pool before flatten",
            )
        index = len(self.nodes)
        full = "/".join((*scope, name)) if name else self.numbered(PREFIXES.get(layer.kind, layer.kind))
        if full in self.taken:
            raise fail(mark, f"the name {full!r} is used twice", "choose another name")
        self.taken.add(full)
        self.nodes.append(
            Node(full, layer, inputs, shapes, out, params, str(mark), index if owner is None else owner, scope)
        )
        return index

    def numbered(self, prefix: str, scope: tuple[str, ...] = ()) -> str:
        """Return the next free name: ``conv1``, ``conv2``, ...; free inside `scope` as well."""
        while True:
            self.numbers[prefix] = self.numbers.get(prefix, 0) + 1
            name = f"{prefix}{self.numbers[prefix]}"
            if "/".join((*scope, name)) not in self.taken and name not in self.taken | self.reserved:
                return name

    def claim(self, label: str, scope: tuple[str, ...], mark: Mark) -> None:
        """Take the name of a block call, so that neither a layer nor another call can have it."""
        full = "/".join((*scope, label))
        if full in self.taken:
            raise fail(mark, f"the name {full!r} is used twice", "choose another name")
        self.taken.add(full)

    def failure(self, mark: Mark, what: str, error: ShapeError) -> ShapeError:
        """Return `error` with its line and column and the number of the layer."""
        return ShapeError(f"{self.number(what)}: {error.message}", where=str(mark), hint=error.hint)

    def number(self, what: str) -> str:
        """Return how a message calls the layer that comes next, counted as in a table: ``layer 4 (conv)``."""
        done = sum(node.owner == index for index, node in enumerate(self.nodes))
        return f"layer {done + 1} ({what})"


def _check_size(shape: Shape) -> None:
    size = prod(shape)
    if size > MAX_VALUES:
        raise ShapeError(f"its output {format_hwc(shape)} has {size:,} values", hint="make it smaller")
