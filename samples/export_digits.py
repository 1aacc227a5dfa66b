"""Write the bundled digits as IDX files: `python samples/export_digits.py FOLDER` (needs scikit-learn).

The images are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998,
UCI Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0) as scikit-learn ships it: 1,797 images of 8x8
with grey levels 0..16.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """Return `array` (unsigned bytes) in the IDX format."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def main(folder: Path) -> None:
    """Write the two files and say how large they are."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name, array in (("images-idx3", digits.images), ("labels-idx1", digits.target)):
        path = folder / f"digits-{name}-ubyte.gz"
        # no time stamp and no name inside: the same bytes every time
        path.write_bytes(gzip.compress(idx_bytes(array), compresslevel=9, mtime=0))
        print(f"{path}: {array.shape}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
