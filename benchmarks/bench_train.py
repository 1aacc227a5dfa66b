"""Training speed and peak memory: cnncli against PyTorch, the same threads, taking turns.

    python benchmarks/bench_train.py [PRESET[@SIZE][:BATCH] ...] [--seconds 1] [--rounds 5] [--threads 2] [--avx2]
                                     [--compile] [--json]

Without names: LeNet-5 in batches of 64, 128 and 256 (Adam). Other networks train with momentum SGD.

Ours is one call of `Session.train_batch` on images of bytes: a random choice of them, scaling, forward, backward and
the optimizer. PyTorch finds its batches in memory as floats in its layout, without a DataLoader or a gather, and uses
its fused optimizer; it runs in NCHW and in channels_last, and with --compile through torch.compile, too, which takes
minutes to compile (before the warm-up; it needs a C++ compiler). The ratio is to the fastest.

Every contestant is a process that stays and warms up for as long; a figure is the median of the rounds, the ratio the
median of the ratios of the rounds. --avx2 restricts both sides to AVX2. Memory is the peak resident size of the whole
process [MiB].
"""

from __future__ import annotations

import argparse
import json

from contest import Contest, line_of, machine, race, say_machine

LENET5 = ("lenet5:64", "lenet5:128", "lenet5:256")
LAYOUTS = ("torch nchw", "torch channels_last")
COMPILED = ("torch compiled nchw", "torch compiled channels_last")


def contest_of(network: str, threads: int, *, compile_too: bool = False) -> Contest:
    """Return the contest of a network: LeNet-5 with Adam, as `cnn train` does, the others with momentum SGD."""
    peers = LAYOUTS + COMPILED if compile_too else LAYOUTS
    return Contest("train", network, peers, threads, "adam" if network.startswith("lenet5") else "momentum")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="PRESET[@SIZE][:BATCH]")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--avx2", action="store_true", help="both sides compute with AVX2")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--json", action="store_true", help="one JSON object per network")
    options = parser.parse_args()
    if not options.json:
        say_machine()
    for network in options.networks or LENET5:
        contest = contest_of(network, options.threads, compile_too=options.compile)
        found = race(contest, rounds=options.rounds, seconds=options.seconds, avx2=options.avx2)
        if options.json:
            print(json.dumps(found | {"machine": machine()}), flush=True)
            continue
        peak = ", ".join(f"{who} {size:,.0f}" for who, size in found["peak_mib"].items())
        print(f"{line_of(found)}; MiB: {peak}", flush=True)


if __name__ == "__main__":
    main()
