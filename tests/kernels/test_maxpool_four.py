"""Maximum pooling of 2x2 windows side by side, which has loops of its own, against its definition: bit for bit."""

import numpy as np
import pytest
from single_layer import passes

from cnncli.compute.host import LANES
from cnncli.layers import MaxPool2D


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 2)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2)])
def test_each_gradient_goes_to_the_first_largest_pixel(size, stride):
    layer, shape = MaxPool2D((2, 2), stride=stride), (3, *size)
    ours, rng = passes(layer, shape, 2 * LANES, dtype="float64"), np.random.default_rng(3)
    x = rng.integers(-2, 3, (2 * LANES, *shape)).astype(float)  # with ties
    y, dx = np.zeros((2 * LANES, *layer.out_shape(shape))), np.zeros(x.shape)
    dy = rng.integers(1, 9, y.shape).astype(float)
    for place in np.ndindex(*y.shape):
        n, c, i, j = place
        window = x[n, c, i * stride[0] : i * stride[0] + 2, j * stride[1] : j * stride[1] + 2]
        y[place] = window.max()
        row, column = divmod(int(window.argmax()), 2)
        dx[n, c, i * stride[0] + row, j * stride[1] + column] += dy[place]
    ours.put("x", x)
    ours.put("dy", dy)
    ours.forward.run()
    np.testing.assert_array_equal(ours.get("y"), y)
    ours.input_gradient.run()
    np.testing.assert_array_equal(ours.get("dx"), dx)
