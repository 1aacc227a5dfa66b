"""Test accuracy of a preset on MNIST, trained here and with PyTorch: the same first weights, order and recipe.

    CNN_DATA_DIR=... python benchmarks/compare_accuracy.py [--preset resnet20-cifar] [--images 6000] [--epochs 3]

Momentum SGD, batch 64, cosine schedule from lr 0.05, no augmentation; three seeds; the first 2,000 test images. Prints
one JSON line per seed.
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
from cnncli.io.datasets.catalogue import load_dataset
from cnncli.model.sources import parse_model, preset_text

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from torch_network import TorchNetwork

BATCH, LR = 64, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="resnet20-cifar")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    data = load_dataset("mnist", Path(os.environ["CNN_DATA_DIR"]))
    model = parse_model(preset_text(options.preset), options.preset, input_shape=(1, 28, 28), classes=10)
    test = np.ascontiguousarray(data.test.images[:2000]), data.test.labels[:2000]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        picks = rng.permutation(len(data.train.images))[: options.images]
        images, labels = np.ascontiguousarray(data.train.images[picks]), data.train.labels[picks]
        orders = [rng.permutation(options.images) for _ in range(options.epochs)]
        session = Session(
            model, batch_size=BATCH, threads=2, optimizer="momentum", seed=seed, mean=(0.13,), std=(0.31,)
        )
        peer = TorchNetwork(model, session.named(), torch.float32)
        batches = [order[i : i + BATCH] for order in orders for i in range(0, options.images, BATCH)]
        rates = [LR / 2 * (1 + math.cos(math.pi * i / len(batches))) for i in range(len(batches))]
        for i, (batch, lr) in enumerate(zip(batches, rates, strict=True)):
            session.train_batch(images, labels, batch, lr, (0, i))
        ours = session.evaluate(*test)[1]
        theirs = train_torch(peer, images, labels, batches, rates, test)
        print(json.dumps({"preset": options.preset, "seed": seed, "cnncli": ours, "torch": theirs}), flush=True)


def prepared(images: np.ndarray) -> torch.Tensor:
    return torch.tensor((images.transpose(0, 3, 1, 2) / 255 - 0.13) / 0.31, dtype=torch.float32)


def train_torch(peer, images, labels, batches, rates, test) -> float:
    torch.set_num_threads(2)
    x, y = prepared(images), torch.tensor(labels)
    optimizer = torch.optim.SGD(peer.parameters(), LR, 0.9)
    peer.train()
    for batch, lr in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(peer(x[batch]), y[batch]).backward()
        optimizer.step()
    peer.eval()
    with torch.no_grad():
        return float((peer(prepared(test[0])).argmax(1) == torch.tensor(test[1])).float().mean())


if __name__ == "__main__":
    main()
