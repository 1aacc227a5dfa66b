"""The bundled digits: 1,797 images of 8x8, the data set that always works offline."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from cnncli.io.datasets.dataset import Dataset, Split, paired, pixel_statistics
from cnncli.io.datasets.idx import decompress, parse_idx
from cnncli.io.datasets.placement import Placement

CLASSES = tuple("0123456789")
_LEVELS = 16  # brightest grey level of the original
_EVERY = 5  # one image in five is a test image


def load_digits() -> Dataset:
    """Return the UCI optical digits, grey levels 0..16 spread over 0..255.

    The split is fixed and stratified: within each class, in file order, images 3, 8, 13, ... (counted from 1)
    are the test set (359 images), the other 1,438 are for training.

    References
    ----------
    Alpaydin and Kaynak 1998, doi:10.24432/C50P49, CC BY 4.0.
    """
    images, labels = _bundled("images-idx3", 3), _bundled("labels-idx1", 1)
    pixels = ((images.astype(np.uint16) * 255 + _LEVELS // 2) // _LEVELS).astype(np.uint8)
    whole = paired(pixels, labels, len(CLASSES), ("digits images", "digits labels"))
    is_test = test_mask(whole.labels)
    train = Split(whole.images[~is_test], whole.labels[~is_test])
    mean, std = pixel_statistics(train.images)
    return Dataset(
        name="digits",
        train=train,
        test=Split(whole.images[is_test], whole.labels[is_test]),
        classes=CLASSES,
        mean=mean,
        std=std,
        light_on_dark=True,
        placement=Placement(box=8, centre="box"),
    )


def test_mask(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return True for every fifth image of each class, beginning with its third."""
    mask = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[2::_EVERY]] = True
    return mask


def _bundled(part: str, rank: int) -> NDArray[np.uint8]:
    name = f"digits-{part}-ubyte.gz"
    return parse_idx(decompress((files("cnncli") / "data" / name).read_bytes(), name), rank, name)
