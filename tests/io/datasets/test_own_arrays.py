"""Images and labels of `.npz` files: which kinds are understood, and which are refused."""

import numpy as np
import pytest

from cnncli.errors import InvalidInputError, UsageError
from cnncli.io.datasets.own.arrays import read_arrays
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (12, 6, 5, 3), np.uint8)
LABELS = np.arange(12) % 3


def saved(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "d.npz", **arrays)
    return str(tmp_path / "d.npz")


def test_train_validation_and_test_arrays(tmp_path):
    path = saved(tmp_path, x_train=BYTES[:6], y_train=LABELS[:6], x_val=BYTES[6:9], y_val=LABELS[6:9],
                 x_test=BYTES[9:], y_test=LABELS[9:], mean=np.zeros(3))  # fmt: skip
    data = load_data(DataRequest(path))
    assert np.array_equal(data.train.images, BYTES[:6])
    assert np.array_equal(data.validation.images, BYTES[6:9])
    assert np.array_equal(data.test.labels, LABELS[9:])
    assert (data.name, data.classes, data.targets) == ("d", ("0", "1", "2"), "classes")
    assert np.allclose(data.mean, (BYTES[:6] / 255).mean((0, 1, 2)))


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_become_bytes(tmp_path, scale, dtype):
    values = (BYTES / 255 * scale).astype(dtype)
    data = read_arrays(saved(tmp_path, x=values[..., 0], y=LABELS))
    assert data.parts["train"].images.shape == (12, 6, 5, 1)
    assert np.abs(data.parts["train"].images[..., 0].astype(int) - BYTES[..., 0]).max() <= (dtype == np.float16)


def test_wide_integers_within_a_byte_are_bytes(tmp_path):
    assert np.array_equal(read_arrays(saved(tmp_path, x=BYTES.astype(np.int64), y=LABELS)).parts["train"].images, BYTES)


@pytest.mark.parametrize(
    ("labels", "loss", "targets", "classes"),
    [
        (LABELS.astype(np.uint8), "auto", "classes", ("0", "1", "2")),
        (LABELS[:, None], "auto", "classes", ("0", "1", "2")),
        (np.eye(3)[LABELS], "auto", "classes", ("0", "1", "2")),
        (np.eye(3)[LABELS], "binary_cross_entropy", "labels", ("y1", "y2", "y3")),
        ((np.arange(24) % 3 > 0).reshape(12, 2), "auto", "labels", ("y1", "y2")),
        (LABELS / 7, "auto", "numbers", ("y",)),
        (LABELS, "mse", "numbers", ("y",)),
        (np.stack([LABELS, LABELS / 2, -LABELS], 1), "auto", "numbers", ("y1", "y2", "y3")),
    ],
)
def test_kinds_of_labels(tmp_path, labels, loss, targets, classes):
    found = read_arrays(saved(tmp_path, x=BYTES, y=labels), loss)
    assert (found.targets, found.classes) == (targets, classes)
    kept = found.parts["train"].labels
    if targets == "classes":
        assert kept.dtype == np.int64
        assert np.array_equal(kept, LABELS)
    else:
        assert kept.dtype == np.float64
        assert np.array_equal(kept, np.reshape(labels, (12, -1)))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": LABELS}, r"no x_train or x among its arrays \(y\)"),
        ({"x": BYTES}, "x without y"),
        ({"x": BYTES, "y": LABELS[:11]}, "11 labels in y for the 12 images of x"),
        ({"x": BYTES.reshape(12, -1), "y": LABELS}, "x is 12x90, not images"),
        ({"x": BYTES.transpose(0, 3, 1, 2), "y": LABELS}, "transpose it with x.transpose"),
        ({"x": BYTES - 400.0, "y": LABELS}, "pixels from -400 to"),
        ({"x": np.where(BYTES > 9, np.nan, 0), "y": LABELS}, "pixels from nan"),
        ({"x": BYTES.astype(object), "y": LABELS}, "npy"),
        ({"x": BYTES, "y": LABELS - 1}, "label -1: classes are counted from 0"),
        ({"x": BYTES, "y": LABELS + 1}, r"no training image of class 0 \(labels 1 to 3\)"),
        ({"x": BYTES, "y": LABELS * 10**6}, "label 2000000"),
        ({"x": BYTES, "y": LABELS * 0}, "only class 0"),
        ({"x": BYTES, "y": np.where(LABELS > 1, np.inf, 0.5)}, "not finite"),
        ({"x_train": BYTES, "y_train": LABELS, "x_test": BYTES[:, :3], "y_test": LABELS}, "differ in form"),
        ({"x_train": BYTES, "y_train": LABELS, "x_test": BYTES, "y_test": np.eye(3)[LABELS]}, "differ in width"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, words):
    with pytest.raises(InvalidInputError, match=words):
        read_arrays(saved(tmp_path, **arrays))


def test_damaged_files_are_refused(tmp_path):
    path = saved(tmp_path, x=BYTES, y=LABELS)
    whole, refused = (tmp_path / "d.npz").read_bytes(), 0
    for _ in range(80):
        content = bytearray(whole[: RANDOM.integers(0, len(whole))] if RANDOM.random() < 0.5 else whole)
        for _ in range(3 if content else 0):
            content[RANDOM.integers(0, len(content))] = RANDOM.integers(0, 256)
        (tmp_path / "d.npz").write_bytes(content)
        try:
            read_arrays(path)
        except InvalidInputError:
            refused += 1
    assert refused > 60


def test_arrays_are_brought_to_another_form_on_request(tmp_path):
    path = saved(tmp_path, x=BYTES, y=LABELS)
    data = load_data(DataRequest(path, resize=(12, 10), channels=1, fit="stretch"), input_shape=(3, 32, 32))
    assert data.train.images.shape == (12, 12, 10, 1)
    assert load_data(DataRequest(path), input_shape=(3, 32, 32)).train.images.shape == (12, 6, 5, 3)
    with pytest.raises(UsageError, match="--fit crop has nothing to fit"):
        load_data(DataRequest(path, fit="crop"))
    with pytest.raises(UsageError, match="--skip-bad"):
        load_data(DataRequest(path, skip_bad=True))
