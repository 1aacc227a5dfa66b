"""Models made of layers and the numbers of the nodes that each reads, where the language would be in the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from cnncli.layers import Add, AvgPool2D, BatchNorm, Concat, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU
from cnncli.layers.activations import ReLU6
from cnncli.layers.base import Layer
from cnncli.layers.conv_transpose import ConvTranspose2D
from cnncli.layers.global_pooling import GlobalAvgPool2D, GlobalMaxPool2D
from cnncli.model.network import Model, Node
from cnncli.shapes import Shape

INPUT = (2, 5, 4)
ONE_BY_ONE = {
    "relu": lambda c: ReLU() if c % 3 else ReLU6(),
    "batchnorm": lambda c: BatchNorm(),
    "dropout": lambda c: Dropout(0.3),
    "conv": lambda c: Conv2D(1 + c % 5, (1, 1)),
    "wide conv": lambda c: Conv2D(1 + c % 3, (3, 3), padding=(1, 1, 1, 1), bias=bool(c % 2)),
    "overlapping pool": lambda c: MaxPool2D((3, 3), (1, 1), (1, 1, 1, 1)),
    "pool of one pixel": lambda c: MaxPool2D((1, 1), (1, 1)),
    "mean": lambda c: AvgPool2D((2, 2), (1, 1), (1, 0, 0, 1)),
    "transposed": lambda c: ConvTranspose2D(1 + c % 3, (3, 2), padding=(1, 1, 0, 1)),
    "smaller": lambda c: MaxPool2D((2, 2), (2, 2)),
}
OF_VECTORS = ("relu", "batchnorm", "dropout")
JOINS = ("add", "concat")
step = st.tuples(st.sampled_from([*ONE_BY_ONE, *JOINS, *JOINS, "vector"]), *[st.integers(0, 30)] * 3)


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


@st.composite
def graphs(draw):
    """Return a network of up to a dozen layers; values are read any number of times, and all ends meet."""
    layers, shapes, unread = [], {-1: INPUT}, {}

    def put(layer, *inputs):
        layers.append((layer, inputs))
        shapes[len(layers) - 1] = layer.out_shape(*(shapes[i] for i in inputs))
        for i in inputs:
            unread.pop(i, None)
        unread[len(layers) - 1] = True
        return len(layers) - 1

    if draw(st.booleans()):
        put(Conv2D(3, (1, 1)), -1)
    for kind, a, b, c in draw(st.lists(step, min_size=2, max_size=12)):
        order = sorted(shapes, reverse=True)  # small numbers mean values made last
        source = order[min(a % 7, len(order) - 1)]
        x = shapes[source]
        if kind == "vector":
            if len(x) == 3:
                put((Flatten(), GlobalAvgPool2D(), GlobalMaxPool2D())[c % 3], source)
            else:
                put(Dense(2 + c % 4), source)
        elif kind in JOINS:
            same = [i for i in order if shapes[i] == x]
            wide = [i for i in order if shapes[i][1:] == x[1:] and len(shapes[i]) == len(x)]
            others = same if kind == "add" else wide
            chosen = [source, *(others[k % len(others)] for k in (b, c)[: 1 + c % 2])]
            put(Add() if kind == "add" else Concat(), *chosen)
        elif len(x) == 3 or kind in OF_VECTORS:
            if kind == "smaller" and min(x[1:]) < 2:
                continue
            put(ONE_BY_ONE[kind](c), source)
    ends = []
    for i in list(unread):
        ends.append(i if len(shapes[i]) == 1 else put((Flatten(), GlobalAvgPool2D())[i % 2], i))
    if len(ends) > 1:
        put(Concat(), *ends)
    elif not ends:
        put(Flatten(), -1)
    put(Dense(3), len(layers) - 1)
    return model_of(INPUT, layers)
