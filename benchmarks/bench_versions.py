"""Training speed of two versions of cnncli on the same machine, in turn: is the new one slower than the old one?

    git worktree add /tmp/old 31e023c
    python benchmarks/bench_versions.py /tmp/old . [--preset lenet5] [--batch 64] [--threads 2] [--turns 31]

Each version is a process that stays; they take turns of a fraction of a second, so that a drift of the machine hits
both. Adam, random images. Prints one JSON line: medians and best turns [images/s], and the median of the ratios of
neighbouring turns, new to old.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs=2, metavar="TREE", help="checkouts: the old one, the new one")
    parser.add_argument("--preset", default="lenet5")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.12)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        workers = [start(tree, f"{folder}/{i}") for i, tree in enumerate(options.trees)]
        turns: list[list[float]] = [[], []]
        for turn in range(options.turns):
            for i in (0, 1) if turn % 2 else (1, 0):
                turns[i].append(ask(workers[i]))
        for worker in workers:
            worker.communicate()
    medians, best = [statistics.median(one) for one in turns], [max(one) for one in turns]
    ratio = statistics.median(new / old for old, new in zip(*turns, strict=True))
    facts = {"preset": options.preset, "batch": options.batch, "threads": options.threads}
    print(json.dumps(facts | {"images_per_s": medians, "best": best, "ratio": round(ratio, 3)}))


def start(tree: str, cache: str) -> subprocess.Popen[str]:
    """Start a worker with the package of a checkout, and a store of compiled code of its own."""
    Path(cache).mkdir(mode=0o700)
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--worker"]
    environment = os.environ | {"PYTHONPATH": str(Path(tree).resolve()), "CNN_CACHE_DIR": cache}
    pipe = subprocess.PIPE
    worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert worker.stdout is not None
    worker.stdout.readline()  # it has warmed up
    return worker


def ask(worker: subprocess.Popen[str]) -> float:
    """Return the images/s of one turn."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def work(options: argparse.Namespace) -> None:
    """Train for a turn whenever a line comes in."""
    from cnncli.engine.session import Session
    from cnncli.model import load_model

    model, random = load_model(options.preset), np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (IMAGES, height, width, channels), dtype=np.uint8)
    labels = random.integers(0, model.output_shape[0], IMAGES)
    session = Session(model, batch_size=options.batch, threads=options.threads, optimizer="adam")
    batches = [np.arange(i, min(i + options.batch, IMAGES)) for i in range(0, IMAGES, options.batch)]

    def turn(seconds: float) -> float:
        images_done, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            for batch in batches:
                session.train_batch(images, labels, batch, 1e-3, (0, 0))
                images_done += len(batch)
        return images_done / (time.perf_counter() - begin)

    turn(0.3)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(turn(options.seconds), flush=True)


if __name__ == "__main__":
    main()
