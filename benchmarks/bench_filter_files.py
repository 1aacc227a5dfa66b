"""Whole processes on files: `cnn filter` against `vips conv` and ImageMagick, from start to the written file.

    python benchmarks/bench_filter_files.py [--only picture|folder] [--photos 1000] [--repeats 5] [--huge] [--levels]

One 12-megapixel picture as JPEG and PNG, a folder of photographs 640x480 in one command, and with --huge a picture of
20,000 x 20,000. The pictures are drawn here (octaves of noise with grain, as photographs have). Programs take turns;
figures are medians of the wall time. vips runs once a file, so it is timed on a tenth of the folder. --levels prints
the table behind the default of --compress. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from cnncli.io.images.encode import encode_image
from cnncli.io.images.image import Image

KERNEL = "0 -1 0\n-1 5 -1\n0 -1 0\n"
MORPHOLOGY = "3x3: 0 -1 0 -1 5 -1 0 -1 0"
CNN = str(Path(sys.executable).with_name("cnn"))


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return an RGB picture (H, W, 3) uint8 with structure at every scale and grain."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 120, np.float32)
    for cells, strength in ((4, 90), (16, 50), (64, 25), (256, 12)):
        rough = rng.random((max(2, height * cells // 4000 + 2), max(2, width * cells // 4000 + 2), 3)).astype(
            np.float32
        )
        for channel in range(3):
            plane = Pillow.fromarray(rough[..., channel] - 0.5)
            total[..., channel] += strength * np.asarray(plane.resize((width, height), Pillow.Resampling.BICUBIC))
    total += rng.normal(0, 2.5, (height, width, 1)).astype(np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)


def seconds(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return wall time in seconds and peak memory in MiB of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = status
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return took, usage.ru_maxrss / 1024


def race(commands: dict[str, Sequence[str]], folder: Path, repeats: int) -> dict[str, float]:
    """Return the median wall time of each command; the commands take turns."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            for place in folder.glob("out-*"):  # a folder that is full of old outputs would slow the next program
                shutil.rmtree(place)
                place.mkdir()
            took, _ = seconds(command, folder)
            if turn:  # the first turn fills the caches
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def one_picture(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Time one 12-megapixel picture in two formats."""
    pixels = photograph(3000, 4000)
    Pillow.fromarray(pixels).save(folder / "a.jpg", quality=92)
    Pillow.fromarray(pixels).save(folder / "a.png")
    found = {}
    for extension in ("jpg", "png"):
        commands: dict[str, Sequence[str]] = {
            "cnn": [CNN, "filter", f"a.{extension}", "-k", "sharpen", "-q", "-f", "-o", f"cnn.{extension}"]
        }
        if shutil.which("vips"):
            commands["vips"] = ["vips", "conv", f"a.{extension}", f"vips.{extension}", "kernel.mat"]
        if magick := find_convert():
            commands["convert"] = [magick, f"a.{extension}", "-morphology", "Convolve", MORPHOLOGY, f"im.{extension}"]
        found[extension] = race(commands, folder, repeats)
        found[extension] |= {
            f"{n} MB": (folder / f"{n}.{extension}").stat().st_size / 1e6 for n in ("cnn", "vips") if n in commands
        }
    return found


def folder_of_photographs(folder: Path, count: int, repeats: int, *, has_vips: bool) -> dict[str, float]:
    """Time a folder in one command; vips in a shell loop over a tenth of it, times ten."""
    (folder / "photos").mkdir()
    (folder / "tenth").mkdir()
    for place in ("out-cnn", "out-im", "out-vips"):
        (folder / place).mkdir()
    large = photograph(3000, 4000, seed=1)
    rng = np.random.default_rng(2)
    for number in range(count):
        top, left = rng.integers(0, 3000 - 480), rng.integers(0, 4000 - 640)
        picture = Pillow.fromarray(large[top : top + 480, left : left + 640])
        picture.save(folder / f"photos/{number:04}.jpg", quality=90)
        if number % 10 == 0:
            picture.save(folder / f"tenth/{number:04}.jpg", quality=90)
    commands: dict[str, Sequence[str]] = {
        "cnn": [CNN, "filter", "photos", "-r", "-k", "sharpen", "-q", "-o", "out-cnn/"]
    }
    if shutil.which("mogrify"):
        words = f"mogrify -path out-im -morphology Convolve '{MORPHOLOGY}' photos/*.jpg"
        commands["mogrify"] = ["bash", "-c", words]
    if has_vips and shutil.which("vips"):
        words = 'for f in tenth/*.jpg; do vips conv "$f" out-vips/"${f##*/}" kernel.mat; done'
        commands["vips loop"] = ["bash", "-c", words]
    found = race(commands, folder, repeats)
    if "vips loop" in found:
        found["vips loop"] *= count / len(list((folder / "tenth").iterdir()))
    return found


def huge_picture(folder: Path) -> dict[str, float]:
    """Filter 20,000 x 20,000 RGB once and return time and peak memory."""
    tile = photograph(2500, 2500, seed=3)
    row = np.tile(tile, (1, 8, 1))
    pixels = np.empty((20_000, 20_000, 3), np.uint8)
    for top in range(0, 20_000, 2500):
        pixels[top : top + 2500] = row
    (folder / "huge.png").write_bytes(encode_image(Image(pixels), "PNG", level=1, threads=2))
    del pixels, row
    words = ["filter", "huge.png", "-k", "sharpen", "-q", "-o", "huge-out.png", "--max-pixels", "400000000"]
    took, peak = seconds([CNN, *words], folder)
    return {"seconds": took, "peak GiB": peak / 1024}


def levels() -> list[dict[str, object]]:
    """Time each --compress level on a photograph and on its edges, and what Pillow's writer does."""
    picture = photograph(3000, 4000)
    edges = np.abs(np.diff(picture.astype(np.int16), axis=1, prepend=0)).clip(0, 255).astype(np.uint8)
    rows = []
    for name, pixels in (("photograph", picture), ("edges", edges)):
        for level in range(10):
            began = time.perf_counter()
            size = len(encode_image(Image(pixels), "PNG", level=level, threads=2))
            rows.append({"picture": name, "level": level, "s": time.perf_counter() - began, "MB": size / 1e6})
        for level in (1, 6):
            stream = io.BytesIO()
            began = time.perf_counter()
            Pillow.fromarray(pixels).save(stream, "PNG", compress_level=level)
            took = time.perf_counter() - began
            rows.append({"picture": name, "level": f"Pillow {level}", "s": took, "MB": stream.tell() / 1e6})
    return rows


def find_convert() -> str | None:
    """Return ImageMagick's `convert` (and not another program of that name)."""
    for name in ("/usr/bin/convert", shutil.which("convert")):
        if name and Path(name).exists():
            said = subprocess.run([name, "-version"], capture_output=True, text=True, check=False).stdout
            if "ImageMagick" in said and "stand-in" not in said:
                return name
    return None


def main() -> None:
    """Print the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["picture", "folder"])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-vips", action="store_true", help="of the folder: mogrify alone is the peer")
    parser.add_argument("--huge", action="store_true", help="also filter 20,000 x 20,000 (needs 4 GiB)")
    parser.add_argument("--levels", action="store_true", help="only the table of --compress")
    options = parser.parse_args()
    report: dict[str, object] = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
    if options.levels:
        report["levels"] = rows = levels()
        for row in rows:
            print(f"{row['picture']:<11} {row['level']!s:>9}  {row['s']:6.3f} s  {row['MB']:6.2f} MB")
        print(json.dumps(report))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kernel.mat").write_text(f"3 3\n{KERNEL}")
        if options.only != "folder":
            report["picture"] = one_picture(folder, options.repeats)
            for extension, times in report["picture"].items():
                shown = "  ".join(f"{program} {value:.3f}" for program, value in times.items())
                ratios = "  ".join(f"{times['cnn'] / times[p]:.2f}x {p}" for p in ("vips", "convert") if p in times)
                print(f"12 Mpx {extension}: {shown}   = {ratios}")
        if options.only != "picture":
            report["folder"] = times = folder_of_photographs(
                folder, options.photos, options.repeats, has_vips=not options.without_vips
            )
            shown = "  ".join(f"{program} {value:.2f} s" for program, value in times.items())
            ratios = "  ".join(f"{times[p] / times['cnn']:.1f} times {p}" for p in times if p != "cnn")
            print(f"{options.photos} photographs: {shown}   as fast as {ratios}")
        if options.huge:
            report["huge"] = huge = huge_picture(folder)
            print(f"20,000 x 20,000: {huge['seconds']:.1f} s, peak {huge['peak GiB']:.2f} GiB")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
