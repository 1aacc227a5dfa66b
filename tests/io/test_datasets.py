"""Data sets by name: bundled digits, MNIST in every layout, downloads from a local server."""

import gzip
import hashlib
import http.server
import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from cnncli.errors import CnnError, InvalidInputError, UnavailableError, UsageError
from cnncli.io.datasets import DATASETS, load_dataset
from cnncli.io.datasets.dataset import pixel_statistics
from cnncli.io.datasets.digits import test_mask as mask_of_test_images
from cnncli.io.datasets.download import RemoteFile, cache_folder, download, is_offline
from cnncli.io.datasets.mnist import MNIST, find_copy, load_idx_set

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


def test_mirrors_are_https_only():
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in MNIST.mirrors)


class Server:
    """A local server with the given files; counts requests."""

    def __init__(self, contents):
        requests = self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                body = contents.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def remote(name, content):
    return RemoteFile(name, hashlib.sha256(content).hexdigest(), len(content))


def test_download_tries_the_next_mirror_and_checks_the_sum(tmp_path, monkeypatch):
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    said = []
    with Server({"/bad/a": b"rubbish!", "/good/a": b"contents"}) as server:
        mirrors = [server.address + folder for folder in ("none/", "bad/", "good/")]
        download([remote("a", b"contents")], mirrors, tmp_path / "new/data", "Test", said.append)
        assert server.requests == ["/none/a", "/bad/a", "/good/a"]
    assert (tmp_path / "new/data/a").read_bytes() == b"contents"
    assert os.listdir(tmp_path / "new/data") == ["a"]
    assert said == ["fetching a (0.0 MB)"]


@pytest.mark.parametrize("body", [b"contentz", b"content", b"contents" * 100_000])
def test_wrong_bytes_are_never_kept(tmp_path, monkeypatch, body):
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    with Server({"/a": body}) as server, pytest.raises(UnavailableError, match=f"{server.address}a: Test is not"):
        download([remote("a", b"contents")], [server.address], tmp_path / "new/data", "Test", lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    with pytest.raises(UnavailableError, match="ConnectionError"):
        download([remote("a", b"contents")], ["http://127.0.0.1:9/"], tmp_path / "data", "Test", lambda _: None)
    assert list(tmp_path.iterdir()) == []


@needs_data
def test_mnist_is_verified_by_its_content():
    data = load_dataset("mnist", Path(os.environ["CNN_DATA_DIR"]))
    assert data.notes == ()
    assert "verified copy" in data.provenance
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
    assert "unverified" in data.provenance
    assert data.notes


def test_no_home_directory_says_what_to_do(monkeypatch):
    """A container with a user id that no account has."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(CnnError, match=r"no home directory .*; give --data-dir, or set CNN_DATA_DIR or HOME"):
        cache_folder(None)


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline_is_what_the_environment_says(value, expected, monkeypatch):
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("CNN_OFFLINE", value)
    assert is_offline() is expected
