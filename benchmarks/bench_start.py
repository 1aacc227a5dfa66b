"""Whole-process times, from typing a command to its end, and to the first step of training. Medians of N runs.

    CNN_DATA_DIR=... python benchmarks/bench_start.py [--runs 5] [--only training]

The targets are those of a person who types a command and waits. Commands that only count must not import numba. The
first step begins when `Session.train_batch` is called for the first time: data are read and checked, every kernel is
compiled or loaded, the run directory and its first checkpoint are written. "Cold" has an empty cache of compiled
kernels. LeNet-5 trains on MNIST where CNN_DATA_DIR holds it, else on the bundled digits; ResNet-18 on random arrays as
large as CIFAR-10. Byte code is cached, as it is after an installation, in a folder of this script. The script ends with
1 where a median misses its target.
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
from functools import partial
from pathlib import Path

import numpy as np

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
WARM_S, COLD_S = 1.0, {"LeNet-5": 15.0, "ResNet-18": 30.0}
IMPORTS = (
    "import sys\nfrom cnncli.cli.main import main\n"
    "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    print('numba' in sys.modules, file=sys.stderr)"
)


FIRST_STEP = """
import os, sys, time
from cnncli.tasks.train import loop
make_session = loop.make_engine_session
def and_end(plan):
    session = make_session(plan)
    train_batch = session.train_batch
    def first(*arguments):
        begin = time.perf_counter()
        train_batch(*arguments)
        print("first step", begin, flush=True)
        os._exit(0)
    session.train_batch = first
    return session
loop.make_engine_session = and_end
from cnncli.cli.main import main
main(sys.argv[1:])
"""


def environment_of(**more: str) -> dict[str, str]:
    """Return the environment of a user: byte code is cached, but not among the sources."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return found | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "cnncli-bytecode")} | more


def seconds(command: list[str], **environment: str) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment_of(**environment))
    return time.perf_counter() - start


def trainings(folder: Path) -> dict[str, list[str]]:
    """Return arguments of `cnn` that train LeNet-5 and ResNet-18; the data of the second are written to `folder`."""
    data = os.environ.get("CNN_DATA_DIR", "")
    dataset = "mnist" if data and (Path(data) / "mnist").is_dir() else "digits"
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 50_000), ("test", 10_000)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = random.integers(0, 10, count)
    np.savez(folder / "cifar.npz", **arrays)
    return {
        "LeNet-5": ["train", "--dataset", dataset],
        "ResNet-18": ["train", "resnet18-cifar", "--dataset", str(folder / "cifar.npz")],
    }


def first_step(arguments: list[str], folder: Path, **environment: str) -> float:
    """Return the seconds from typing `cnn` with arguments of training to the beginning of the first step."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        command = [sys.executable, "-c", FIRST_STEP, *arguments, "--run-dir", f"{run}/run"]
        start = time.perf_counter()  # a clock of the system, on Linux and macOS
        done = subprocess.run(command, capture_output=True, text=True, env=environment_of(**environment), check=False)
    for line in done.stdout.splitlines():
        if line.startswith("first step"):
            return float(line.split()[-1]) - start
    raise SystemExit(f"cnn {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


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
    parser.add_argument("--only", choices=["training"], help="leave the other commands out")
    options = parser.parse_args()
    runs, is_short = options.runs, options.only == "training"
    cnn = [sys.executable, "-m", "cnncli"]
    # what an interpreter that does nothing takes on this machine, to compare with
    report("python -c pass", lambda: seconds([sys.executable, "-c", "pass"]), runs, None)
    missed = False
    for arguments, target in () if is_short else COUNTING.items():
        seconds([*cnn, *arguments])  # byte code and disk cache
        compiles = imports_numba(arguments)
        if compiles:
            print(f"cnn {' '.join(arguments)} imports numba", file=sys.stderr)
        missed |= report(
            f"cnn {' '.join(arguments)}", lambda a=arguments: seconds([*cnn, *a]), runs, target, fails=compiles
        )
    with tempfile.TemporaryDirectory() as folder:
        if not is_short:
            missed |= measure_filters(cnn, Path(folder), runs)
        missed |= measure_training(cnn, Path(folder), runs)
    return int(missed)


def measure_filters(cnn: list[str], folder: Path, runs: int) -> bool:
    """Measure filters of small pictures; return whether one misses its target."""
    blur = [*cnn, "filter", str(PICTURE), "-k", "gaussian:2", "--force", "-o", str(folder / "out.png")]
    filters = {"cnn filter 512x512 -k sobel": [*blur[:6], "sobel", *blur[7:]], "cnn filter 512x512 -k gaussian:2": blur}
    warm = {"CNN_CACHE_DIR": str(folder / "warm")}
    missed = False
    for name, command in filters.items():
        for _ in range(2):
            seconds(command, **warm)
        missed |= report(f"{name}, warm", lambda c=command: seconds(c, **warm), runs, 0.8)
    return missed


def measure_training(cnn: list[str], folder: Path, runs: int) -> bool:
    """Measure training up to its first step, and a whole run of one batch; return whether one misses its target."""
    missed = False
    for name, arguments in trainings(folder).items():
        warm = {"CNN_CACHE_DIR": str(folder / f"warm-{name}")}

        def cold(a: list[str] = arguments) -> float:
            with tempfile.TemporaryDirectory() as empty:
                return first_step(a, folder, CNN_CACHE_DIR=empty)

        missed |= report(f"{name}: first step, cold", cold, 1, COLD_S[name])
        first_step(arguments, folder, **warm)
        again = partial(first_step, arguments, folder, **warm)
        missed |= report(f"{name}: first step, warm", again, runs, WARM_S)
    one_batch = [*cnn, *trainings(folder)["LeNet-5"], "--epochs", "1", "--limit", "80", "--force"]
    one_batch += ["--run-dir", str(folder / "run")]
    warm = {"CNN_CACHE_DIR": str(folder / "warm-LeNet-5")}
    seconds(one_batch, **warm)
    return missed | report("LeNet-5: one batch, start to exit, warm", lambda: seconds(one_batch, **warm), runs, 1.5)


if __name__ == "__main__":
    sys.exit(main())
