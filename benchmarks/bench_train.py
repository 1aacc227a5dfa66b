"""Training speed in images/s: cnncli against PyTorch (NCHW and channels_last), the same number of threads.

    python benchmarks/bench_train.py [--networks lenet5 conv4] [--batch 64 128 256] [--threads 2] [--rounds 5]
                                     [--seconds 2]

`lenet5` has short steps; `conv4` is a network of middle size, four 3x3 convolutions of 32, 32, 64 and 64 filters on
28x28 images, whose steps take some ten milliseconds.

Each measurement is a process of its own; the three take turns, so that a drift of the machine hits all of them. Every
process warms up, then counts training steps for some seconds, each with a fresh random choice of images: choosing,
scaling, forward, backward and the optimizer's step. Prints one JSON line per network and batch size and a table of
medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CONTESTANTS = ("cnncli", "torch", "torch-channels-last")
IMAGES = 20_000
CONV4 = """\
name: conv4
input: 28x28x1
layers:
  - conv: {filters: 32, kernel: 3, padding: 1}
  - relu
  - conv: {filters: 32, kernel: 3, padding: 1}
  - relu
  - maxpool: 2
  - conv: {filters: 64, kernel: 3, padding: 1}
  - relu
  - conv: {filters: 64, kernel: 3, padding: 1}
  - relu
  - maxpool: 2
  - flatten
  - dense: 10
  - softmax
"""


def measure(step: Callable[[np.ndarray], object], batch: int, seconds: float) -> float:
    """Return images/s of `step(indices)`."""
    generator = np.random.default_rng(0)
    picks = [generator.integers(0, IMAGES, batch) for _ in range(64)]
    for chosen in picks[:20]:
        step(chosen)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step(picks[steps % 64])
        steps += 1
    return steps * batch / (time.perf_counter() - begin)


def run_cnncli(network: str, batch: int, threads: int, seconds: float, images: np.ndarray, labels: np.ndarray) -> float:
    """Measure our engine."""
    from cnncli.engine.session import Session
    from cnncli.model import load_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conv4.yaml"
        path.write_text(CONV4)
        model = load_model(str(path) if network == "conv4" else network)
    session = Session(model, batch_size=batch, threads=threads, optimizer="adam")
    return measure(lambda chosen: session.train_batch(images, labels, chosen, 1e-3, (0, 0)), batch, seconds)


def torch_layers(network: str) -> list:
    """Return the layers of the network in PyTorch, without the softmax."""
    from torch import nn

    if network == "lenet5":
        return [
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        ]  # fmt: skip
    return [
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 10),
    ]  # fmt: skip


def run_torch(
    network: str, batch: int, threads: int, seconds: float, images: np.ndarray, labels: np.ndarray, *, last: bool
) -> float:
    """Measure PyTorch on the same network, loss and optimizer; images are floats in memory already."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    model = nn.Sequential(*torch_layers(network))
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    if last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(labels)
    optimizer, loss_of = torch.optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()

    def step(chosen: np.ndarray) -> None:
        indices = torch.from_numpy(chosen)
        optimizer.zero_grad(set_to_none=True)
        loss_of(model(x[indices]), y[indices]).backward()
        optimizer.step()

    return measure(step, batch, seconds)


def worker(name: str, network: str, batch: int, threads: int, seconds: float) -> None:
    """Measure one contestant and print its figure."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (IMAGES, 28, 28, 1), dtype=np.uint8)
    labels = generator.integers(0, 10, IMAGES)
    if name == "cnncli":
        print(run_cnncli(network, batch, threads, seconds, images, labels))
    else:
        print(run_torch(network, batch, threads, seconds, images, labels, last=name.endswith("last")))


def main() -> None:
    """Let the contestants take turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=["lenet5", "conv4"], default=["lenet5", "conv4"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.networks[0], options.batch[0], options.threads, options.seconds)
        return
    rows = []
    for network, batch in ((network, batch) for network in options.networks for batch in options.batch):
        figures: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for _ in range(options.rounds):
            for name in CONTESTANTS:
                command = [sys.executable, __file__, "--worker", name, "--networks", network, "--batch", str(batch)]
                command += ["--threads", str(options.threads), "--seconds", str(options.seconds)]
                figures[name].append(float(subprocess.run(command, check=True, capture_output=True).stdout))
        medians = {name: statistics.median(values) for name, values in figures.items()}
        ratio = medians["cnncli"] / max(medians["torch"], medians["torch-channels-last"])
        images_per_s = {name: round(value) for name, value in medians.items()}
        line = {"bench": f"train-{network}", "batch": batch, "threads": options.threads, "images_per_s": images_per_s}
        print(json.dumps(line | {"ratio": round(ratio, 2)}), flush=True)
        rows.append((network, batch, medians, ratio))
    print("\nnetwork  batch     cnncli      torch  channels_last  ratio to the better")
    for network, batch, medians, ratio in rows:
        numbers = "  ".join(f"{medians[name]:>9,.0f}" for name in CONTESTANTS)
        print(f"{network:<7}  {batch:>5}  {numbers}  {ratio:>12.2f}")


if __name__ == "__main__":
    main()
