"""Whole-process times, from typing a command to its end. One JSON line a command; medians of N runs.

    python benchmarks/bench_start.py [--runs 5]

The targets are those of a person who types a command and waits. Commands that only count must not import numba. "First
step" is a whole training run of one batch with its validation, test and files, so the first step is over sooner;
"cold" is the same with an empty cache of compiled kernels. Training is that of LeNet-5 where CNN_DATA_DIR holds MNIST,
else that of the bundled digits. The script ends with 1 where a median misses its target.
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
from collections.abc import Callable
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "samples" / "img.png"  # 512 x 512
COUNTING = {  # target in seconds
    ("--help",): 0.15,
    ("params", "lenet5"): 0.4,
    ("params", "vgg16"): 0.4,
    ("params", "resnet152"): 0.8,
    ("params", "densenet169"): 0.8,
    ("params", "densenet169", "--per-repeat", "--columns", "all"): 0.8,
    ("shape", "28x28x3", "-k", "5", "-p", "1"): 0.4,
    ("shape", "resnet152", "--rf"): 0.8,
    ("new", "--schema"): 0.4,
}
IMPORTS = (
    "import sys\nfrom cnncli.cli.main import main\n"
    "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    print('numba' in sys.modules, file=sys.stderr)"
)


def seconds(command: list[str], **environment: str) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    return time.perf_counter() - start


def imports_numba(arguments: tuple[str, ...]) -> bool:
    """Return whether a command has imported numba by its end."""
    probe = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, check=True)
    return probe.stderr.strip().endswith("True")


def report(name: str, run: Callable[[], float], runs: int, target: float | None, *, fails: bool = False) -> bool:
    """Print the median of several runs; return whether it misses its target."""
    times = [run() for _ in range(runs)]
    line = {"command": name, "median_s": round(statistics.median(times), 3), "min_s": round(min(times), 3)}
    print(json.dumps(line | {"target_s": target, "runs": runs}), flush=True)
    return fails or (target is not None and statistics.median(times) > target)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    cnn = [sys.executable, "-m", "cnncli"]
    # what an interpreter that does nothing takes on this machine, to compare with
    report("python -c pass", lambda: seconds([sys.executable, "-c", "pass"]), runs, None)
    missed = False
    for arguments, target in COUNTING.items():
        seconds([*cnn, *arguments])  # byte code and disk cache
        compiles = imports_numba(arguments)
        if compiles:
            print(f"cnn {' '.join(arguments)} imports numba", file=sys.stderr)
        missed |= report(
            f"cnn {' '.join(arguments)}", lambda a=arguments: seconds([*cnn, *a]), runs, target, fails=compiles
        )
    with tempfile.TemporaryDirectory() as folder:
        missed |= measure_kernels(cnn, Path(folder), runs)
    return int(missed)


def measure_kernels(cnn: list[str], folder: Path, runs: int) -> bool:
    """Measure the commands that run compiled kernels; return whether one misses its target."""
    data = os.environ.get("CNN_DATA_DIR", "")
    dataset = "mnist" if data and (Path(data) / "mnist").is_dir() else "digits"
    train = [*cnn, "train", "--dataset", dataset, "--epochs", "1", "--limit", "80", "--force"]
    train += ["--run-dir", str(folder / "run")]
    blur = [*cnn, "filter", str(PICTURE), "-k", "gaussian:2", "--force", "-o", str(folder / "out.png")]
    filters = {"cnn filter 512x512 -k sobel": [*blur[:6], "sobel", *blur[7:]], "cnn filter 512x512 -k gaussian:2": blur}
    warm = {"CNN_CACHE_DIR": str(folder / "warm")}
    missed = False
    for name, command in filters.items():
        for _ in range(2):
            seconds(command, **warm)
        missed |= report(f"{name}, warm", lambda c=command: seconds(c, **warm), runs, 0.8)
    seconds(train, **warm)
    missed |= report(f"cnn train --dataset {dataset}, first step, warm", lambda: seconds(train, **warm), runs, 1.5)

    def cold() -> float:
        with tempfile.TemporaryDirectory() as empty:
            return seconds(train, CNN_CACHE_DIR=empty)

    return missed | report(f"cnn train --dataset {dataset}, first step, cold", cold, runs, 15.0)


if __name__ == "__main__":
    sys.exit(main())
