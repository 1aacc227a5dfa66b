"""A process that runs one contestant of a benchmark, for a turn whenever a line comes in (see contest.py)."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

POOL_BYTES = 64 * 2**20  # of pictures that are drawn from


def main() -> None:
    """Read what to do, warm up, then answer every line `SECONDS` with images per second."""
    task = json.loads(sys.argv[1])
    step = {"train": training, "predict": prediction}[task["work"]](task)
    begin = time.perf_counter()
    slowest, turns = 0.0, 0
    while turns < 2 or time.perf_counter() - begin < task["warm_up"]:
        before = time.perf_counter()
        step()
        slowest, turns = time.perf_counter() - before, turns + 1
    has_compiled = task["who"].startswith("cnn") and "numba" in sys.modules
    say(ready=True, step_s=slowest, has_compiled=has_compiled)
    for line in sys.stdin:
        say(images_per_s=turn(step, task["batch"], float(line), slowest), peak_mib=peak_mib())


def say(**facts: Any) -> None:
    """Answer the process that asks."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def turn(step: Callable[[], object], batch: int, seconds: float, step_s: float) -> float:
    """Return images per second; the first steps, which fill caches and wake threads, do not count."""
    begin = time.perf_counter()
    while step_s < 0.1 and time.perf_counter() - begin < 0.1:
        step()
    steps, begin = 0, time.perf_counter()
    while not steps or time.perf_counter() - begin < seconds:
        step()
        steps += 1
    return steps * batch / (time.perf_counter() - begin)


def load(task: dict[str, Any]) -> Any:
    """Return the model of a task, for images of another size where one is given."""
    from cnncli.model import load_model

    model = load_model(task["preset"])
    size = task["size"]
    return load_model(task["preset"], input_shape=(model.input_shape[0], size, size)) if size else model


def pictures(model: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images uint8 (N, H, W, C) and labels, the same in every process."""
    random = np.random.default_rng(0)
    channels, height, width = model.input_shape
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return images, random.integers(0, model.output_shape[0], count)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return images float32 (N, C, H, W) from 0 to 1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def training(task: dict[str, Any]) -> Callable[[], Any]:
    """Return a training step: ours chooses and scales images of bytes; PyTorch's finds its batches as floats."""
    model, batch = load(task), task["batch"]
    count = max(batch, min(20_000, POOL_BYTES // 4 // int(np.prod(model.input_shape)))) // batch * batch
    if task["who"].startswith("cnn"):
        from cnncli.engine.session import Session

        images, labels = pictures(model, count)
        session = Session(model, batch_size=batch, threads=task["threads"], optimizer=task["optimizer"])
        picks = np.random.default_rng(1).permutation(count).reshape(-1, batch)
        turn = 0

        def step() -> object:
            nonlocal turn
            turn += 1
            return session.train_batch(images, labels, picks[turn % len(picks)], 1e-3, (0, turn))

        return step
    import torch
    from peers import training_step

    torch.set_num_threads(task["threads"])
    torch.set_flush_denormal(True)
    how, _, layout = task["who"].removeprefix("torch ").rpartition(" ")
    batches = batches_of(model, count, batch)
    return training_step(model, batches, layout=layout, optimizer=task["optimizer"], is_compiled=how == "compiled")


def batches_of(model: Any, count: int, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return up to 16 batches of floats with labels."""
    images, labels = pictures(model, count)
    return [(as_floats(images[i : i + batch]), labels[i : i + batch]) for i in range(0, min(count, 16 * batch), batch)]


def prediction(task: dict[str, Any]) -> Callable[[], Any]:
    """Return a prediction of one batch. Ours begins with bytes, the peers with floats."""
    from cnncli.engine.session import Session

    model, batch = load(task), task["batch"]
    images, _ = pictures(model, batch)
    if task["who"].startswith("cnn"):
        session = Session(model, batch_size=batch, threads=task["threads"])
        np.save(task["answers"], session.predict(images))
        return lambda: session.predict(images)
    import torch
    from peers import prediction as call_of

    torch.set_num_threads(task["threads"])
    torch.set_flush_denormal(True)
    way = task["who"].removeprefix("torch ")
    call = call_of(model, as_floats(images), way=way, threads=task["threads"])
    np.testing.assert_allclose(call(), np.load(task["answers"]), rtol=0, atol=1e-4, err_msg=task["who"])
    return call


def peak_mib() -> float:
    """Return the largest resident size of this process so far [MiB]."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    main()
