"""Image filter in this process against OpenCV's filter2D: same image, same kernel, same threads, alternating calls.

    python benchmarks/bench_filter.py [--height 3000 --width 4000] [--threads 2] [--repeats 5] [--reuse]
    CNN_SIMD=8 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma python benchmarks/bench_filter.py --reuse

Every figure is a median of the repeats, in milliseconds for one image; each call allocates its result, as both
libraries do for a user; with --reuse both write into an array that is there already. The second line compiles for AVX2
on any newer processor (OpenCV still takes what the processor has). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time

import cv2
import numpy as np

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Kernel, KernelStep, named_kernel, parse_border

TARGETS = {"uint8": 2.0, "uint16": 1.2, "float32": 1.2}  # for dense kernels and sharpen; 1 for the others
NAMED = ("sharpen", "sobel", "box:9", "gaussian:1.5", "gaussian:5", "log:2", "motion:15,45", "gabor:30")


def milliseconds(calls: dict[str, object], repeats: int) -> dict[str, float]:
    """Return the median time of each call; the calls take turns, so that a busy machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms caches and compiles
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def opencv(image: np.ndarray, kernel: Kernel, place: np.ndarray | None) -> object:
    """Return the call of OpenCV for a kernel; a gradient is two calls and their magnitude."""
    weights = [w[0].astype(np.float32) for w in kernel.weights]
    border = cv2.BORDER_REPLICATE
    if kernel.combine == "stack":
        return lambda: cv2.filter2D(image, -1, weights[0], place, borderType=border)
    return lambda: cv2.magnitude(*(cv2.filter2D(image, cv2.CV_32F, w, borderType=border) for w in weights))


def compare(image: np.ndarray, kernel: Kernel, threads: int, repeats: int, fresh: bool) -> dict[str, float]:
    """Time one kernel on one image and check that both answers agree."""
    how = "auto" if image.dtype == np.float32 else "clip"
    plan = FilterPlan((KernelStep(kernel),), border=parse_border("replicate"), range=how)
    peer = opencv(image, kernel, None if fresh else np.empty_like(image))
    place = None if fresh else np.empty_like(image)

    def ours() -> np.ndarray:
        return apply_filter(image, plan, threads=threads, compiled=True, out=place).pixels

    if kernel.combine == "stack":
        scale = 1.0 if image.dtype.kind == "u" else 1e-4 * float(image.max())
        error = float(np.abs(ours().astype(np.float64) - peer()).max())
        if error > scale:
            raise SystemExit(f"{kernel.name}: answers differ by {error}")
    times = milliseconds({"cnn": ours, "opencv": peer}, repeats)
    return {**times, "ratio": times["opencv"] / times["cnn"]}


def dense(size: int) -> Kernel:
    """Return a kernel of random numbers that add up to 1: no zeros, nothing separable."""
    weights = np.random.default_rng(size).random((size, size)).astype(np.float32).astype(np.float64)
    return Kernel(f"dense {size}x{size}", (weights / weights.sum())[None, None])


def target(row: dict[str, object]) -> float:
    """Return how many times as fast as OpenCV a case is to be."""
    is_plain = str(row["kernel"]).startswith(("dense", "sharpen"))
    return TARGETS[str(row["image"])] if is_plain else 1.0


def peak_mib() -> float:
    """Return the largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one line a case, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--reuse", action="store_true", help="write into arrays that are there already")
    parser.add_argument("--types", default="uint8,uint16,float32")
    parser.add_argument("--sizes", default="3,5,7,9,15,31")
    parser.add_argument("--names", default=";".join(NAMED), help="named kernels, with semicolons between them")
    given = parser.parse_args()
    cv2.setNumThreads(given.threads)
    image = np.random.default_rng(0).integers(0, 256, (given.height, given.width, 3), dtype=np.uint8)
    plan = FilterPlan((KernelStep(dense(9)),))
    apply_filter(image[:64], plan, compiled=True)
    before = peak_mib()
    result = apply_filter(image, plan, threads=given.threads, compiled=True).pixels
    extra = peak_mib() - before - result.nbytes / 2**20
    del result
    images = {"uint8": image, "uint16": image.astype(np.uint16) * 257, "float32": image.astype(np.float32) / 255}
    rows = []
    print(f"{given.width}x{given.height} RGB, {given.threads} threads, {platform.processor() or platform.machine()}, "
          f"OpenCV {cv2.__version__}")  # fmt: skip
    print(f"{'image':8s} {'kernel':14s} {'cnn ms':>8s} {'opencv ms':>10s} {'ratio':>6s}")
    for dtype, pixels in images.items():
        if dtype not in given.types.split(","):
            continue
        kernels = [dense(int(size)) for size in given.sizes.split(",") if size]
        kernels += [named_kernel(name) for name in given.names.split(";") if name]
        for kernel in kernels:
            row = compare(pixels, kernel, given.threads, given.repeats, not given.reuse)
            rows.append({"image": dtype, "kernel": kernel.name, **row})
            print(
                f"{dtype:8s} {kernel.name:14s} {row['cnn']:8.1f} {row['opencv']:10.1f} {row['ratio']:6.2f}", flush=True
            )
    print(f"memory above input and output: {extra:.1f} MiB")
    missed = [f"{row['image']} {row['kernel']}" for row in rows if row["ratio"] < target(row)]
    print("targets missed: " + (", ".join(missed) or "none"))
    body = {
        "bench": "filter",
        "threads": given.threads,
        "cores": os.cpu_count(),
        "extra_mib": round(extra, 1),
        "rows": rows,
    }
    print(json.dumps(body))


if __name__ == "__main__":
    main()
