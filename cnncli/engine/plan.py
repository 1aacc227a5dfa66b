"""A network becomes ops: which tensor lies where, what is done in place, what waits for the whole batch.

All layers are run for one block of images before the next block is touched, so what a layer writes is still in the
cache when the next one reads it. Tensors that nothing reads afterwards exist once a thread, not once an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cnncli.engine.memory import Memory, Tensor
from cnncli.errors import InvalidInputError
from cnncli.kernels.host import LANES
from cnncli.kernels.program import Chain, Op, Place
from cnncli.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Softmax
from cnncli.layers.buffers import NO_PADS, Buffers, View
from cnncli.model import Model, Node
from cnncli.shapes import Pads

#: weight gradients are kept apart for each block of images up to so many numbers in all
_SPREAD_LIMIT = 2**20
_ADD_NUMBERS = 1024  # numbers of a gradient that one task adds up


@dataclass
class Weights:
    """The flat vector of parameters and its gradient, padded to whole vectors of LANES numbers."""

    model: Model
    memory: Memory
    values: np.ndarray = field(init=False)
    gradients: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.padded = -(-self.model.parameter_count // LANES) * LANES
        self.values = self.memory.zeros(self.padded)
        self.gradients = self.memory.zeros(self.padded)
        self._offsets = {slot.name: slot.offset for slot in self.model.slots}

    def places(self, node: Node, array: np.ndarray) -> dict[str, Place]:
        """Return where the parameters of a node lie in `array`."""
        trainable = (name for name, param in node.params.items() if param.trainable)
        return {name: Place(array, self._offsets[f"{node.name}/{name}"]) for name in trainable}


@dataclass
class Pass:
    """Ops for each block of images, and chains that follow when all blocks are done."""

    logits: View
    now: list[Op] = field(default_factory=list)
    after: list[Chain] = field(default_factory=list)


class Plan:
    """The tensors of a sequential network for a batch size, and its ops.

    Parameters
    ----------
    model : Model
    weights : Weights
    memory : Memory
    key : Place
        64 bits that change with every step.
    is_training : bool
        With gradients and dropout, or without.

    Raises
    ------
    InvalidInputError
        If the network is not a chain of layers that can be run, or does not end in a vector of classes.
    """

    def __init__(self, model: Model, weights: Weights, memory: Memory, key: Place, *, is_training: bool) -> None:
        self.weights, self.memory, self.key, self.is_training = weights, memory, key, is_training
        self.nodes = _chain(model)
        self.input = Tensor(model.input_shape)
        self._zero = Place(memory.zeros(LANES))
        self._first_learner = next((i for i, node in enumerate(self.nodes) if node.params), len(self.nodes))
        self._values = self._place_values()
        self._gradients = self._place_gradients() if is_training else {}
        for tensor in (*self._values, *self._gradients.values()):
            tensor.allocate(memory)

    def forward(self) -> Pass:
        """Return the ops from the input to the logits."""
        result = Pass(self._values[-1].view(self.nodes[-1].out_shape))
        for i, node in enumerate(self.nodes):
            if not self._is_done_by_neighbour(i):
                result.now += node.layer.forward(self._buffers(i, {}))
        return result

    def backward(self) -> Pass:
        """Return the ops from the gradient of the logits to the gradient of every parameter."""
        result = Pass(self._gradients[len(self.nodes)].view(self.nodes[-1].out_shape))
        for i in reversed(range(self._first_learner, len(self.nodes))):
            node = self.nodes[i]
            if isinstance(node.layer, ReLU) and self._pool_rectifies(i + 1):
                continue
            targets = self.weights.places(node, self.weights.gradients)
            if self._spreads(node):
                targets = {name: self._parts(node, name, target, result) for name, target in targets.items()}
            work = node.layer.backward(self._buffers(i, targets))
            result.now += work.now
            result.after += [Chain((op,), tasks) for op, tasks in work.after]
        return result

    def _place_values(self) -> list[Tensor]:
        tensors = [self.input]
        for i, node in enumerate(self.nodes):
            source = tensors[-1]
            source.wish_halo(node.layer.halo())
            if isinstance(node.layer, Dropout):
                # a max pool looks for its winners again on the way back: its output must not change
                in_place = not self.is_training or (
                    i > 0 and isinstance(self.nodes[i - 1].layer, ReLU | Dense | Conv2D)
                )
            else:
                in_place = isinstance(node.layer, ReLU | Flatten)
            tensors.append(source if in_place else Tensor(node.out_shape))
            if self.is_training and node.params and not self._spreads(node):
                source.is_kept |= node.layer.keeps_input(*node.in_shapes, lanes=LANES)
        return tensors

    def _place_gradients(self) -> dict[int, Tensor]:
        """Return the tensor of the gradient with respect to the output of node i - 1, for each i that has one."""
        last = len(self.nodes)
        tensors = {last: Tensor(self.nodes[-1].out_shape)}
        for i in reversed(range(self._first_learner, last)):
            node, own = self.nodes[i], tensors[i + 1]
            if node.params and not self._spreads(node):
                own.is_kept = True
            if i == self._first_learner:
                break
            own.wish_halo(node.layer.gradient_halo(*node.in_shapes))
            if isinstance(node.layer, ReLU | Dropout) or (
                isinstance(node.layer, Flatten) and self._gradient_halo(i) == NO_PADS
            ):
                tensors[i] = own
            elif isinstance(node.layer, MaxPool2D) and node.layer.is_disjoint and self._is_free(i):
                tensors[i] = self._values[i]
            else:
                tensors[i] = Tensor(node.in_shapes[0])
        return tensors

    def _is_free(self, i: int) -> bool:
        """Return whether the input of the pool at i may be overwritten by its gradient."""
        layer = self.nodes[i - 1].layer
        return self._pool_rectifies(i) or isinstance(layer, Conv2D)

    def _gradient_halo(self, i: int) -> Pads:
        """Return the halo that the node before tensor i will wish for its gradient."""
        node = self.nodes[i - 1]
        if isinstance(node.layer, ReLU | Dropout):
            return self._gradient_halo(i - 1)
        return node.layer.gradient_halo(*node.in_shapes) if i - 1 > self._first_learner else NO_PADS

    def _pool_rectifies(self, i: int) -> bool:
        """Return whether node i is a max pool that takes over the ReLU before it on the way back."""
        if not 0 < i < len(self.nodes):
            return False
        pool, before = self.nodes[i].layer, self.nodes[i - 1].layer
        return (
            isinstance(pool, MaxPool2D) and pool.is_disjoint and isinstance(before, ReLU) and self._relu_is_fused(i - 1)
        )

    def _relu_is_fused(self, i: int) -> bool:
        """Return whether node i is a ReLU that the layer before it does as it writes."""
        return i > 0 and isinstance(self.nodes[i].layer, ReLU) and isinstance(self.nodes[i - 1].layer, Conv2D | Dense)

    def _is_done_by_neighbour(self, i: int) -> bool:
        layer = self.nodes[i].layer
        return self._relu_is_fused(i) or (isinstance(layer, Dropout) and not self.is_training)

    def _spreads(self, node: Node) -> bool:
        weights = sum(param.size for param in node.params.values())
        return isinstance(node.layer, Conv2D) and weights * self.memory.blocks <= _SPREAD_LIMIT

    def _parts(self, node: Node, name: str, target: Place, result: Pass) -> Place:
        """Return room for a gradient a block, and let the sum of them follow the blocks."""
        size = node.params[name].size
        parts = self.memory.each_block(size)
        op = Op("reduction.add_parts", (Place(parts.array), target, size, self.memory.blocks, size, _ADD_NUMBERS))
        result.after.append(Chain((op,), -(-size // _ADD_NUMBERS)))
        return parts

    def _buffers(self, i: int, gradients: dict[str, Place]) -> Buffers:
        node = self.nodes[i]
        dy, dx = self._gradients.get(i + 1), self._gradients.get(i)
        return Buffers(
            x=self._values[i].view(node.in_shapes[0]),
            y=self._values[i + 1].view(node.out_shape),
            dx=dx.view(node.in_shapes[0]) if dx else None,
            dy=dy.view(node.out_shape) if dy else None,
            weights=self.weights.places(node, self.weights.values),
            gradients=gradients,
            zero=self._zero,
            blocks=self.memory.blocks,
            rectify=self._relu_is_fused(i + 1) if i + 1 < len(self.nodes) and node.params else self._pool_rectifies(i),
            spread=self._spreads(node),
            key=self.key,
            allocate=self.memory.each_block,
        )


def _chain(model: Model) -> tuple[Node, ...]:
    """Return the nodes without a softmax at the end, which is fused with the loss."""
    for i, node in enumerate(model.nodes):
        if node.inputs != (i - 1,):
            raise InvalidInputError(
                f"{node.name} does not follow the layer before it; networks with branches cannot be run yet",
                where=node.where,
                hint="use a chain of layers",
            )
    nodes = model.nodes[:-1] if model.nodes and isinstance(model.nodes[-1].layer, Softmax) else model.nodes
    if not nodes or len(nodes[-1].out_shape) != 1 or nodes[-1].out_shape[0] < 2:
        raise InvalidInputError(
            f"{model.name} does not end in a vector of 2 or more classes",
            where=model.nodes[-1].where if model.nodes else "",
            hint="end it with flatten, dense: classes, softmax",
        )
    return nodes
