"""Training speed and peak memory of any preset: cnncli against PyTorch in its better layout, the same threads.

    python benchmarks/bench_networks.py resnet20-cifar:128 mobilenet-v1@128:32 [--rounds 5] [--seconds 3] [--threads 2]

Each measurement is a process of its own; the contestants take turns, so that a drift of the machine hits all of them.
Every process warms up, then counts training steps (momentum SGD, PyTorch's fused) on one batch of random images.
Prints one JSON line per network: medians of images/s, the ratio to the better layout, and peak resident memory [MiB].
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONTESTANTS = ("cnncli", "torch", "torch-channels-last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="PRESET[@SIZE][:BATCH]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.networks[0], options.threads, options.seconds)))
        return
    for network in options.networks:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
        for _ in range(options.rounds):
            for name in CONTESTANTS:
                command = [sys.executable, __file__, network, "--contestant", name]
                command += ["--threads", str(options.threads), "--seconds", str(options.seconds)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[name].append(json.loads(done.stdout))
        speeds = {name: statistics.median(one["images_per_s"] for one in runs) for name, runs in found.items()}
        memory = {name: statistics.median(one["peak_mib"] for one in runs) for name, runs in found.items()}
        ratio = speeds["cnncli"] / max(speeds["torch"], speeds["torch-channels-last"])
        print(json.dumps({"network": network, "images_per_s": speeds, "ratio": round(ratio, 2), "peak_mib": memory}))


def contest(name: str, network: str, threads: int, seconds: float) -> dict[str, float]:
    """Return images/s and the peak of resident memory of one contestant."""
    preset, _, batch = network.partition(":")
    count = int(batch or 64)
    step = ours(preset, count, threads) if name == "cnncli" else torch_step(preset, count, threads, name)
    begin = time.perf_counter()
    while time.perf_counter() - begin < max(1.0, seconds / 3):
        step()
    steps, begin = 0, time.perf_counter()
    while not steps or time.perf_counter() - begin < seconds:
        step()
        steps += 1
    rate = steps * count / (time.perf_counter() - begin)
    return {"images_per_s": rate, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def model_of(preset: str) -> Any:
    """Return a preset, for images of another size where one is given."""
    from cnncli.model import load_model

    name, _, size = preset.partition("@")
    model = load_model(name)
    return load_model(name, input_shape=(model.input_shape[0], int(size), int(size))) if size else model


def ours(preset: str, count: int, threads: int) -> Callable[[], object]:
    from cnncli.engine.session import Session

    model = model_of(preset)
    session = Session(model, batch_size=count, threads=threads, optimizer="momentum")
    random = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    labels, picks = random.integers(0, model.output_shape[0], count), np.arange(count)
    return lambda: session.train_batch(images, labels, picks, 1e-3, (0, 0))


def torch_step(preset: str, count: int, threads: int, name: str) -> Callable[[], object]:
    import torch

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from torch_network import TorchNetwork

    from cnncli.engine.weights import initial_values

    torch.set_num_threads(threads)
    model, arrays = model_of(preset), {}
    for slots in (model.slots, model.state_slots):
        values = initial_values(slots, 0)
        arrays |= {slot.name: values[slot.offset : slot.offset + slot.size].reshape(slot.shape) for slot in slots}
    layout = torch.channels_last if name.endswith("last") else torch.contiguous_format
    network = TorchNetwork(model, arrays, torch.float32).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, 0.9, fused=True)
    x = torch.randn(count, *model.input_shape).to(memory_format=layout)
    y = torch.randint(0, model.output_shape[0], (count,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
