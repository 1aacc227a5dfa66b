"""Every distinct convolution of well-known networks, its three passes, against PyTorch in its better layout.

    python benchmarks/bench_kernels.py [PRESET[@SIZE][:BATCH] ...] [--full] [--rounds 5] [--threads 2] [--json]

Without names: ResNet-20 and ResNet-18 for CIFAR; with --full LeNet-5, VGG16, AlexNet, ResNet-50, MobileNet and
DenseNet-121, too. Every result is compared with PyTorch's before it is measured. The contestants take turns; a figure
is the median of the rounds. GFLOP/s count two operations per multiply-add of the direct method.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

SHORT = ("resnet20-cifar:128", "resnet18-cifar:64")
FULL = ("lenet5:128", *SHORT, "vgg16:16", "alexnet:32", "resnet50@224:16", "mobilenet-v1@128:32", "densenet121@64:32")
PASSES = ("forward", "input_gradient", "weight_gradient")
RESULTS = ("y", "dx", "dweight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="PRESET[@SIZE][:BATCH]")
    parser.add_argument("--full", action="store_true", help="all networks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one object per layer and pass")
    options = parser.parse_args()
    for network in options.networks or (FULL if options.full else SHORT):
        preset, _, batch = network.partition(":")
        name, _, size = preset.partition("@")
        for layer, shape in layers_of(name, int(size or 0)):
            for row in measured(layer, shape, int(batch or 64), options.threads, options.rounds):
                row = {"network": name, **row}
                print(json.dumps(row) if options.json else text(row), flush=True)


def text(row: dict[str, Any]) -> str:
    """Return one line for people."""
    figures = f"{row['ms']:9.2f} ms {row['gflops']:7.1f} GFLOP/s {row['torch_gflops']:7.1f} of PyTorch"
    return f"{row['network']:16} {row['layer']:34} {row['pass']:16} {figures} {row['ratio']:6.2f}x"


def layers_of(name: str, size: int) -> list[tuple[Any, tuple[int, ...]]]:
    """Return the distinct convolutions of a preset with the shapes they read."""
    from cnncli.layers import Conv2D
    from cnncli.model import load_model

    model = load_model(name)
    if size:
        model = load_model(name, input_shape=(model.input_shape[0], size, size))
    found = {}
    for node in model.nodes:
        if isinstance(node.layer, Conv2D):
            found.setdefault((repr(node.layer), node.in_shapes[0]), (node.layer, node.in_shapes[0]))
    return list(found.values())


def measured(layer: Any, shape: tuple[int, ...], batch: int, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each pass of a layer."""
    import torch
    from single_layer import passes

    from cnncli.compute.host import LANES

    torch.set_num_threads(threads)
    count = -(-batch // LANES) * LANES
    random = np.random.default_rng(0)
    ours = passes(layer, shape, count, threads=threads)
    x = random.standard_normal((count, *shape), dtype=np.float32)
    dy = random.standard_normal((count, *layer.out_shape(shape)), dtype=np.float32)
    weight = ours.weights["weight"]
    weight[...] = random.standard_normal(weight.shape, dtype=np.float32) / np.sqrt(weight[0].size)
    ours.put("x", x)
    ours.put("dy", dy)
    if "bias" in ours.weights:
        ours.weights["bias"][...] = 0
    peers = [peer(layer, x, dy, weight, layout) for layout in (torch.contiguous_format, torch.channels_last)]
    rows = []
    for number, name in enumerate(PASSES):
        run = getattr(ours, name).run
        run()
        wanted = peers[0][number]().numpy()
        found = ours.gradients["weight"] if name == "weight_gradient" else ours.get(RESULTS[number])
        np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max(), rtol=0)
        times = medians([run, *(one[number] for one in peers)], rounds)
        work = 2 * layer.macs(shape) * count
        best = min(times[1:])
        sizes = (
            f"{shape[0]}->{layer.filters} {shape[1]}x{shape[2]} k{layer.kernel[0]} s{layer.stride[0]} g{layer.groups}"
        )
        rows.append(
            {"layer": sizes, "batch": count, "pass": name, "ms": times[0] * 1e3, "gflops": work / times[0] / 1e9,
             "torch_gflops": work / best / 1e9, "ratio": best / times[0]}
        )  # fmt: skip
    return rows


def medians(contestants: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median time of each [s]; they take turns, and the first call of a turn does not count.

    It meets the threads of the contestant before, which still wait for work on the same processors.
    """
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        for one, mine in zip(contestants, times, strict=True):
            one()
            begin = time.perf_counter()
            one()
            mine.append(time.perf_counter() - begin)
    return [statistics.median(mine) for mine in times]


def peer(layer: Any, x: np.ndarray, dy: np.ndarray, weight: np.ndarray, layout: Any) -> list[Callable[[], Any]]:
    """Return PyTorch's three passes."""
    import torch

    maps, flow, kernel = (torch.from_numpy(np.array(one)).to(memory_format=layout) for one in (x, dy, weight))
    top, bottom, left, right = layer.padding
    if (top, left) != (bottom, right):
        maps = torch.nn.functional.pad(maps, (left, right, top, bottom)).contiguous(memory_format=layout)
        pads = [0, 0]
    else:
        pads = [top, left]

    def backward(mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(
            flow, maps, kernel, None, list(layer.stride), pads, list(layer.dilation), False, [0, 0], layer.groups, mask
        )

    def input_gradient() -> Any:
        dx = backward([True, False, False])[0]
        return dx[:, :, top : top + x.shape[2], left : left + x.shape[3]] if dx.shape != x.shape else dx

    return [
        lambda: torch.nn.functional.conv2d(maps, kernel, None, layer.stride, pads, layer.dilation, layer.groups),
        input_gradient,
        lambda: backward([False, True, False])[1],
    ]


if __name__ == "__main__":
    main()
