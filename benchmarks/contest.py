"""Contestants in processes of their own take turns; only one of them runs at a time."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: of the environment: everybody computes with AVX2, whatever the processor has (onnxruntime cannot be told)
AVX2 = {
    "CNN_SIMD": "8", "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma",
    "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}  # fmt: skip
CLOSE = 0.85  # of the fastest peer: whoever is slower than this in the first turn does not come to another


@dataclass(frozen=True)
class Contest:
    """What is measured.

    Parameters
    ----------
    work : {"train", "predict"}
    network : str
        PRESET[@SIZE]:BATCH
    peers : tuple of str
        As peers.py calls them.
    threads : int
    optimizer : {"adam", "momentum"}
        Of training.
    """

    work: str
    network: str
    peers: tuple[str, ...]
    threads: int = 2
    optimizer: str = "momentum"


class Worker:
    """A process with one contestant; it is stopped (SIGSTOP) between its turns, so no thread of it waits in a loop."""

    def __init__(self, contest: Contest, who: str, threads: int, answers: Path, *, warm_up: float, avx2: bool) -> None:
        preset, _, batch = contest.network.partition(":")
        name, _, size = preset.partition("@")
        task = {"work": contest.work, "who": who, "preset": name, "size": int(size or 0), "batch": int(batch or 64)}
        task |= {"threads": threads, "optimizer": contest.optimizer, "warm_up": warm_up, "answers": str(answers)}
        command = [sys.executable, str(HERE / "contestant.py"), json.dumps(task)]
        environment = os.environ | (AVX2 if avx2 else {})
        self.who, self.peak_mib = who, 0.0
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115, it lives as long as the process
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, text=True, env=environment)
        ready = self._answer()
        self.has_compiled, self.step_s = ready["has_compiled"], ready["step_s"]
        self._pause()

    def turn(self, seconds: float) -> float:
        """Return images per second of one turn."""
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        found = self._answer()
        self._pause()
        self.peak_mib = found["peak_mib"]
        return float(found["images_per_s"])

    def end(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()
        self._log.close()

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"{self.who} failed:\n{self._log.read()[-2000:]}")
        return json.loads(line)


def race(contest: Contest, *, rounds: int, seconds: float, avx2: bool = False) -> dict[str, Any]:
    """Return medians of images per second and the ratio of ours to the fastest peer: the median over the rounds.

    All contestants warm up for as long. Peers that are clearly slower than another in one turn leave; the others take
    turns with us, forwards and backwards. The answers of predictions are compared first.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers, warm_up = Path(folder) / "answers.npy", max(1.0, seconds)
        workers: list[Worker] = []
        try:
            ours = Worker(contest, "cnn", contest.threads, answers, warm_up=warm_up, avx2=avx2)
            workers.append(ours)
            if ours.has_compiled:  # once more, with the code from the disk: the compiler would count as memory
                ours.end()
                ours = workers[0] = Worker(contest, "cnn", contest.threads, answers, warm_up=warm_up, avx2=avx2)
            first: dict[str, float] = {}
            memory: dict[str, float] = {}
            for who in contest.peers:
                workers.append(Worker(contest, who, contest.threads, answers, warm_up=warm_up, avx2=avx2))
                first[who] = workers[-1].turn(seconds)
                memory[who] = workers[-1].peak_mib
            for worker in workers[1:]:
                if first[worker.who] < CLOSE * max(first.values()):
                    worker.end()
            workers = [ours, *(one for one in workers[1:] if first[one.who] >= CLOSE * max(first.values()))]
            turns = alternate(workers, rounds, seconds)
            memory |= {worker.who: worker.peak_mib for worker in workers}
        finally:
            for worker in workers:
                worker.end()
    medians = {who: statistics.median(rates) for who, rates in turns.items()}
    best = max((who for who in turns if who != "cnn"), key=lambda who: medians[who])
    ratio = statistics.median(mine / peer for mine, peer in zip(turns["cnn"], turns[best], strict=True))
    return {
        "bench": contest.work, "network": contest.network, "threads": contest.threads, "rounds": rounds,
        "avx2": avx2, "images_per_s": first | medians, "best_peer": best, "ratio": ratio, "peak_mib": memory,
    }  # fmt: skip


def scaling(contest: Contest, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Return images per second of ours with one thread and with `contest.threads`, and the median of the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        answers, workers = Path(folder) / "answers.npy", []
        try:
            for count in (1, contest.threads):
                who = f"cnn {count}"
                workers.append(Worker(contest, who, count, answers, warm_up=max(1.0, seconds), avx2=False))
            turns = alternate(workers, rounds, seconds)
        finally:
            for worker in workers:
                worker.end()
    one, many = turns.values()
    medians = {who: statistics.median(rates) for who, rates in turns.items()}
    ratio = statistics.median(b / a for a, b in zip(one, many, strict=True))
    return {"bench": "scaling", "network": contest.network, "images_per_s": medians, "ratio": ratio, "rounds": rounds}


def alternate(workers: list[Worker], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the rates of every worker, round by round."""
    turns: dict[str, list[float]] = {worker.who: [] for worker in workers}
    for number in range(rounds):
        for worker in workers if number % 2 else reversed(workers):
            turns[worker.who].append(worker.turn(seconds))
    return turns


def line_of(found: dict[str, Any]) -> str:
    """Return one line for people."""
    rates = ", ".join(f"{who} {rate:,.0f}" if rate >= 100 else f"{who} {rate:.1f}"
                      for who, rate in found["images_per_s"].items())  # fmt: skip
    simd = " (AVX2)" if found.get("avx2") else ""
    return f"{found['bench']} {found['network']}{simd}: {found['ratio']:.2f} times; images/s: {rates}"


def machine() -> dict[str, Any]:
    """Return what the figures belong to: processor, its features, load, versions."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", about)
    flags = re.search(r"flags\s*: (.*)", about)
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    wanted = ("avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile")
    versions = {}
    for package in ("numpy", "numba", "torch", "onnxruntime", "opencv-python-headless"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "cpu": name[1] if name else platform.processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2),
        "features": [one for one in wanted if flags and one in flags[1].split()],
        "commit": commit, "system": platform.platform(), "python": platform.python_version(), "versions": versions,
    }  # fmt: skip


def say_machine() -> None:
    """Print the machine in two lines."""
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {' '.join(facts['features'])}; load {facts['load']}")
    print(
        f"commit {facts['commit']}, " + ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        flush=True,
    )
