"""A network whose shapes and parameters are known: nodes in execution order, and one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from cnncli.layers.base import Layer, Param
from cnncli.shapes import Shape

NETWORK_INPUT = -1  # the index that stands for the input of the network


@dataclass(frozen=True)
class Node:
    """One layer of the network with its inputs and shapes.

    Parameters
    ----------
    name : str
        Unique: ``conv1``, ``pool1``, ``fc1``, or the name given in the file.
    layer : Layer
        What it computes.
    inputs : tuple of int
        Indices of the nodes it reads; -1 is the input of the network.
    in_shapes, out_shape
        In ``(C, H, W)`` or ``(features,)``.
    params : dict
        Its parameters by name.
    where : str
        ``file:line:column`` of the entry it comes from.
    owner : int
        Index of the node whose ``bn:`` or ``activation:`` option made this one; its own index otherwise.
    scope : tuple of str
        The blocks it lies in, outermost first, each with its number: ``("bottleneck2",)``.
    """

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape
    params: dict[str, Param]
    where: str = ""
    owner: int = -1
    scope: tuple[str, ...] = ()

    @property
    def trainable(self) -> int:
        """Return the number of values that training changes."""
        return sum(param.size for param in self.params.values() if param.trainable)

    @property
    def non_trainable(self) -> int:
        """Return the number of values that no gradient reaches."""
        return sum(param.size for param in self.params.values() if not param.trainable)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates for one image."""
        return self.layer.macs(*self.in_shapes)


@dataclass(frozen=True)
class Slot:
    """Where one parameter array lies in a flat float32 vector; `offset` counts values."""

    name: str
    shape: Shape
    offset: int
    param: Param

    @property
    def size(self) -> int:
        """Return the number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Model:
    """A network from input to output.

    `text` is the architecture file it came from, complete: reading it again gives the same network. `repeats` maps
    the scope of each repeated block to the name of all its repetitions together.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    classes: int | None = None
    text: str = ""
    repeats: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def output_shape(self) -> Shape:
        """Return the shape of the last node's output."""
        return self.nodes[-1].out_shape if self.nodes else self.input_shape

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Return the slots of all trainable parameters, one after the other in the order of the nodes."""
        return tuple(_slots(self.nodes, trainable=True))

    @cached_property
    def state_slots(self) -> tuple[Slot, ...]:
        """Return the slots of all values that training updates without a gradient (running means and variances)."""
        return tuple(_slots(self.nodes, trainable=False))

    @property
    def parameter_count(self) -> int:
        """Return the number of trainable values, the length of the flat vector."""
        return sum(node.trainable for node in self.nodes)

    @property
    def non_trainable_count(self) -> int:
        """Return the number of values that no gradient reaches."""
        return sum(node.non_trainable for node in self.nodes)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates for one image."""
        return sum(node.macs for node in self.nodes)

    def shape_of(self, index: int) -> Shape:
        """Return the output shape of a node, or the input shape for -1."""
        return self.input_shape if index == NETWORK_INPUT else self.nodes[index].out_shape


def _slots(nodes: tuple[Node, ...], *, trainable: bool) -> Iterator[Slot]:
    offset = 0
    for node in nodes:
        for name, param in node.params.items():
            if param.trainable == trainable:
                yield Slot(f"{node.name}/{name}", param.shape, offset, param)
                offset += param.size
