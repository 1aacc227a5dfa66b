"""5x5 convolutions against sums over taps: odd sizes, unequal padding, more and fewer maps than are made together."""

import numpy as np
import pytest
from single_layer import passes

from cnncli.compute.host import LANES
from cnncli.layers import Conv2D

#: channels, filters, rows, columns, padding (top, bottom, left, right)
SHAPES = {
    "second of LeNet-5": (6, 16, 14, 14, (0, 0, 0, 0)),
    "one channel": (1, 6, 9, 12, (2, 2, 2, 2)),
    "odd columns": (3, 5, 8, 9, (0, 0, 0, 0)),
    "unequal padding": (8, 3, 7, 6, (4, 0, 1, 3)),
    "one result": (5, 2, 5, 5, (0, 0, 0, 0)),
    "widest padding": (4, 7, 2, 3, (4, 4, 4, 4)),
}


def direct(x, dy, weight, pads):
    """Return y, dx and dweight, tap by tap."""
    top, bottom, left, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    y, dx, dweight = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(weight.shape)
    height, width = dy.shape[2:]
    for i in range(5):
        for j in range(5):
            window = padded[:, :, i : i + height, j : j + width]
            y += np.einsum("nchw,fc->nfhw", window, weight[:, :, i, j])
            dweight[:, :, i, j] = np.einsum("nchw,nfhw->fc", window, dy)
            dx[:, :, i : i + height, j : j + width] += np.einsum("nfhw,fc->nchw", dy, weight[:, :, i, j])
    return y, dx[:, :, top : top + x.shape[2], left : left + x.shape[3]], dweight


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("name", SHAPES)
def test_all_passes_are_those_of_the_definition(name, blocks):
    channels, filters, *size, pads = SHAPES[name]
    layer = Conv2D(filters, (5, 5), padding=pads, bias=False)
    shape, count = (channels, *size), blocks * LANES
    ours, rng = passes(layer, shape, count, dtype="float64"), np.random.default_rng(2)
    x, dy = rng.standard_normal((count, *shape)), rng.standard_normal((count, *layer.out_shape(shape)))
    weight = rng.standard_normal((filters, channels, 5, 5))
    ours.put("x", x)
    ours.put("dy", dy)
    ours.weights["weight"][...] = weight
    for program in (ours.forward, ours.input_gradient, ours.weight_gradient):
        program.run()
    y, dx, dweight = direct(x, dy, weight, pads)
    np.testing.assert_allclose(ours.get("y"), y, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ours.get("dx"), dx, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ours.gradients["weight"], dweight, rtol=0, atol=1e-10)
