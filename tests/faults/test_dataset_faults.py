"""Every data set of the user's own that `cnn train` must refuse, or take with a note.

The number in front of a case is its row in README.md of this folder. The contract itself is in installed.py.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults.installed import assert_refused, fingerprint, run
from PIL import Image

from cnncli.io.datasets.own.folder import list_folder
from cnncli.io.datasets.own.layout import arrange

Build = Callable[[Path], None]


def picture(number: int = 0, size: tuple[int, int] = (9, 8), mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, number if mode == "L" else (number, 0, 9)).save(stream, "PNG")
    return stream.getvalue()


def folder(*names: str, **contents: bytes) -> Build:
    """Return what writes pictures below d/; `contents` are files by name with __ for / and _ for a dot."""

    def build(place: Path) -> None:
        files = {name: picture(number) for number, name in enumerate(names)}
        files |= {name.replace("__", "/").replace("_", "."): content for name, content in contents.items()}
        for name, content in files.items():
            path = place / "d" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(content)

    return build


def empty_class(place: Path) -> None:
    folder("a/1.png", "b/1.png")(place)
    (place / "d/c").mkdir()


def zipped(name: str, content: bytes = b"x", *, bits: int = 0) -> Build:
    def build(place: Path) -> None:
        with zipfile.ZipFile(place / "d.zip", "w", zipfile.ZIP_DEFLATED) as pack:
            for number, member in enumerate(("a/1.png", "b/1.png")):
                pack.writestr(member, picture(number))
            pack.writestr(name, content)
        data = bytearray((place / "d.zip").read_bytes())
        data[data.rindex(b"PK\1\2") + 8] |= bits
        (place / "d.zip").write_bytes(data)

    return build


def tarred(**more: object) -> Build:
    def build(place: Path) -> None:
        with tarfile.open(place / "d.tar", "w") as pack:
            for name in ("a/1.png", "b/1.png"):
                info = tarfile.TarInfo(name)
                info.size = len(picture())
                pack.addfile(info, io.BytesIO(picture()))
            info = tarfile.TarInfo("a/2.png")
            for key, value in more.items():
                setattr(info, key, value)
            pack.addfile(info)

    return build


def numbers(place: Path) -> None:
    np.savez(place / "d.npz", x=np.zeros((5, 8, 8), np.uint8), y=np.array([0, 1, 0, 1]))


CASES: dict[str, tuple[Build, str, str]] = {
    "53 empty folder": (lambda place: (place / "d").mkdir(), "d", "holds no pictures"),
    "53 no images": (folder(notes_txt=b"x"), "d", "holds no pictures .1 other files"),
    "53 one class": (folder("cat/1.png", "cat/2.png"), "d", r"found 1 class .'cat'.; need 2 or more"),
    "54 class without images": (empty_class, "d", "class 'c' holds no pictures"),
    "55 classes of the parts differ": (
        folder("train/a/1.png", "train/b/1.png", "val/a/1.png"), "d", "validation lacks 'b'",
    ),
    "57 only a link": (lambda place: (place / "d").symlink_to(place / "d"), "d", "symbolic links|link to"),
    "27 unreadable picture": (folder("a/1.png", "b/1.png", b__2_png=b"x"), "d", "1 of 3 pictures .*--skip-bad"),
    "61 labels and images of other numbers": (numbers, "d.npz", "4 labels in y for the 5 images of x"),
    "64 name that leads out": (zipped("../x.png"), "d.zip", r"d\.zip: \.\./x\.png: a name with \.\."),
    "64 absolute name": (zipped("/x.png"), "d.zip", "an absolute name"),
    "64 symbolic link": (tarred(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "d.tar", "a link, a device"),
    "64 FIFO": (tarred(type=tarfile.FIFOTYPE), "d.tar", "a link, a device"),
    "64 setuid": (tarred(mode=0o4755), "d.tar", "setuid"),
    "65 other case": (zipped("A/1.PNG"), "d.zip", "differs from a/1.png in case alone"),
    "65 newline": (zipped("a/1\n.png"), "d.zip", "control characters"),
    "66 bomb": (zipped("a/2.bmp", bytes(9 << 20)), "d.zip", "200 times"),
    "66 archive inside": (zipped("a/2.zip"), "d.zip", "an archive inside the archive"),
    "66 encrypted": (zipped("a/2.png", bits=1), "d.zip", "encrypted"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(case, tmp_path):
    build, name, pattern = CASES[case]
    build(tmp_path)
    before = fingerprint(tmp_path)
    result = run(["train", "--dataset", f"./{name}", "--run-dir", "run"], tmp_path)
    assert_refused(result, 3, pattern, before, fingerprint(tmp_path))


def test_row56_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"{label}/{number}.png" for label in ("b", "a", "C") for number in (10, 9, 1)]
    folder(*names, ".hidden/1.png", a__Thumbs_db=b"x")(tmp_path)
    listing = list_folder(str(tmp_path / "d"))
    expected = arrange(listing, "d")
    assert expected.classes == ("C", "a", "b")
    assert "1 hidden; 1 not a picture (a/Thumbs.db)" in expected.notes[0]
    random = np.random.default_rng(0)
    for _ in range(5):
        random.shuffle(listing.files)
        random.shuffle(listing.folders)
        assert arrange(listing, "d") == expected


def test_row57_links_inside_are_counted(tmp_path):
    folder("a/1.png", "b/1.png")(tmp_path)
    os.symlink(tmp_path / "d", tmp_path / "d/a/loop")
    result = run(["train", "digits", "--dataset", "d", "--dry-run", "--val-split", "0"], tmp_path)
    assert result.code == 0, result.err
    assert "files left out: 1 link (a/loop)" in result.err


def test_row58_mixed_sizes_and_channels_are_brought_to_one(tmp_path):
    folder(a__1_png=picture(1, (9, 8)), a__2_png=picture(2, (30, 20), "RGB"), b__1_png=picture(3), b__2_png=picture())(
        tmp_path
    )
    result = run(["train", "--dataset", "d", "--dry-run", "--val-split", "0"], tmp_path)
    assert result.code == 0, result.err
    assert "pictures are scaled to 64x64 (pad); --resize HxW takes another size" in result.err
