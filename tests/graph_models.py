"""Models made of layers and the numbers of the nodes that each reads, where the language would be in the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnncli.layers.base import Layer
from cnncli.model.network import Model, Node
from cnncli.shapes import Shape


def model_of(input_shape: Shape, layers: Sequence[tuple[Layer, tuple[int, ...]]]) -> Model:
    """Return the network of `layers`; each reads the nodes numbered beside it, -1 is the input."""
    nodes: list[Node] = []
    for i, (layer, inputs) in enumerate(layers):
        shapes = tuple(input_shape if j < 0 else nodes[j].out_shape for j in inputs)
        name = f"{layer.kind}{i}"
        nodes.append(Node(name, layer, inputs, shapes, layer.out_shape(*shapes), layer.params(*shapes), "", i))
    return Model("made", input_shape, tuple(nodes))


def random_images(model: Model, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (count, H, W, C) and labels."""
    channels, height, width = model.input_shape
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return images, rng.integers(0, model.output_shape[0], count)
