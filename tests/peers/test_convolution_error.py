"""Rounding of every convolution path against float64: no more than PyTorch's in the worse of its two layouts.

3 % above it are allowed: short sums are made one product after the other on both sides, in another order of the taps.
"""

import numpy as np
import pytest
from single_layer import passes

torch = pytest.importorskip("torch")

from cnncli.layers import Conv2D  # noqa: E402

pytestmark = pytest.mark.peers

#: channels, filters, rows and columns, kernel, stride, groups: fewer multiplications where kernel is 3, stride 1 or 2
SHAPES = {
    "16 to 16": (16, 16, 16, 3, 1, 1),
    "64 to 64": (64, 64, 8, 3, 1, 1),
    "256 to 32": (256, 32, 6, 3, 1, 1),
    "odd maps": (32, 40, 7, 3, 1, 1),
    "odd channels": (130, 70, 5, 3, 1, 1),
    "direct": (5, 12, 12, 3, 1, 1),
    "first layer": (3, 16, 16, 3, 1, 1),
    "first layer of LeNet-5": (1, 6, 28, 5, 1, 1),
    "second layer of LeNet-5": (6, 16, 14, 5, 1, 1),
    "5x5 of 6 channels": (6, 6, 9, 5, 1, 1),
    "5x5 of 32 channels": (32, 32, 8, 5, 1, 1),
    "5x5": (32, 48, 9, 5, 1, 1),
    "first layer of AlexNet": (3, 32, 43, 11, 4, 1),
    "16 to 32 strided": (16, 32, 16, 3, 2, 1),
    "32 to 64 strided": (32, 64, 16, 3, 2, 1),
    "64 to 128 strided": (64, 128, 8, 3, 2, 1),
    "128 to 256 strided": (128, 256, 8, 3, 2, 1),
    "256 to 64 strided": (256, 64, 8, 3, 2, 1),
    "odd maps, strided": (48, 96, 7, 3, 2, 1),
    "pointwise": (128, 32, 6, 1, 1, 1),
    "16 to 32 pointwise": (16, 32, 16, 1, 1, 1),
    "copied": (128, 32, 8, 1, 1, 1),
    "copied, strided": (128, 32, 8, 1, 2, 1),
    "four groups": (32, 32, 8, 3, 1, 4),
    "depthwise": (32, 32, 8, 3, 1, 32),
    "depthwise, strided": (32, 32, 8, 3, 2, 32),
}
COUNT = 64


def gradients(x, dy, weight, stride, groups, dtype, layout):
    """Return y, dx and dweight of PyTorch."""
    maps, flow, kernel = (torch.tensor(one, dtype=dtype).to(memory_format=layout) for one in (x, dy, weight))
    pads = [weight.shape[2] // 2] * 2
    y = torch.nn.functional.conv2d(maps, kernel, None, stride, pads, 1, groups)
    dx, dweight, _ = torch.ops.aten.convolution_backward(
        flow, maps, kernel, None, [stride, stride], pads, [1, 1], False, [0, 0], groups, [True, True, False]
    )
    return {"y": y.numpy(), "dx": dx.numpy(), "dweight": dweight.numpy()}


@pytest.mark.parametrize("name", SHAPES)
def test_rounds_no_worse_than_the_peer(name):
    channels, filters, size, kernel, stride, groups = SHAPES[name]
    layer = Conv2D(filters, (kernel,) * 2, (stride,) * 2, (kernel // 2,) * 4, groups=groups, bias=False)
    ours = passes(layer, (channels, size, size), COUNT)
    rng = np.random.default_rng(1)
    x = np.maximum(rng.standard_normal((COUNT, channels, size, size)), 0).astype(np.float32)
    dy = rng.standard_normal((COUNT, *layer.out_shape((channels, size, size)))).astype(np.float32)
    weight = (rng.standard_normal((filters, channels // groups, kernel, kernel)) / np.sqrt(channels)).astype(np.float32)
    ours.put("x", x)
    ours.put("dy", dy)
    ours.weights["weight"][...] = weight
    for program in (ours.forward, ours.input_gradient, ours.weight_gradient):
        program.run()
    found = {"y": ours.get("y"), "dx": ours.get("dx"), "dweight": ours.gradients["weight"]}
    plain, last = torch.contiguous_format, torch.channels_last
    exact = gradients(x, dy, weight, stride, groups, torch.float64, plain)
    peers = [gradients(x, dy, weight, stride, groups, torch.float32, layout) for layout in (plain, last)]
    for key, wanted in exact.items():
        error = np.sqrt(np.mean((found[key] - wanted) ** 2))
        theirs = [np.sqrt(np.mean((one[key] - wanted) ** 2)) for one in peers]
        print(name, key, f"{error:.2e}", *(f"{one:.2e}" for one in theirs))
        assert error <= 1.03 * max(theirs), key
