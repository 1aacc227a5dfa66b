"""What every layer of a network makes of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from cnncli.compute.arguments import Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op, Program
from cnncli.engine.layout import Layout
from cnncli.engine.record import Record
from cnncli.layers.recording import Bound, Graph, Value
from cnncli.model import Model


def feature_maps(
    model: Model,
    parameters: Mapping[str, np.ndarray],
    image: np.ndarray,
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, np.ndarray]:
    """Return the output of every layer, by its name, in the order of the network.

    Parameters
    ----------
    model : Model
    parameters : mapping of str to ndarray
        Weights and running statistics by name.
    image : ndarray of uint8, (H, W, C)
    mean, std : sequence of float
        As in a `Session`.

    Returns
    -------
    dict of str to ndarray of float32
        (C, H, W) or (n,). Layers that training alone needs, such as dropout, give what they are given.
    """
    layout = Layout(model, 1, 1, None, "float32")
    layout.normalise(mean, std)
    for name, view in layout.weights.named().items():
        view[...] = parameters[name]
    graph, start = Graph(False, 1, 1), Value(model.input_shape, "input")
    values, found = {-1: start}, {}
    for i, node in enumerate(model.nodes):
        graph.node, graph.label = i, node.name
        values[i] = node.layer.forward(graph, tuple(values[j] for j in node.inputs))
        rows = np.zeros(LANES * prod(node.out_shape), np.float32)
        _copy(graph, values[i], rows)
        found[node.name] = (rows, node.out_shape)
    bound = layout.bind(Record(graph, start, values[len(model.nodes) - 1], model.macs))
    pixels = np.ascontiguousarray(image)
    layout.source[0], layout.signals.count[0] = pixels.ctypes.data, 1
    for phases in ([*bound.prologue], [*bound.phases]):
        if phases:
            Program(phases, 1, "float32").run()
    return {name: rows[: prod(shape)].reshape(shape) for name, (rows, shape) in found.items()}


def _copy(graph: Graph, value: Value, rows: np.ndarray) -> None:
    """Record a step that copies a value, as one row of numbers per image."""
    flat = graph.reshaped(value, (prod(value.shape),)) if len(value.shape) > 1 else value

    def emit(b: Bound) -> list[Op]:
        places = {"z": b.reads[0].operand, "rows": Operand(rows)}
        return [Op("losses.value_rows", places | {"classes": flat.shape[0], "lanes": LANES})]

    graph.step("copy", [flat], [], emit)
