"""One image file read and decoded."""

from __future__ import annotations

from pathlib import Path

from cnncli.io.atomic import read_regular_file
from cnncli.io.images.decode import decode_image
from cnncli.io.images.image import MAX_FILE_BYTES, MAX_PIXELS, Image


def read_image(
    path: Path | str,
    *,
    exif: bool = True,
    frame: int | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_FILE_BYTES,
) -> Image:
    """Read and decode one image file.

    Parameters
    ----------
    path : path or str
        A regular file; nothing else is opened.
    exif, frame, max_pixels
        As in `decode_image`.
    max_bytes : int
        Larger files are refused before they are read.

    Raises
    ------
    InvalidInputError, CnnError
        As `read_regular_file` and `decode_image`.
    """
    return decode_image(read_regular_file(path, max_bytes), str(path), exif=exif, frame=frame, max_pixels=max_pixels)
