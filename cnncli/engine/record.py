"""A network becomes a list of steps: every layer records its own, forwards and then backwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnncli.errors import CnnError
from cnncli.layers.recording import Graph, Value
from cnncli.model import Model

#: numbers that the partial gradients of all groups of blocks may take together
PARTIAL_LIMIT = 2**24
_MOST_GROUPS = 64


@dataclass(frozen=True)
class Record:
    """The graph of a network, its input, the value before the loss's activation, multiply-accumulates of an image."""

    graph: Graph
    input: Value
    logits: Value
    macs: int


def record(
    model: Model,
    *,
    blocks: int,
    is_training: bool,
    loss: Callable[[Graph, Value, Value], None],
    fused_activation: bool,
) -> Record:
    """Record the steps of a network for one batch.

    Parameters
    ----------
    model : Model
    blocks : int
        Blocks of images in a batch.
    is_training : bool
        With the gradients of all parameters.
    loss : callable
        ``loss(graph, logits, dlogits)`` records the step that reads the logits and, when training, writes their
        gradient; without training it records the answers, and there is no third value.
    fused_activation : bool
        The last node is the activation that the loss computes itself.

    Raises
    ------
    InvalidInputError
        If a layer has no arithmetic; the message names it and its place.
    """
    graph = Graph(is_training, blocks, _groups(model, blocks) if is_training else blocks)
    start = Value(model.input_shape, "input")
    nodes = model.nodes[:-1] if fused_activation else model.nodes
    values = {-1: start}
    for i, node in enumerate(nodes):
        graph.node, graph.label = i, node.name
        try:
            values[i] = node.layer.forward(graph, tuple(values[j] for j in node.inputs))
        except CnnError as error:
            raise error.located(node.where or model.name) from None
    graph.node, graph.label = -1, "loss"
    logits = values[len(nodes) - 1]
    if not is_training:
        loss(graph, logits, logits)
        return Record(graph, start, logits, model.macs)
    graph.wanted = _wanted(model, values, len(nodes))
    gradient = graph.value(logits.shape)
    gradient.is_pinned = logits not in graph.wanted  # nothing to train: the step that nobody reads still has the loss
    loss(graph, logits, gradient)
    _record_backward(model, graph, values, len(nodes), gradient)
    graph.finish()
    return Record(graph, start, logits, model.macs)


def _record_backward(model: Model, graph: Graph, values: dict[int, Value], count: int, gradient: Value) -> None:
    """Walk the nodes backwards; the gradient of a value with several readers is the sum of what they give."""
    flows: dict[Value, list[Value]] = {values[count - 1]: [gradient]}
    for i in reversed(range(count)):
        node, y = model.nodes[i], values[i]
        flow = flows.pop(y, None)  # a layer whose output is its input gives back what it has taken
        if not flow or (y not in graph.wanted):
            continue
        graph.node, graph.label = i, node.name
        dy = flow[0]
        for other in flow[1:]:
            dy = graph.sum(dy, other, "dy")
        xs = tuple(values[j] for j in node.inputs)
        for x, dx in zip(xs, node.layer.backward(graph, xs, y, dy), strict=True):
            if dx is not None and x in graph.wanted:
                flows.setdefault(x, []).append(dx)
    graph.node = -1


def _wanted(model: Model, values: dict[int, Value], count: int) -> frozenset[Value]:
    """Return the values that depend on a parameter: those whose gradient somebody needs."""
    wanted: set[Value] = set()
    for i in range(count):
        node = model.nodes[i]
        if node.trainable or any(values[j] in wanted for j in node.inputs):
            wanted.add(values[i])
    return frozenset(wanted)


def _groups(model: Model, blocks: int) -> int:
    """Return into how many groups of consecutive blocks a batch is divided for the sums of gradients.

    Every group has gradients of its own, so the number follows from their size and from the batch alone, never from
    the threads: the sums have one order.
    """
    size = max(1, sum(param.size for node in model.nodes for param in node.params.values() if len(param.shape) > 2))
    most = max(2, min(_MOST_GROUPS, PARTIAL_LIMIT // size))
    together = -(-blocks // min(blocks, most))
    return -(-blocks // together)
