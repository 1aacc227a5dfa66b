"""Test accuracy of a preset, trained here and with PyTorch: the same first weights, order and recipe.

    CNN_DATA_DIR=... python benchmarks/compare_accuracy.py [--preset resnet20-cifar] [--images 6000] [--epochs 3]
    python benchmarks/compare_accuracy.py --dataset cifar10-jpg-12k.zip --images 10000 --epochs 5

On MNIST, or on pictures of your own (a folder or archive with train/ and test/). Momentum SGD, batch 64, cosine
schedule from lr 0.05, no augmentation; the first 2,000 test images. Prints one JSON line per seed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import torch

from cnncli.engine.session import Session
from cnncli.model.sources import parse_model, preset_text
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from torch_network import TorchNetwork

BATCH, LR = 64, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="resnet20-cifar")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    folder = os.environ.get("CNN_DATA_DIR")
    data = load_data(DataRequest(options.dataset, Path(folder) if folder else None))
    text, shape = preset_text(options.preset), data.image_shape
    model = parse_model(text, options.preset, input_shape=shape, classes=len(data.classes))
    test = np.ascontiguousarray(data.test.images[:2000]), data.test.labels[:2000]
    for seed in options.seeds:
        rng = np.random.default_rng(seed)
        picks = rng.permutation(len(data.train.images))[: options.images]
        images, labels = np.ascontiguousarray(data.train.images[picks]), data.train.labels[picks]
        orders = [rng.permutation(len(images)) for _ in range(options.epochs)]
        session = Session(
            model, batch_size=BATCH, threads=2, optimizer="momentum", seed=seed, mean=data.mean, std=data.std
        )
        peer = TorchNetwork(model, session.named(), torch.float32)
        batches = [order[i : i + BATCH] for order in orders for i in range(0, len(images), BATCH)]
        rates = [LR / 2 * (1 + math.cos(math.pi * i / len(batches))) for i in range(len(batches))]
        for i, (batch, lr) in enumerate(zip(batches, rates, strict=True)):
            session.train_batch(images, labels, batch, lr, (0, i))
        ours = session.evaluate(*test)[1]
        x, of_test = (prepared(one, data.mean, data.std) for one in (images, test[0]))
        theirs = train_torch(peer, x, labels, batches, rates, of_test, test[1])
        print(
            json.dumps({"preset": options.preset, "dataset": data.name, "seed": seed, "cnncli": ours, "torch": theirs}),
            flush=True,
        )


def prepared(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def train_torch(peer, x, labels, batches, rates, of_test, test_labels) -> float:
    torch.set_num_threads(2)
    y = torch.tensor(labels)
    optimizer = torch.optim.SGD(peer.parameters(), LR, 0.9)
    peer.train()
    for batch, lr in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(peer(x[batch]), y[batch]).backward()
        optimizer.step()
    peer.eval()
    with torch.no_grad():
        return float((peer(of_test).argmax(1) == torch.tensor(test_labels)).float().mean())


if __name__ == "__main__":
    main()
