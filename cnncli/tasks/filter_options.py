"""What a batch does besides arithmetic: how files are read, written and checked."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.io.image_data import MAX_PIXELS
from cnncli.io.image_encode import PNG_LEVEL, QUALITY

ALPHA = ("keep", "filter", "drop")


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Parameters
    ----------
    exif : bool
        Turn pictures upright.
    frame : int, optional
        Which picture of an animation or stack.
    max_pixels : int
        Of an input.
    alpha : str
        One of ALPHA: follow the geometry only, go through the chain as well, or be left out.
    nan_to : float, optional
        What stands in for NaN and infinite samples; None refuses them.
    overwrite : bool
        Replace outputs that exist.
    make_folders : bool
        Create the folders of outputs that are missing.
    skip_existing : bool
        Leave out what is finished: by the manifest, or without one by existence.
    level, quality : int
        Of PNG and TIFF; of JPEG and WebP.
    stream_format : str
        Format on standard output.
    compare : bool
        Write input, response and equalised response side by side instead of the response.
    split_channels : bool
        Write each channel of the result to its own file.
    precision : int
        Decimals of printed numbers.
    align : bool
        Print columns of equal width.
    threads, workers : int
        Of the arithmetic; files decoded and encoded at the same time.
    sync_folders : bool
        Bring the folder of each output to the disk after each file; a batch does it once at its end.
    fail_fast : bool
        Stop at the first file that fails.
    """

    exif: bool = True
    frame: int | None = None
    max_pixels: int = MAX_PIXELS
    alpha: str = "keep"
    nan_to: float | None = None
    overwrite: bool = False
    make_folders: bool = False
    skip_existing: bool = False
    level: int = PNG_LEVEL
    quality: int = QUALITY
    stream_format: str = "PNG"
    compare: bool = False
    split_channels: bool = False
    precision: int = 4
    align: bool = False
    threads: int = 1
    workers: int = 1
    sync_folders: bool = True
    fail_fast: bool = False
