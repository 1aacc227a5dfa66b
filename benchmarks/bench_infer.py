"""Prediction speed: `Session.predict` against onnxruntime and PyTorch, the same threads, taking turns.

    python benchmarks/bench_infer.py [PRESET[@SIZE][:BATCH] ...] [--one] [--seconds 1] [--rounds 5] [--threads 2]
                                     [--avx2] [--compile] [--json]

Without names: LeNet-5 and ResNet-20 in batches of 256, ResNet-18 in batches of 64; with --one a single image of LeNet-5
and of ResNet-18, warm, in process: the figures are then the milliseconds of one call.

The peers get floats in memory; ours gets bytes and scales them. onnxruntime runs the network as PyTorch exports it, for
just this batch, with all its optimisations; PyTorch runs in inference mode in NCHW and in channels_last, as it is and
frozen (batch norms in the convolutions, weights in oneDNN's layout), and with --compile through torch.compile. The
ratio is to the fastest. Answers are compared (1e-4) before anything is timed.

Every contestant is a process that stays and warms up for as long; a figure is the median of the rounds, the ratio the
median of the ratios of the rounds. --avx2 restricts all but onnxruntime, which has no such switch, to AVX2.
"""

from __future__ import annotations

import argparse
import json

from contest import Contest, line_of, machine, race, say_machine

BATCHES = ("lenet5:256", "resnet20-cifar:256", "resnet18-cifar:64")
ONE = ("lenet5:1", "resnet18-cifar:1")
PEERS = ("onnxruntime", "torch nchw", "torch channels_last", "torch frozen nchw", "torch frozen channels_last")
COMPILED = ("torch compiled nchw", "torch compiled channels_last")


def contest_of(network: str, threads: int, *, compile_too: bool = False) -> Contest:
    """Return the contest of a network."""
    return Contest("predict", network, PEERS + COMPILED if compile_too else PEERS, threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="PRESET[@SIZE][:BATCH]")
    parser.add_argument("--one", action="store_true", help="a single image of LeNet-5 and of ResNet-18")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--avx2", action="store_true", help="ours and PyTorch compute with AVX2")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--json", action="store_true", help="one JSON object per network")
    options = parser.parse_args()
    if not options.json:
        say_machine()
    for network in options.networks or (ONE if options.one else BATCHES):
        contest = contest_of(network, options.threads, compile_too=options.compile)
        found = race(contest, rounds=options.rounds, seconds=options.seconds, avx2=options.avx2)
        if options.json:
            print(json.dumps(found | {"machine": machine()}), flush=True)
            continue
        print(line_of(found), flush=True)
        if network.endswith(":1"):
            print("  ms: " + ", ".join(f"{who} {1e3 / rate:.3f}" for who, rate in found["images_per_s"].items()))


if __name__ == "__main__":
    main()
