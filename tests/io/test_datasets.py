"""Data sets by name: bundled digits, MNIST in every layout, the sets that took over its form."""

import gzip
import hashlib
import io
import os
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import InvalidInputError, UnavailableError, UsageError
from cnncli.io.datasets import DATASETS, idx_sets, load_dataset
from cnncli.io.datasets.dataset import pixel_statistics
from cnncli.io.datasets.digits import test_mask as mask_of_test_images
from cnncli.io.datasets.idx_sets import find_copy, load_idx_set
from cnncli.io.datasets.mnist import IDX_SETS, MNIST

NAMES = [file.name for file in MNIST.files]
needs_data = pytest.mark.skipif("CNN_DATA_DIR" not in os.environ, reason="CNN_DATA_DIR (folder with mnist/) is not set")


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small():
    """Four IDX contents: 30 training and 10 test images."""
    random = np.random.default_rng(0)
    arrays = []
    for count in (30, 10):
        arrays += [random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10]
    return arrays


def test_digits_are_complete_and_stratified():
    data = load_dataset("digits")
    assert data.train.images.shape == (1438, 8, 8, 1)
    assert data.test.images.shape == (359, 8, 8, 1)
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert data.train.images.max() == 255
    assert set(np.unique(data.train.images)) <= {(level * 255 + 8) // 16 for level in range(17)}
    share = np.bincount(data.test.labels) / (np.bincount(data.test.labels) + np.bincount(data.train.labels))
    assert np.allclose(share, 0.2, atol=0.005)
    assert data.classes == tuple("0123456789")
    assert data.light_on_dark


def test_digits_split_is_fixed():
    mask = mask_of_test_images(np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 1]))
    assert np.flatnonzero(mask).tolist() == [3, 9]
    data = load_dataset("digits")
    assert hashlib.sha256(data.test.images.tobytes()).hexdigest()[:16] == "0e1fb3981ddae808"


def test_pixel_statistics_agree_with_numpy():
    images = np.random.default_rng(3).integers(0, 256, (50, 9, 7, 3), np.uint8)
    mean, std = pixel_statistics(images)
    assert np.allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    assert np.allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-9)
    assert pixel_statistics(np.full((2, 2, 2, 1), 7, np.uint8)) == ((7 / 255,), (1.0,))


def test_sums_of_very_many_bright_pixels_do_not_overflow():
    images = np.full((140_001, 1, 2, 1), 255, np.uint8)
    images[0] = 0
    mean = 140_000 / 140_001
    assert pixel_statistics(images) == ((pytest.approx(mean, rel=1e-15),), (pytest.approx((mean * (1 - mean)) ** 0.5),))
    assert pixel_statistics(images, padding=2) == ((1.0,), (1.0,))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="unknown data set 'mnst'; did you mean mnist"):
        load_dataset("mnst")
    with pytest.raises(UsageError, match=f"known are {', '.join(DATASETS)}"):
        load_dataset("zzz")


@pytest.mark.parametrize("place", ["mnist", ".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("spelling", ["gz", "plain", "dotted"])
def test_every_layout_is_found(tmp_path, small, place, spelling):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, small, strict=True):
        if spelling == "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / (name if spelling == "plain" else name.replace("-idx", ".idx"))).write_bytes(idx(array))
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.train.images[..., 0], small[0])
    assert np.array_equal(data.test.labels, small[3])
    assert "unverified copy of MNIST" in data.notes[0]
    assert data.mean == pixel_statistics(data.train.images)[0]


def test_keras_archive_is_read(tmp_path, small):
    np.savez(tmp_path / "mnist.npz", x_train=small[0], y_train=small[1], x_test=small[2], y_test=small[3])
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.test.images[..., 0], small[2])
    assert data.notes


@pytest.mark.parametrize("form", ["archive", "files"])
def test_the_cache_of_keras_is_used_beside_the_own_one(tmp_path, small, monkeypatch, form):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CNN_OFFLINE", "1")
    keras = tmp_path / ".keras/datasets"
    if form == "archive":
        keras.mkdir(parents=True)
        np.savez(keras / "mnist.npz", x_train=small[0], y_train=small[1], x_test=small[2], y_test=small[3])
    else:
        write(keras / "mnist", small)
    assert np.array_equal(load_dataset("mnist").test.images[..., 0], small[2])
    with pytest.raises(UnavailableError):
        load_dataset("mnist", tmp_path / "elsewhere")


@pytest.mark.parametrize("kind", ["objects", "missing", "float", "cut", "claims"])
def test_bad_keras_archives_are_refused(tmp_path, small, kind):
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), small, strict=True))
    if kind == "objects":
        arrays["y_test"] = np.array([{}], object)
    elif kind == "missing":
        del arrays["x_test"]
    elif kind == "float":
        arrays["x_train"] = arrays["x_train"].astype(np.float32)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    content = stream.getvalue()
    if kind == "cut":
        content = content[:-30]
    elif kind == "claims":
        content = content.replace(b"(30, 28, 28)", b"(99999, 9999)"[:12])
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"mnist\.npz: "):
        load_dataset("mnist", tmp_path)


def test_offline_names_the_address_the_folder_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_OFFLINE", "1")
    with pytest.raises(UnavailableError) as caught:
        load_dataset("mnist", tmp_path / "data")
    text = str(caught.value)
    assert MNIST.mirrors[0] in text
    assert str(tmp_path / "data/mnist") in text
    assert "--dataset digits" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("known", IDX_SETS, ids=lambda known: known.name)
def test_entries_are_well_formed(known):
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in known.mirrors)
    assert [file.name for file in known.files] == NAMES
    checksums = [sum_ for file in known.files for sum_ in (file.sha256, file.content_sha256) if sum_]
    assert all(re.fullmatch("[0-9a-f]{64}", text) for text in checksums)
    assert len(known.classes) == 10


def test_no_checksum_stands_for_two_files():
    checksums = [sum_ for known in IDX_SETS for file in known.files for sum_ in (file.sha256, file.content_sha256)]
    known = [text for text in checksums if text]
    assert len(set(known)) == len(known)


def write(folder, arrays):
    folder.mkdir(parents=True)
    for name, array in zip(NAMES, arrays, strict=True):
        (folder / name).write_bytes(idx(array))


@pytest.mark.parametrize("known", IDX_SETS, ids=lambda known: known.name)
def test_each_set_has_a_folder_of_its_own(tmp_path, small, known):
    for number, other in enumerate(IDX_SETS):
        write(tmp_path / other.name, [np.roll(array, number, 0) for array in small])
    data = load_dataset(known.name, tmp_path)
    assert np.array_equal(data.train.labels, np.roll(small[1], IDX_SETS.index(known)))
    assert data.classes == known.classes
    assert data.light_on_dark
    assert f"unverified copy of {known.title}" in data.notes[0]


def test_a_known_file_of_another_set_is_refused(tmp_path, small, monkeypatch):
    """By the checksum of its content or, compressed, of the file itself."""
    write(tmp_path / "fashion-mnist", small)
    labels = tmp_path / "fashion-mnist" / NAMES[1]
    packed = gzip.compress(labels.read_bytes(), mtime=0)
    for data, field in ((labels.read_bytes(), "content_sha256"), (packed, "sha256")):
        file = replace(MNIST.files[1], **{field: hashlib.sha256(data).hexdigest()})
        monkeypatch.setattr(idx_sets, "ORIGINALS", {getattr(file, field): (MNIST, file)})
        with pytest.raises(InvalidInputError, match=f"{NAMES[1]}(.gz)?: is {NAMES[1]} of MNIST, not .* Fashion-MNIST"):
            load_dataset("fashion-mnist", tmp_path)
        labels.unlink(missing_ok=True)
        (tmp_path / "fashion-mnist" / f"{NAMES[1]}.gz").write_bytes(packed)


@needs_data
@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_mnist_in_the_folder_of_another_set_is_refused(tmp_path, name):
    (tmp_path / name).symlink_to(Path(os.environ["CNN_DATA_DIR"]) / "mnist")
    with pytest.raises(InvalidInputError, match=f"{name}/{NAMES[0]}.gz: is {NAMES[0]} of MNIST, not {NAMES[0]} of "):
        load_dataset(name, tmp_path)


@needs_data
def test_files_that_changed_places_are_refused(tmp_path):
    source = Path(os.environ["CNN_DATA_DIR"]) / "mnist"
    for name in NAMES:
        other = name.replace("train", "t10k") if "train" in name else name.replace("t10k", "train")
        (tmp_path / f"{name}.gz").symlink_to(source / f"{other}.gz")
    with pytest.raises(InvalidInputError, match=f"is {NAMES[2]} of MNIST, not {NAMES[0]} of MNIST"):
        load_dataset("mnist", tmp_path)


@needs_data
def test_mnist_is_verified_by_its_content():
    data = load_dataset("mnist", Path(os.environ["CNN_DATA_DIR"]))
    assert data.notes == ()
    assert data.train.images.shape == (60_000, 28, 28, 1)
    assert data.test.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (data.mean, data.std) == pixel_statistics(data.train.images)


@needs_data
def test_one_changed_pixel_makes_a_copy_unverified(tmp_path):
    paths = find_copy(Path(os.environ["CNN_DATA_DIR"]), MNIST)
    content = bytearray(gzip.decompress(paths[2].read_bytes()))
    content[1000] ^= 1
    (tmp_path / NAMES[2]).write_bytes(content)
    data = load_idx_set((*paths[:2], tmp_path / NAMES[2], paths[3]), MNIST)
    assert "unverified copy" in data.notes[0]
