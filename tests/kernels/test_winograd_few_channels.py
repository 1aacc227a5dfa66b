"""Winograd convolutions of few channels: the same bits as through memory, and the weight gradient against NumPy."""

import numpy as np
import pytest
from single_layer import passes

import cnncli.layers.winograd as winograd
from cnncli.compute.host import LANES
from cnncli.layers import Conv2D


@pytest.mark.skipif(LANES < 16, reason="the tile takes 32 registers")
@pytest.mark.parametrize(
    ("channels", "filters", "height", "width", "pads"),
    [(16, 16, 6, 8, (1, 1, 1, 1)), (17, 18, 7, 5, (1, 0, 2, 1))],
)
def test_same_bits_as_through_memory(monkeypatch, channels, filters, height, width, pads):
    layer = Conv2D(filters, (3, 3), (1, 1), pads, bias=True)
    rng = np.random.default_rng(3)
    shape = channels, height, width
    x = rng.standard_normal((2 * LANES, *shape)).astype(np.float32)
    dy = rng.standard_normal((2 * LANES, *layer.out_shape(shape))).astype(np.float32)
    weight = rng.standard_normal((filters, channels, 3, 3)).astype(np.float32)
    found = []
    for most in (0, 64):
        monkeypatch.setattr(winograd, "_MOST_IN_REGISTERS", most)
        ours = passes(layer, shape, 2 * LANES, threads=1 + most // 32)
        ours.put("x", x)
        ours.put("dy", dy)
        ours.weights["weight"][...] = weight
        ours.weights["bias"][...] = np.arange(filters)
        ours.forward.run()
        ours.input_gradient.run()
        found.append((ours.get("y"), ours.get("dx")))
    for in_memory, in_registers in zip(*found, strict=True):
        np.testing.assert_array_equal(in_registers, in_memory)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("channels", "filters", "height", "width", "pads"),
    [
        (16, 16, 6, 34, (1, 1, 1, 1)),  # more tiles side by side than are transformed at a time
        (17, 18, 7, 5, (1, 0, 2, 1)),
        (24, 40, 3, 9, (1, 1, 1, 1)),
        (64, 12, 4, 4, (2, 2, 1, 1)),
    ],
)
def test_weight_gradient_against_numpy(channels, filters, height, width, pads, blocks):
    layer = Conv2D(filters, (3, 3), (1, 1), pads, bias=False)
    rng = np.random.default_rng(4)
    shape, count = (channels, height, width), blocks * LANES
    x = rng.standard_normal((count, *shape))
    dy = rng.standard_normal((count, *layer.out_shape(shape)))
    padded = np.pad(x, ((0, 0), (0, 0), pads[:2], pads[2:]))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    wanted = np.einsum("nkhw,nchwij->kcij", dy, windows, optimize=True)
    found = []
    for threads in (1, 2):
        ours = passes(layer, shape, count, threads=threads, dtype="float64")
        ours.put("x", x)
        ours.put("dy", dy)
        for _ in range(2):
            ours.weight_gradient.run()
        found.append(ours.gradients["weight"].copy())
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=1e-11 * count * height * width)
    np.testing.assert_array_equal(*found)
