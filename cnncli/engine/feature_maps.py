"""What every layer of a network makes of images."""

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


class FeatureMaps:
    """A network that says what its layers make of images.

    Parameters
    ----------
    model : Model
    parameters : mapping of str to ndarray
        Weights and running statistics by name.
    mean, std : sequence of float
        As in a `Session`.
    layers : sequence of str, optional
        Names of layers; by itself all of them.
    batch_size : int
        The most images at a time.
    threads : int
    """

    def __init__(
        self,
        model: Model,
        parameters: Mapping[str, np.ndarray],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        layers: Sequence[str] | None = None,
        batch_size: int = 1,
        threads: int = 1,
    ) -> None:
        self._layout = layout = Layout(model, batch_size, threads, None, "float32")
        layout.normalise(mean, std)
        for name, view in layout.weights.named().items():
            view[...] = parameters[name]
        graph, start = Graph(False, layout.blocks, layout.blocks), Value(model.input_shape, "input")
        values = {-1: start}
        self._found: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {}
        for i, node in enumerate(model.nodes):
            graph.node, graph.label = i, node.name
            values[i] = node.layer.forward(graph, tuple(values[j] for j in node.inputs))
            if layers is None or node.name in layers:
                rows = np.zeros(layout.blocks * LANES * prod(node.out_shape), np.float32)
                _copy(graph, values[i], rows)
                self._found[node.name] = (rows, node.out_shape)
        bound = layout.bind(Record(graph, start, values[len(model.nodes) - 1], model.macs))
        self._programs = [
            Program(phases, threads, "float32") for phases in ([*bound.prologue], [*bound.phases]) if phases
        ]

    def of(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the output of every layer, by its name, in the order of the network.

        The bits of each image's maps depend on that image alone.

        Parameters
        ----------
        images : ndarray of uint8, (n, H, W, C)
            Up to `batch_size`.

        Returns
        -------
        dict of str to ndarray of float32
            (n, C, H, W) or (n, m). Layers that training alone needs, such as dropout, give what they are given.
        """
        pixels, count, layout = np.ascontiguousarray(images), len(images), self._layout
        layout.source[0], layout.signals.count[0] = pixels.ctypes.data, count
        layout.picks[:] = np.minimum(np.arange(len(layout.picks)), count - 1)
        for program in self._programs:
            program.run()
        return {
            name: rows.reshape(-1, prod(shape))[:count].reshape(count, *shape).copy()
            for name, (rows, shape) in self._found.items()
        }


def _copy(graph: Graph, value: Value, rows: np.ndarray) -> None:
    """Record a step that copies a value, as one row of numbers per image."""
    flat = graph.reshaped(value, (prod(value.shape),)) if len(value.shape) > 1 else value

    def emit(b: Bound) -> list[Op]:
        places = {"z": b.reads[0].operand, "rows": Operand(rows, task_step=LANES * flat.shape[0])}
        return [Op("losses.value_rows", places | {"classes": flat.shape[0], "lanes": LANES})]

    graph.step("copy", [flat], [], emit)
