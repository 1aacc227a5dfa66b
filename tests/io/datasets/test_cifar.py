"""CIFAR-10 and CIFAR-100: the makers' binary archive, as it is, unpacked, or fetched."""

import hashlib
import io
import pickle
import re
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from local_server import Server

from cnncli.errors import InvalidInputError, UnavailableError
from cnncli.io.datasets import load_dataset
from cnncli.io.datasets.cifar import fetch_or_load, find_copy, load_cifar
from cnncli.io.datasets.cifar_sets import CIFAR10, CIFAR100, CIFAR_SETS

RANDOM = np.random.default_rng(3)


def records(known, count):
    """Return images (N, H, W, C), labels, and the bytes of a file of records, written pixel by pixel."""
    images = RANDOM.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = RANDOM.integers(0, len(known.classes), count)
    content = b""
    for image, label in zip(images, labels, strict=True):
        coarse = b"\x13" if known.label_bytes == 2 else b""
        content += coarse + bytes([label]) + b"".join(image[..., channel].tobytes() for channel in range(3))
    return images, labels, content


def archive(known, files, form="w:gz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=form) as pack:
        for name, content in ({"readme.html": b"hello"} | files).items():
            info = tarfile.TarInfo(f"{known.folder}/{name}")
            info.size = len(content)
            pack.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture(params=CIFAR_SETS, ids=lambda known: known.name)
def small(request):
    """A tiny set: what is known of it, images, labels, and the content of its files."""
    known = request.param
    made = {name: records(known, 7) for name in known.members}
    return known, made, {name: content for name, (_, _, content) in made.items()}


def check(data, known, made):
    for part, names in ((data.train, known.train), (data.test, known.test)):
        assert np.array_equal(part.images, np.concatenate([made[name][0] for name in names]))
        assert np.array_equal(part.labels, np.concatenate([made[name][1] for name in names]))
    assert (data.name, data.classes) == (known.name, known.classes)


@pytest.mark.parametrize("place", ["", "NAME"])
@pytest.mark.parametrize("form", ["w:gz", "w", "unpacked"])
def test_every_copy_is_read(tmp_path, small, place, form):
    known, made, files = small
    folder = tmp_path / place.replace("NAME", known.name)
    folder.mkdir(exist_ok=True)
    if form == "unpacked":
        (folder / known.folder).mkdir()
        for name, content in files.items():
            (folder / known.folder / name).write_bytes(content)
    else:
        name = known.archive.name.removesuffix("" if form == "w:gz" else ".gz")
        (folder / name).write_bytes(archive(known, files, form))
    data = load_dataset(known.name, tmp_path)
    check(data, known, made)
    assert "unverified copy" in data.notes[0]


def test_it_is_fetched_and_checked(tmp_path, small, monkeypatch):
    known, made, files = small
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    content = archive(known, files)
    remote = replace(known.archive, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    said = []
    with Server({"/bad/" + remote.name: content[:-1] + b"x", "/good/" + remote.name: content}) as server:
        mirrors = tuple(server.address + name for name in ("none/", "bad/", "good/"))
        local = replace(known, archive=remote, mirrors=mirrors)
        data = fetch_or_load(local, tmp_path, said.append, trusted=(server.address,))
        check(data, known, made)
        assert data.notes == ()
        fetch_or_load(local, tmp_path, said.append, trusted=(server.address,))
        assert len(server.requests) == 3  # the second time it is there
    assert [path.name for path in (tmp_path / known.name).iterdir()] == [remote.name]
    assert said[-1] == f"{known.title}: {known.credit}"


def test_pickled_copies_are_named_and_not_read(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    monkeypatch.setenv("CNN_OFFLINE", "1")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UnavailableError, match=r"CIFAR-10 is not on this machine.*cifar-10-batches-py is not read"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("kind", ["cut", "record", "label", "missing", "flipped", "large", "empty", "link"])
def test_damaged_copies_are_refused(tmp_path, small, kind, monkeypatch):
    known, _, files = small
    first = known.members[0]
    if kind == "record":
        files = files | {first: files[first][:-1]}
    elif kind == "empty":
        files = files | {first: b""}
    elif kind == "label":
        place = known.label_bytes - 1
        files = files | {first: files[first][:place] + bytes([len(known.classes)]) + files[first][place + 1 :]}
    elif kind == "missing":
        files = {name: content for name, content in files.items() if name != first}
    elif kind == "large":
        monkeypatch.setattr(type(known), "longest", 100)
    content = bytearray(archive(known, files))
    if kind == "cut":
        content = content[: len(content) // 2]
    elif kind == "flipped":
        content[len(content) // 2] ^= 255
    (tmp_path / known.archive.name).write_bytes(content)
    if kind == "link":
        (tmp_path / known.archive.name).unlink()
        (tmp_path / known.archive.name).symlink_to(tmp_path)
        assert find_copy(tmp_path, known) is None
        return
    words = {"record": "whole records", "empty": "whole records", "label": "in record 0, but there are",
             "missing": "holds no", "large": "expected 100 at most"}.get(kind, "damaged or truncated")  # fmt: skip
    copy = find_copy(tmp_path, known)
    with pytest.raises(InvalidInputError, match=words):
        load_cifar(copy, known)


def test_entries_are_well_formed():
    for known, count in ((CIFAR10, 10), (CIFAR100, 100)):
        assert len(set(known.classes)) == count
        assert list(known.classes) == sorted(known.classes)
        assert re.fullmatch("[0-9a-f]{64}", known.archive.sha256)
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in known.mirrors)
        assert set(known.sums) <= set(known.members)
