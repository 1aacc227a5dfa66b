"""Every target of speed in one table: what is asked for, what was measured, met or missed.

    CNN_DATA_DIR=... python benchmarks/run_all.py [--minutes 15] [--rounds 5] [--seconds 0.8] [--json FILE]
                                                  [--only train,predict,one,scaling,start,filter,files,avx2]

Needs the `peers` extra, ImageMagick's mogrify for the files, and a quiet machine: a barrier of two threads waits for
the slower one, so other work on the cores slows all contestants down, and not evenly. Every figure is a median of the
rounds, taking turns with the peer; see the scripts themselves. What does not fit into the time is left out and says so.
The rows are Markdown; --json writes everything that was measured.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench_infer
import bench_start
import bench_train
from contest import AVX2, HERE, Contest, machine, race, say_machine, scaling

TRAINING = {
    "lenet5:64": 5.0, "lenet5:128": 5.0, "lenet5:256": 5.0, "resnet20-cifar:128": 2.5, "resnet18-cifar:64": 1.8,
    "mobilenet-v1@128:32": 1.2, "densenet121@64:32": 1.2, "alexnet:64": 1.2, "vgg16:16": 1.6,
}  # fmt: skip
TRAINING_AVX2 = {"lenet5:64": 5.0, "resnet20-cifar:128": 2.5, "resnet18-cifar:64": 1.8}
PREDICTION = dict.fromkeys(bench_infer.BATCHES, 1.5)
ONE = dict.fromkeys(bench_infer.ONE, 1.0)
SCALING = {"resnet18-cifar:64": 1.8}
FILTER = {"uint8": 2.0, "uint16": 1.2, "float32": 1.2}
FILES = 5.0


@dataclass
class Report:
    """The rows of the table, and all that was measured."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, what: str, measured: float, target: float, note: str, *, at_most: bool = False) -> None:
        """Add a row and print it."""
        is_met = measured <= target if at_most else measured >= target
        sign, unit = ("<=", " s") if at_most else (">=", "")
        self._print((what, f"{sign} {target:g}{unit}", f"{measured:.2f}{unit}", "met" if is_met else "missed", note))

    def is_over(self, what: str) -> bool:
        """Return whether the time is over; then `what` is not measured."""
        is_over = time.perf_counter() - self.began > self.seconds
        if is_over:
            self._print((what, "", "", "not measured", "the time was over"))
        return is_over

    def _print(self, row: tuple[str, str, str, str, str]) -> None:
        self.rows.append(row)
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="after which nothing new is begun")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups of rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    options = parser.parse_args()
    say_machine()
    print("\n| what | target | measured | | figures |\n|---|---:|---:|---|---|", flush=True)
    report = Report(60 * options.minutes)
    for name in options.only.split(","):
        GROUPS[name](report, options)
    missed = [what for what, *_, verdict, _ in report.rows if verdict != "met"]
    print(f"\n{len(report.rows) - len(missed)} of {len(report.rows)} met, {time.perf_counter() - report.began:.0f} s")
    if options.json:
        body = {"machine": machine(), "rows": report.rows, "found": report.found}
        Path(options.json).write_text(json.dumps(body, indent=1) + "\n")


def contest(report: Report, options: Any, found: Contest, what: str, target: float, *, avx2: bool = False) -> None:
    """Add the row of a contest."""
    if report.is_over(what):
        return
    facts = race(found, rounds=options.rounds, seconds=options.seconds, avx2=avx2)
    report.found.append(facts)
    mine, peer = (facts["images_per_s"][who] for who in ("cnn", facts["best_peer"]))
    if found.network.endswith(":1"):
        note = f"{1e3 / mine:.3f} ms, {facts['best_peer']} {1e3 / peer:.3f} ms"
    else:
        note = f"{rate(mine)} images/s, {facts['best_peer']} {rate(peer)}"
    if found.work == "train":
        memory = facts["peak_mib"]
        smallest = min(size for who, size in memory.items() if who != "cnn")
        note += f"; {memory['cnn']:,.0f} MiB, {smallest:,.0f}"
    report.add(what, facts["ratio"], target, note)


def rate(value: float) -> str:
    """Return images/s as text."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def train(report: Report, options: Any, targets: dict[str, float] = TRAINING, *, avx2: bool = False) -> None:
    """Add training."""
    for network, target in targets.items():
        what = f"training {network}, times PyTorch{', AVX2' if avx2 else ''}"
        contest(report, options, bench_train.contest_of(network, options.threads), what, target, avx2=avx2)


def train_avx2(report: Report, options: Any) -> None:
    """Add training where both sides compute with AVX2."""
    train(report, options, TRAINING_AVX2, avx2=True)


def predict(report: Report, options: Any) -> None:
    """Add prediction in batches."""
    for network, target in PREDICTION.items():
        what = f"prediction {network}, times the better of onnxruntime and PyTorch"
        contest(report, options, bench_infer.contest_of(network, options.threads), what, target)


def one(report: Report, options: Any) -> None:
    """Add one image: the speed beside onnxruntime's, 1 being as fast."""
    for network, target in ONE.items():
        found = bench_infer.contest_of(network, options.threads)
        what = f"one image {network.partition(':')[0]}, times the speed of the fastest peer"
        contest(report, options, found, what, target)


def scale(report: Report, options: Any) -> None:
    """Add what a second thread brings."""
    for network, target in SCALING.items():
        what = f"training {network}, two threads to one"
        if report.is_over(what):
            continue
        facts = scaling(bench_train.contest_of(network, 2), rounds=options.rounds, seconds=options.seconds)
        report.found.append(facts)
        one_thread, two = facts["images_per_s"].values()
        report.add(what, facts["ratio"], target, f"{rate(one_thread)}, {rate(two)} images/s")


def start(report: Report, options: Any) -> None:
    """Add the time from typing a command to the first step, with and without compiled kernels."""
    with tempfile.TemporaryDirectory() as folder:
        for name, command in bench_start.trainings(Path(folder)).items():
            what = f"{name}: cold start to the first step"
            if report.is_over(what):
                continue
            warm = str(Path(folder) / f"warm-{name}")
            cold_s = bench_start.first_step(command, Path(folder), CNN_CACHE_DIR=warm)
            report.add(what, cold_s, bench_start.COLD_S[name], "one run, an empty store of kernels", at_most=True)
            times = [bench_start.first_step(command, Path(folder), CNN_CACHE_DIR=warm) for _ in range(options.rounds)]
            note = f"{min(times):.2f} to {max(times):.2f} s"
            report.add(
                f"{name}: warm start to the first step",
                statistics.median(times),
                bench_start.WARM_S,
                note,
                at_most=True,
            )
            report.found.append({"bench": "start", "network": name, "cold_s": cold_s, "warm_s": times})


def image_filter(report: Report, options: Any) -> None:
    """Add filters in memory, as the processor allows and with AVX2."""
    for simd, environment in (("", {}), (", AVX2", AVX2)):
        if report.is_over(f"filter{simd}"):
            continue
        words = ["bench_filter.py", "--reuse", "--sizes", "3,5,9,15,31", "--names", "sharpen"]
        facts = script([*words, "--repeats", str(options.rounds)], environment)
        report.found.append(facts | {"simd": simd})
        for row in facts["rows"]:
            note = f"{row['cnn']:.1f} ms, OpenCV {row['opencv']:.1f}"
            what = f"filter {row['image']} {row['kernel']}{simd}, times OpenCV"
            report.add(what, row["ratio"], FILTER[row["image"]], note)


def files(report: Report, options: Any) -> None:
    """Add a folder of photographs."""
    what = "1,000 photographs, times mogrify"
    if report.is_over(what):
        return
    facts = script(
        ["bench_filter_files.py", "--only", "folder", "--repeats", str(options.rounds), "--without-vips"], {}
    )
    report.found.append(facts)
    times = facts["folder"]
    if "mogrify" in times:
        note = f"{times['cnn']:.2f} s, mogrify {times['mogrify']:.2f}"
        report.add(what, times["mogrify"] / times["cnn"], FILES, note)


def script(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run another script and return its last line, which is JSON."""
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


GROUPS: dict[str, Callable[[Report, Any], None]] = {
    "train": train, "predict": predict, "one": one, "scaling": scale, "start": start, "filter": image_filter,
    "files": files, "avx2": train_avx2,
}  # fmt: skip


if __name__ == "__main__":
    main()
