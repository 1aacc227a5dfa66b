"""Convolutions of stride 2 by minimal filtering against plain sums of products, for maps and borders of any size."""

import numpy as np
import pytest
import reference_gradients
import reference_layers
from single_layer import passes

import cnncli.layers.strided as strided
from cnncli.compute.host import LANES
from cnncli.layers import Conv2D

#: channels, filters, height, width, padding
CASES = [
    (3, 5, 7, 9, (1, 0, 0, 1)),
    (3, 5, 6, 5, (0, 1, 2, 1)),
    (17, 9, 8, 8, (1, 1, 1, 1)),
    (5, 6, 5, 12, (2, 0, 1, 2)),
    (5, 4, 9, 7, (3, 4, 0, 5)),
    (70, 4, 6, 6, (1, 1, 1, 1)),
    (4, 70, 6, 6, (1, 1, 1, 1)),
    (2, 3, 3, 3, (0, 0, 0, 0)),
    (2, 3, 2, 1, (1, 1, 1, 1)),
]


@pytest.mark.parametrize(("blocks", "threads"), [(1, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_passes_are_those_of_the_definition(monkeypatch, case, blocks, threads):
    channels, filters, height, width, pads = case
    monkeypatch.setattr(strided, "_LEAST", dict.fromkeys(strided._LEAST, (1, 1, 1)))
    layer, count = Conv2D(filters, (3, 3), (2, 2), pads), blocks * LANES
    ours = passes(layer, (channels, height, width), count, threads=threads, dtype="float64")
    rng = np.random.default_rng(5)
    x = rng.standard_normal((count, channels, height, width))
    dy = rng.standard_normal((count, *layer.out_shape(x.shape[1:])))
    p = {"weight": rng.standard_normal((filters, channels, 3, 3)), "bias": rng.standard_normal(filters)}
    ours.put("x", x)
    ours.put("dy", dy)
    for name, values in p.items():
        ours.weights[name][...] = values
    for program in (ours.forward, ours.input_gradient, ours.weight_gradient):
        program.run()
    wanted = reference_layers.convolution(layer, [x], p, reference_layers.Place())
    (dx,), gradients = reference_gradients.convolution(layer, [x], p, dy)
    np.testing.assert_allclose(ours.get("y"), wanted, atol=1e-12)
    np.testing.assert_allclose(ours.get("dx"), dx, atol=1e-12)
    np.testing.assert_allclose(ours.gradients["weight"], gradients["weight"], atol=1e-11)
