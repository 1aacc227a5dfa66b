"""Median, minimum and maximum of a window: cnncli against OpenCV's `medianBlur`, `erode` and `dilate` in one process.

    python benchmarks/bench_rank.py [--size 3000x4000] [--channels 3] [--repeats 7] [--longest 15]

Both sides get arrays in memory and take turns; figures are medians of the wall time. Results are compared: the border
of both repeats the pixels at the edge. OpenCV's `medianBlur` takes 8 bits for every size, 16 bits and floats up to 5x5.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_steps

SIZES = {"median": (3, 5, 7, 9, 15), "minimum": (3, 5, 15), "maximum": (3, 5, 15)}


def peer(kind: str, size: int, image: NDArray[Any]) -> Callable[[], NDArray[Any]] | None:
    """Return OpenCV's function of the same values; None where it has none."""
    if kind == "median":
        if size > 5 and image.dtype != np.uint8:
            return None
        return lambda: cv2.medianBlur(image, size)
    function = cv2.erode if kind == "minimum" else cv2.dilate
    window = np.ones((size, size), np.uint8)
    return lambda: function(image, window, borderType=cv2.BORDER_REPLICATE)


def main() -> None:
    """Print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="3000x4000")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", default="uint8,uint16,float32")
    parser.add_argument("--longest", type=int, default=15, help="side of the largest window")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    cv2.setNumThreads(options.threads)
    rng = np.random.default_rng(1)
    base = rng.normal(128, 40, (height, width, options.channels)).clip(0, 255)
    rows = []
    for dtype in options.dtypes.split(","):
        image = (base * (257 if dtype == "uint16" else 1)).astype(dtype)
        for kind, sizes in SIZES.items():
            for size in (one for one in sizes if one <= options.longest):
                plan = FilterPlan(parse_steps([f"{kind}:{size}"]))
                out = np.empty_like(image)
                theirs = peer(kind, size, image)

                def ours(plan: FilterPlan = plan, image: NDArray[Any] = image, out: NDArray[Any] = out) -> NDArray[Any]:
                    return apply_filter(image, plan, threads=options.threads, compiled=True, out=out).pixels

                if theirs is not None and not np.array_equal(ours(), theirs().reshape(image.shape)):
                    raise SystemExit(f"{kind} {size} {dtype}: the results differ")
                times: dict[str, list[float]] = {"cnn": [], "OpenCV": []}
                for _ in range(options.repeats):
                    for name, work in (("cnn", ours), ("OpenCV", theirs)):
                        if work is not None:
                            began = time.perf_counter()
                            work()
                            times[name].append(time.perf_counter() - began)
                row: dict[str, Any] = {"dtype": dtype, "kind": kind, "size": size}
                row |= {name: 1e3 * statistics.median(found) for name, found in times.items() if found}
                rows.append(row)
                against = f"{row['OpenCV']:8.1f}  {row['OpenCV'] / row['cnn']:6.2f}" if "OpenCV" in row else ""
                print(f"{dtype:8} {kind:8} {size:3} {row['cnn']:8.1f} ms {against}", flush=True)
    print(json.dumps({"machine": platform.machine(), "opencv": cv2.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
