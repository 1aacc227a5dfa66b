"""Training speed of LeNet-5 in images/s: cnncli against PyTorch (NCHW and channels_last), the same number of threads.

    python benchmarks/bench_train.py [--batch 64 128 256] [--threads 2] [--rounds 5] [--seconds 2]

Each measurement is a process of its own; the three take turns, so that a drift of the machine hits all of them. Every
process warms up, then counts training steps for some seconds, each with a fresh random choice of images: choosing,
scaling, forward, backward and the optimizer's step. Prints one JSON line a batch size and a table of medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

CONTESTANTS = ("cnncli", "torch", "torch-channels-last")
IMAGES = 20_000


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


def run_cnncli(batch: int, threads: int, seconds: float, images: np.ndarray, labels: np.ndarray) -> float:
    """Measure our engine."""
    from cnncli.engine.session import Session
    from cnncli.model import load_model

    session = Session(load_model("lenet5"), batch_size=batch, threads=threads, optimizer="adam")
    return measure(lambda chosen: session.train_batch(images, labels, chosen, 1e-3, (0, 0)), batch, seconds)


def run_torch(batch: int, threads: int, seconds: float, images: np.ndarray, labels: np.ndarray, *, last: bool) -> float:
    """Measure PyTorch on the same network, loss and optimizer; images are floats in memory already."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    layers = [
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ]  # fmt: skip
    model = nn.Sequential(*layers)
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


def worker(name: str, batch: int, threads: int, seconds: float) -> None:
    """Measure one contestant and print its figure."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (IMAGES, 28, 28, 1), dtype=np.uint8)
    labels = generator.integers(0, 10, IMAGES)
    if name == "cnncli":
        print(run_cnncli(batch, threads, seconds, images, labels))
    else:
        print(run_torch(batch, threads, seconds, images, labels, last=name.endswith("last")))


def main() -> None:
    """Let the contestants take turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.batch[0], options.threads, options.seconds)
        return
    rows = []
    for batch in options.batch:
        figures: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for _ in range(options.rounds):
            for name in CONTESTANTS:
                command = [sys.executable, __file__, "--worker", name, "--batch", str(batch)]
                command += ["--threads", str(options.threads), "--seconds", str(options.seconds)]
                figures[name].append(float(subprocess.run(command, check=True, capture_output=True).stdout))
        medians = {name: statistics.median(values) for name, values in figures.items()}
        ratio = medians["cnncli"] / max(medians["torch"], medians["torch-channels-last"])
        images_per_s = {name: round(value) for name, value in medians.items()}
        line = {"bench": "train-lenet5", "batch": batch, "threads": options.threads, "images_per_s": images_per_s}
        print(json.dumps(line | {"ratio": round(ratio, 2)}), flush=True)
        rows.append((batch, medians, ratio))
    print("\nbatch     cnncli      torch  channels_last  ratio to the better")
    for batch, medians, ratio in rows:
        numbers = "  ".join(f"{medians[name]:>9,.0f}" for name in CONTESTANTS)
        print(f"{batch:>5}  {numbers}  {ratio:>12.2f}")


if __name__ == "__main__":
    main()
