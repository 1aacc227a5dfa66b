"""Whole-process times of commands that only count: help, params, shape. One JSON line a command; medians of N runs.

    python benchmarks/bench_start.py [--runs 5]

The targets are those of a person who types a command and waits: 0.15 s for help, 0.4 s for small networks and VGG16,
0.8 s for ResNet-152 and DenseNet-169. The script ends with 1 where a median misses its target or where a command has
imported numba.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

TARGETS = {  # seconds
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


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    missed = False
    # what an interpreter that does nothing takes on this machine, to compare with
    floor = statistics.median(seconds([sys.executable, "-c", "pass"]) for _ in range(runs))
    print(json.dumps({"command": "python -c pass", "median_s": round(floor, 3), "runs": runs}))
    for arguments, target in TARGETS.items():
        command = [sys.executable, "-m", "cnncli", *arguments]
        seconds(command)  # byte code and disk cache
        times = [seconds(command) for _ in range(runs)]
        probe = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, check=True)
        median = statistics.median(times)
        compiled = probe.stderr.strip().endswith("True")
        missed |= median > target or compiled
        line = {
            "command": " ".join(("cnn", *arguments)),
            "median_s": round(median, 3),
            "min_s": round(min(times), 3),
            "target_s": target,
            "imports_numba": compiled,
            "runs": runs,
        }
        print(json.dumps(line), flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
