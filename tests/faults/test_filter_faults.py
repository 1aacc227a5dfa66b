"""Every bad image, kernel and option that `cnn filter` must refuse; the id of a case begins with its row.

Rows 1-39 and 92-101 of README.md in this folder. The contract itself is in installed.py.
"""

from __future__ import annotations

# ruff: noqa: E501
# each case of the tables stays on one line
import hashlib
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from faults.installed import CNN, Run, assert_refused, bound_by_permissions, fingerprint, run
from PIL import Image

Build = Callable[[Path], None]


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(format: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    picture(mode).save(stream, format, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


def bomb(width: int, height: int) -> bytes:
    return png_header(width, height) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def flipped_bit(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


def tiff_float(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.float32)).save(stream, "TIFF")
    return stream.getvalue()


def file(name: str, data: bytes) -> Build:
    return lambda folder: (folder / name).write_bytes(data) and None


def both(*builds: Build) -> Build:
    def build(folder: Path) -> None:
        for one in builds:
            one(folder)

    return build


def nothing(folder: Path) -> None:
    """Start from an empty folder."""


GOOD = file("a.png", encoded("PNG"))
BOX = ["-k", "box"]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"

IMAGES = [
    ("row01-missing", file("photo.png", encoded("PNG")), ["phoot.png", *BOX], 3, r"phoot\.png: no such file; .*photo\.png"),
    ("row02-empty", file("a.png", b""), ["a.png", *BOX], 3, r"a\.png: file is empty"),
    *[
        (f"row03-truncated-{f}", file(f"a.{e}", encoded(f)[: len(encoded(f)) * 2 // 3]), [f"a.{e}", *BOX], 3, r"a\.\w+: (truncated|damaged)")
        for f, e in (("PNG", "png"), ("JPEG", "jpg"), ("BMP", "bmp"), ("GIF", "gif"), ("WEBP", "webp"), ("TIFF", "tif"), ("PPM", "ppm"))
    ],
    ("row03-truncated-png-sizes", file("a.png", encoded("PNG")[:-20]), ["a.png", *BOX], 3, r"truncated PNG \(at least \d+ B expected, file has \d+ B\)"),
    ("row04-text-as-png", file("a.png", b"not an image at all"), ["a.png", *BOX], 3, r"not an image \(starts with 'not an image'\)"),
    ("row06-eps", file("a.png", EPS), ["a.png", *BOX], 3, r"a\.png: format EPS is not supported"),
    ("row06-pdf", file("a.png", b"%PDF-1.7\n"), ["a.png", *BOX], 3, "format PDF is not supported"),
    ("row06-psd", file("a.png", b"8BPS\0\1"), ["a.png", *BOX], 3, "format PSD is not supported"),
    ("row06-wmf", file("a.png", b"\xd7\xcd\xc6\x9a\0\0"), ["a.png", *BOX], 3, "format WMF is not supported"),
    ("row06-fits", file("a.png", b"SIMPLE  =                    T"), ["a.png", *BOX], 3, "format FITS is not supported"),
    ("row07-bomb", file("a.png", bomb(100_000, 100_000)), ["a.png", *BOX], 3, r"100000x100000 = 10 Gpx exceeds 100 Mpx; make it smaller; `cnn filter` takes it with --max-pixels"),
    ("row08-empty-bomb", file("a.png", bomb(9_000, 9_000)), ["a.png", *BOX], 3, r"PNG header declares 9000x9000, which \d+ B of data cannot fill"),
    ("row08-small-bomb", file("a.png", bomb(13_000, 13_000)), ["a.png", *BOX], 3, r"13000x13000 = 169 Mpx exceeds 100 Mpx"),
    ("row09-frame-out-of-range", file("a.gif", encoded("GIF", "P", save_all=True, append_images=[picture("L").convert("P")])), ["a.gif", *BOX, "--frame", "7"], 3, r"there is no picture 7: the file holds 2; use --frame 0 to 1"),
    ("row10-zero-width", file("a.png", bomb(0, 5)), ["a.png", *BOX], 3, "image has zero width"),
    ("row10-zero-height-ppm", file("a.ppm", b"P6 5 0 255\n"), ["a.ppm", *BOX], 3, "image has zero height"),
    ("row11-bit-flip", file("a.png", flipped_bit(encoded("PNG"), 60)), ["a.png", *BOX], 3, r"PNG checksum of chunk IDAT at byte 33 does not match"),
    ("row13-alpha-to-jpeg", file("a.png", encoded("PNG", "RGBA")), ["a.png", *BOX, "-o", "b.jpg"], 1, r"b\.jpg: JPEG holds no transparency; .*--alpha drop"),
    ("row15-nan", file("a.tif", tiff_float(np.array([[1, np.nan], [np.inf, 4]]))), ["a.tif", *BOX], 3, r"a\.tif: 2 of 4 samples are not finite \(first: row 1, column 2\); use --nan-to"),
    ("row16-directory", lambda f: (f / "d").mkdir(), ["d", *BOX], 3, r"d: is a directory; use --recursive"),
    ("row17-fifo", lambda f: os.mkfifo(f / "pipe.png"), ["pipe.png", *BOX], 3, r"pipe\.png: is not a regular file"),
    ("row17-device", nothing, ["/dev/zero", *BOX], 3, r"/dev/zero: is not a regular file"),
    ("row18-url", nothing, ["http://localhost:9/a.png", *BOX], 3, r"http://localhost:9/a\.png: downloads are not supported; fetch"),
    ("row18-imageio-name", nothing, ["imageio:chelsea.png", *BOX], 3, "imageio:chelsea.png: no such file"),
    ("row18-screen", nothing, ["<screen>", *BOX], 3, "<screen>: no such file"),
    ("row18-zip-member", file("a.zip", b"PK\x03\x04"), ["a.zip/x.png", *BOX], 3, r"a\.zip/x\.png: a part of this path is a file"),
    ("row18-zip", file("a.zip", b"PK\x03\x04"), ["a.zip", *BOX], 3, "format ZIP is not supported"),
    ("row20-long-name", nothing, ["n" * 300 + ".png", *BOX], 3, "name is too long"),
    ("row20-long-path", nothing, ["n/" * 3000 + "a.png", *BOX], 3, "name is too long"),
    ("row23-dangling-link", lambda f: (f / "a.png").symlink_to("gone.png"), ["a.png", *BOX], 3, r"a\.png: link to gone\.png, which does not exist"),
    ("row23-link-loop", lambda f: (f / "a.png").symlink_to("a.png"), ["a.png", *BOX], 3, r"a\.png: symbolic links go round"),
    ("row24-too-small", file("a.png", encoded("PNG")), ["a.png", "-k", "box:41", "-p", "valid"], 3, r"30x40 image, 41x41 kernel: the kernel is larger than the image; use --padding same"),
    ("row25-five-channels", file("a.npy", b""), ["a.npy", *BOX, "-o", "b.png"], 1, r"b\.png: PNG holds 1 or 3 channels, the result has 5; .*--split-channels"),
    ("row26-float-to-png", GOOD, ["a.png", *BOX, "--dtype", "float32", "-o", "b.png"], 1, r"b\.png: PNG holds no float32 samples; write \.tif or \.npy"),
    ("row26-16-bit-to-jpeg", file("a.png", encoded("PNG", "I;16")), ["a.png", *BOX, "-o", "b.jpg"], 1, r"b\.jpg: JPEG holds no uint16 samples; write \.png"),
    ("row12-lab", file("a.tif", encoded("TIFF", "LAB")) , ["a.tif", *BOX], 3, "colour space LAB is not supported"),
    *[(f"row14-too-large-numbers-{word}", file("m.txt", b"1e308 1e308\n1e308 1\n"), ["m.txt", *options.split()], 6, "values left the range of finite numbers; ") for word, options in (
        ("sharpen", "-k sharpen"), ("factor", "-k 2"), ("mean", "-k avgpool:2"), ("float32", "-k identity --dtype float32"),
    )],
    ("rowxx-too-large-file", lambda f: (file("a.png", b"")(f), os.truncate(f / "a.png", 600 << 20)), ["a.png", *BOX], 3, r"a\.png: file has 629145600 B, the limit is 536870912 B"),
]  # fmt: skip

KERNELS = [
    ("row29-empty", GOOD, ["a.png", "-k", ""], 2, 'kernel is empty; example: "0 -1 0; -1 5 -1; 0 -1 0"'),
    ("row29-spaces", GOOD, ["a.png", "-k", "   "], 2, "kernel is empty"),
    ("row29-none", GOOD, ["a.png"], 2, "-k: no kernel is given"),
    ("row30-ragged", GOOD, ["a.png", "-k", "1 2 3; 4 5"], 2, "row 2 has 2 numbers, row 1 has 3"),
    ("row31-nan", GOOD, ["a.png", "-k", "1 2; nan 4"], 2, r"row 2,? column 1|2:1"),
    ("row31-inf", GOOD, ["a.png", "-k", "1 inf; 3 4"], 2, r"row 1,? column 2|1:2"),
    ("row31-1e400", GOOD, ["a.png", "-k", "1 1e400; 3 4"], 2, r"row 1,? column 2|1:2"),
    ("row32-underscore", GOOD, ["a.png", "-k", "1_000 0; 0 0"], 2, "1_000"),
    ("row32-hex", GOOD, ["a.png", "-k", "0x10 0; 0 0"], 2, "0x10"),
    ("row32-full-width", GOOD, ["a.png", "-k", "１ 0; 0 0"], 2, "kernel"),
    ("row32-divide-by-zero", GOOD, ["a.png", "-k", "1/0 0; 0 0"], 2, "1/0"),
    ("row33-expression", GOOD, ["a.png", "-k", "__import__('os').system('id')"], 2, "unknown kernel"),
    ("row33-sum", GOOD, ["a.png", "-k", "1+1 0; 0 0"], 2, r"1\+1"),
    ("row34-too-wide", GOOD, ["a.png", "-k", " ".join(["1"] * 257)], 2, "255"),
    ("row34-box", GOOD, ["a.png", "-k", "box:1000001"], 2, "8191"),
    ("row36-normalize", GOOD, ["a.png", "-k", "sobel-x", "--normalize"], 2, "add up to 0.*; drop"),
    ("row36-zeros", GOOD, ["a.png", "-k", "0 0; 0 0", "--normalize"], 2, "add up to 0"),
    ("row37-utf16", both(GOOD, file("k.txt", "1 2\n3 4\n".encode("utf-16"))), ["a.png", "-k", "@k.txt"], 3, r"k\.txt: byte 0: text is UTF-16"),
    ("row37-latin1", both(GOOD, file("k.txt", b"1 2 \xe4")), ["a.png", "-k", "@k.txt"], 3, r"k\.txt: byte 4: 0xe4 is not UTF-8"),
    ("row37-large", both(GOOD, file("k.txt", b"1 " * (20 << 20))), ["a.png", "-k", "@k.txt"], 3, r"k\.txt: .*limit"),
    ("row37-missing", GOOD, ["a.png", "-k", "@k.txt"], 3, r"k\.txt: no such file"),
    ("row38-unknown", GOOD, ["a.png", "-k", "sobl"], 2, "unknown kernel 'sobl'; did you mean sobel"),
    ("row39-stride-0", GOOD, ["a.png", *BOX, "-s", "0"], 2, "0 is not in the range 1"),
    ("row39-stride-negative", GOOD, ["a.png", *BOX, "-s", "-1"], 2, "-1 is not in the range 1"),
    ("row39-dilation-0", GOOD, ["a.png", *BOX, "--dilation", "0"], 2, "0 is not in the range 1"),
    ("row39-padding-negative", GOOD, ["a.png", *BOX, "-p", "-1"], 2, "-1 is not in the range 0"),
    ("row39-padding-huge", GOOD, ["a.png", *BOX, "-p", "60000"], 1, "needs .* GiB"),
    ("row39-padding-beyond", GOOD, ["a.png", *BOX, "-p", "99999999999"], 2, "99999999999 is not in the range"),
    ("rowxx-shard", GOOD, ["a.png", *BOX, "--shard", "4/3"], 2, "--shard: '4/3' is not I/N"),
    ("rowxx-unknown-range", GOOD, ["a.png", *BOX, "--range", "mixmax"], 2, "unknown range"),
    ("rowxx-unknown-tool", GOOD, ["a.png", *BOX, "--as", "opencvv"], 2, "did you mean opencv"),
    ("rowxx-ragged-matrix", file("m.txt", b"1 2 3\n4 5\n"), ["m.txt", *BOX], 3, r"m\.txt.*row 2|m\.txt:2"),
    ("rowxx-word-in-matrix", file("m.csv", b"1,2\n3,x\n"), ["m.csv", *BOX], 3, r"m\.csv:2"),
    ("rowxx-several-to-one", both(GOOD, file("b.png", encoded("PNG"))), ["a.png", "b.png", *BOX, "-o", "c.png"], 2, "2 inputs cannot all become c.png"),
    ("rowxx-same-target", lambda f: [d.mkdir() or (d / "a.png").write_bytes(encoded("PNG")) for d in (f / "x", f / "y")], ["x/a.png", "y/a.png", *BOX], 2, "would both become"),
    ("rowxx-unknown-field", GOOD, ["a.png", *BOX, "-o", "{stm}.png"], 2, r"unknown field \{stm\}"),
    ("rowxx-no-extension", GOOD, ["a.png", *BOX, "-o", "out"], 2, "out: no extension"),
    ("rowxx-unknown-extension", GOOD, ["a.png", *BOX, "-o", "out.xyz"], 2, r"extension \.xyz is not written"),
    ("rowxx-no-input", nothing, [*BOX], 2, "no input is given"),
    ("rowxx-unknown-option", GOOD, ["a.png", "--kernal", "box"], 2, "--kernal"),
]  # fmt: skip

OUTPUTS = [
    ("row96-missing-parent", GOOD, ["a.png", *BOX, "-o", "no/b.png"], 1, "mkdir -p no"),
    ("row97-exists", both(GOOD, file("b.png", b"old")), ["a.png", *BOX, "-o", "b.png"], 1, r"b\.png: exists; use -f"),
    ("row98-parent-is-a-file", both(GOOD, file("no", b"old")), ["a.png", *BOX, "-o", "no/b.png"], 1, "no"),
]


@pytest.mark.parametrize(("build", "arguments", "code", "pattern"), [
    pytest.param(*case[1:], id=case[0]) for case in (*IMAGES, *KERNELS, *OUTPUTS)
])  # fmt: skip
def test_refused(tmp_path: Path, build: Build, arguments: list[str], code: int, pattern: str) -> None:
    build(tmp_path)
    if arguments[0] == "a.npy":
        np.save(tmp_path / "a.npy", np.zeros((4, 4, 5), np.uint8))
    before = fingerprint(tmp_path)
    result = run(["filter", *arguments], tmp_path)
    assert_refused(result, code, pattern, before, fingerprint(tmp_path))


def works(result: Run) -> None:
    assert result.code == 0, result
    assert "Traceback" not in result.err


def test_row05_extension_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded("PNG"))
    result = run(["filter", "a.jpg", "-k", "identity", "-o", "b.tif"], tmp_path)
    works(result)
    assert "note: a.jpg holds PNG" in result.err
    with Image.open(tmp_path / "b.tif") as written:
        assert written.format == "TIFF"


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "pipe.png", "http://127.0.0.1:9/a.png"], ids=lambda n: f"row06-17-18-{n[:4]}"
)
def test_no_program_and_no_connection(tmp_path: Path, name: str) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    (tmp_path / "a.png").write_bytes(EPS)
    (tmp_path / "a.jpg").write_bytes(b"%PDF-1.7\n")
    os.mkfifo(tmp_path / "pipe.png")
    log = tmp_path / "log"
    trace = [strace, "-f", "-qq", "-e", "trace=execve,connect,socket", "-o", str(log)]
    result = run(["filter", name, "-k", "box"], tmp_path, prefix=trace)
    assert result.code == 3, result
    calls = [
        line for line in log.read_text().splitlines() if "execve(" in line or "socket(" in line or "connect(" in line
    ]
    assert len([line for line in calls if "execve(" in line]) == 1, calls  # cnn itself
    assert not [line for line in calls if "execve(" not in line], calls


def test_row09_animation_gives_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("P", (8, 8), colour) for colour in (0, 1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], optimize=False)
    works(result := run(["filter", "a.gif", "-k", "identity"], tmp_path))
    assert "note: first of 3 pictures" in result.err
    works(run(["filter", "a.gif", "-k", "identity", "--frame", "2", "-o", "c.png"], tmp_path))
    assert np.asarray(Image.open(tmp_path / "a-identity.png")).max() == 0
    assert np.asarray(Image.open(tmp_path / "c.png").convert("RGB"))[0, 0].tolist() == [0, 255, 0]


def test_row12_libtiff_prints_nothing_of_its_own(tmp_path: Path) -> None:
    """Bad code words in a fax and pieces that end early: lines of `cnn` only, and what was repaired is said."""
    fax = bytearray(encoded("TIFF", "1", compression="group4"))
    fax[20:60] = b"\x5a" * 40
    (tmp_path / "fax.tif").write_bytes(fax)
    (tmp_path / "lzw.tif").write_bytes(encoded("TIFF", compression="tiff_lzw")[:-700])
    many = io.BytesIO()
    tifffile.imwrite(many, np.zeros((4, 5, 9), np.uint8), photometric="minisblack", planarconfig="contig")
    (tmp_path / "many.tif").write_bytes(many.getvalue())
    for names in (["fax.tif"], ["fax.tif", "lzw.tif", "many.tif"]):
        result = run(["filter", *names, "-k", "identity", "-f", "-o", "out/"], tmp_path)
        assert result.code == (0 if len(names) == 1 else 7)
        known = (
            "fax.tif ",
            "many.tif ",
            "note: ",
            "wrote ",
            "cnn: warning: lzw.tif: truncated",
            "compiling ",
            "cnn: error: 1 of 3",
        )
        assert [line for line in result.err.splitlines() if not line.startswith(known)] == []
        assert "met and repaired by libtiff (Fax4Decode)" in result.err


def test_row15_nan_to(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_float(np.array([[0.25, np.nan], [np.inf, 1]])))
    result = run(["filter", "a.tif", "-k", "identity", "--nan-to", "0.5", "--print"], tmp_path)
    assert result.code == 0
    assert result.out == b"0.2500 0.5000\n0.5000 1.0000\n"


NAMES = [b"name_\xff.png", b"two\nlines.png", b"\x1b[31mred.png", b"[red].png", b"-leading.png", "日本.png".encode()]


@pytest.mark.parametrize("name", NAMES, ids=lambda n: "row19-" + ascii(n)[2:-1])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_row19_names(tmp_path: Path, name: bytes, locale: str) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(encoded("PNG"))
    result = run([b"filter", b"-k", b"identity", b"--", name], tmp_path, env={"LC_ALL": locale})
    works(result)
    assert all(c.isprintable() for line in result.err.splitlines() for c in line), ascii(result.err)
    assert os.fsencode(tmp_path) + b"/" + name[:-4] + b"-identity.png" in [os.fsencode(p) for p in tmp_path.iterdir()]


def test_row21_permission(tmp_path: Path) -> None:
    GOOD(tmp_path)
    (tmp_path / "a.png").chmod(0)
    before = fingerprint(tmp_path)
    result = run(["filter", "a.png", "-k", "box"], tmp_path, prefix=bound_by_permissions())
    assert_refused(result, 1, "permission denied; chmod", before, fingerprint(tmp_path))


def test_row22_changing_file_is_read_once(tmp_path: Path) -> None:
    """The size is taken before and compared after reading: strace cuts one read short."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    GOOD(tmp_path)
    (tmp_path / "a.png").write_bytes(encoded("PNG") + b"\0" * 100)
    log = ["-o", os.devnull, "-P", str(tmp_path / "a.png")]
    trace = [strace, "-f", "-qq", *log, "-e", "trace=read", "-e", "inject=read:retval=0:when=1"]
    result = run(["filter", str(tmp_path / "a.png"), "-k", "box"], tmp_path, prefix=trace)
    assert result.code == 3, result
    assert "file changed while it was read" in result.err


@pytest.mark.parametrize("failing", ["exit 7"], ids=["row27"])
def test_row27_one_bad_file_among_many(tmp_path: Path, failing: str) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encoded("PNG") if number != 3 else encoded("PNG")[:300])
    names = [f"{number}.png" for number in range(6)]
    result = run(["filter", *names, "-k", "box", "-o", "out/", "--manifest", "m.jsonl"], tmp_path)
    assert result.code == 7
    assert re.search(
        r"^cnn: error: 1 of 6 files failed \(first: 3\.png: truncated PNG.*see m\.jsonl$", result.err, re.M
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{n}-box.png" for n in (0, 1, 2, 4, 5)]
    records = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    records.sort(key=lambda record: record["input"])
    assert [r["status"] for r in records] == ["written"] * 3 + ["failed"] + ["written"] * 2
    assert records[3]["error"]["code"] == 3
    assert records[0]["sha256"] == hashlib.sha256((tmp_path / "0.png").read_bytes()).hexdigest()


def test_row35_even_kernel_says_where_its_centre_is(tmp_path: Path) -> None:
    result = run(["filter", "-", "-k", "1 2; 3 4"], tmp_path, stdin=b"1 2\n3 4\n")
    works(result)
    assert "2x2: its centre is row 1, column 1" in result.err


def test_row37_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "k.txt").write_bytes(b"\xef\xbb\xbf0 0 0\n0 2 0\n0 0 0\n")
    result = run(["filter", "-", "-k", "@k.txt"], tmp_path, stdin=b"1 2\n3 4\n")
    works(result)
    assert result.out == b"2 4\n6 8\n"


@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "bmp", "webp", "ppm", "npy"])
def test_row94_file_size_limit_keeps_the_old_file(tmp_path: Path, extension: str) -> None:
    """RLIMIT_FSIZE cuts the last write short: what plain libraries take for success."""
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / f"b.{extension}").write_bytes(b"old")
    before = fingerprint(tmp_path)
    limit = ["sh", "-c", 'trap "" XFSZ; ulimit -f 16; exec "$@"', "sh"]
    result = run(["filter", "a.png", "-k", "identity", "-f", "-q", "-o", f"b.{extension}"], tmp_path, prefix=limit)
    assert_refused(result, 1, rf"b\.{extension}: ", before, fingerprint(tmp_path))


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_row92_full_disk(tmp_path: Path, extension: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "a.png")
        (disk / f"b.{extension}").write_bytes(b"old")
        result = run(["filter", "a.png", "-k", "identity", "-f", "-q", "-o", f"disk/b.{extension}"], tmp_path)
        assert result.code == 1
        assert re.fullmatch(rf"cnn: error: disk/b\.{extension}: no space left .*; .*\n", result.err), result.err
        assert [(p.name, p.read_bytes()) for p in disk.iterdir()] == [(f"b.{extension}", b"old")]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_row95_fsync_error(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    GOOD(tmp_path)
    (tmp_path / "b.png").write_bytes(b"old")
    before = fingerprint(tmp_path)
    trace = [strace, "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1"]
    result = run(["filter", "a.png", "-k", "box", "-f", "-q", "-o", "b.png"], tmp_path, prefix=trace)
    assert result.code == 1, result
    assert result.err.startswith("cnn: error: b.png: ")
    assert fingerprint(tmp_path) == before


def test_row96_read_only_folder(tmp_path: Path) -> None:
    GOOD(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], check=False, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        result = run(["filter", "a.png", "-k", "box", "-o", "disk/b.png"], tmp_path)
        assert result.code == 1
        assert re.fullmatch(r"cnn: error: disk/b\.png: (.*read-only|permission denied).*; .*\n", result.err), result.err
    finally:
        subprocess.run(["umount", disk], check=True)


def test_row97_output_may_be_the_input(tmp_path: Path) -> None:
    GOOD(tmp_path)
    works(run(["filter", "a.png", "-k", "identity", "-f", "-o", "a.png"], tmp_path))
    assert (np.asarray(Image.open(tmp_path / "a.png")) == np.asarray(picture())).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_row98_link_directory_and_device(tmp_path: Path) -> None:
    GOOD(tmp_path)
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    works(run(["filter", "a.png", "-k", "identity", "-f", "-o", "link.png"], tmp_path))
    assert (tmp_path / "link.png").is_symlink()
    with Image.open(tmp_path / "real.png") as written:
        assert written.size == (40, 30)
    (tmp_path / "b.png").mkdir()
    result = run(["filter", "a.png", "-k", "identity", "-f", "-o", "b.png/{stem}.png"], tmp_path)
    works(result)
    result = run(["filter", "a.png", "-k", "identity", "-o", "-"], tmp_path)
    works(result)
    assert (np.asarray(Image.open(io.BytesIO(result.out))) == np.asarray(picture())).all()


def test_row99_two_runs_on_one_output(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    runs = [
        subprocess.Popen([CNN, "filter", "a.png", "-k", kernel, "-f", "-q", "-o", "b.png"], cwd=tmp_path)
        for kernel in ("identity", "box", "sharpen")
    ]
    assert [process.wait(600) for process in runs] == [0, 0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    with Image.open(tmp_path / "b.png") as written:
        written.load()


def test_row100_closed_pipe(tmp_path: Path) -> None:
    matrix = b"\n".join(b" ".join(b"%d" % (i % 251) for i in range(400)) for _ in range(2000))
    (tmp_path / "m.txt").write_bytes(matrix)
    done = subprocess.run(
        ["bash", "-c", f"{CNN} filter m.txt -k identity | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("output", [["--print"], ["-o", "-"]], ids=["row101-print", "row101-image"])
def test_row101_full_standard_output(tmp_path: Path, output: list[str]) -> None:
    GOOD(tmp_path)
    with open("/dev/full", "wb") as full:
        result = run(["filter", "a.png", "-k", "box", "-q", *output], tmp_path, stdout=full.fileno())
    assert result.code == 1, result
    assert re.fullmatch(r"cnn: error: .+; .+\n", result.err), result.err


def test_row28_a_crashing_decoder_costs_one_file(tmp_path: Path) -> None:
    """A file whose decoder dies is tried again alone, then reported; the others are finished."""
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(encoded("PNG"))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, cnncli.tasks.filter.one_file as one\n"
        "load = one.load\n"
        "def dying(job, *a, **k):\n"
        "    os.kill(os.getpid(), 11) if job.source == '4.png' else None\n"
        "    return load(job, *a, **k)\n"
        "one.load = dying\n"
    )
    names = [f"{number}.png" for number in range(8)]
    result = run(["filter", *names, "-k", "box", "-o", "out/"], tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.code == 7, result
    assert "4.png: the process that decoded it died, twice" in result.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{n}-box.png" for n in range(8) if n != 4]


def test_row121_interrupted_batch_is_finished_by_the_next_run(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number:02}.png").write_bytes(encoded("PNG"))
    command = [CNN, "filter", ".", "-r", "-k", "box", "-o", "../out/", "--manifest", "../m.jsonl", "--skip-existing"]
    folder = tmp_path / "in"
    folder.mkdir()
    for path in tmp_path.glob("*.png"):
        path.rename(folder / path.name)
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while len(list((tmp_path / "out").glob("*.png"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait(600) in (130, 0)
    for path in (tmp_path / "out").iterdir():
        assert not path.name.startswith("."), "a temporary file was left"
        with Image.open(path) as written:
            written.load()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert len(list((tmp_path / "out").glob("*.png"))) == 60
    assert "skipped" in done.stderr
