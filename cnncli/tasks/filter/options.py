"""What a batch does besides arithmetic: how files are read, written and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cnncli.errors import UsageError
from cnncli.io.images.encode import PNG_LEVEL, QUALITY
from cnncli.io.images.image import MAX_PIXELS

KEEPS_RESULT = "keeps_result"


def _keeps_result(default: Any) -> Any:
    """Return the field of an option that leaves the bytes of every result as they are.

    All other fields are part of the fingerprint by which a batch recognises finished files: a field that lacks this
    by mistake has files filtered again, but never leaves a stale result.
    """
    return field(default=default, metadata={KEEPS_RESULT: True})


@dataclass(frozen=True)
class FileOptions:
    """How files are read and written.

    Parameters
    ----------
    exif : bool
        Turn pictures upright.
    frame : int, optional
        Which picture of an animation or stack.
    all_frames : bool
        Every picture of an animation or stack, to a file of the same kind.
    max_pixels : int
        Of an input.
    alpha : str
        ``keep`` (follow the geometry only), ``filter`` (go through the chain as well) or ``drop``.
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
    stream_name : str
        A name whose extension says the format on standard output.
    compare : bool
        Write input, response and equalised response side by side instead of the response.
    grid : bool
        Write all channels as labelled tiles instead of the response.
    split_channels : bool
        Write each channel of the result to its own file.
    precision : int, optional
        Decimals of numbers as text; by default as many as reading them back exactly needs.
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
    all_frames: bool = False
    max_pixels: int = _keeps_result(MAX_PIXELS)
    alpha: str = "keep"
    nan_to: float | None = None
    overwrite: bool = _keeps_result(False)
    make_folders: bool = _keeps_result(False)
    skip_existing: bool = _keeps_result(False)
    level: int = PNG_LEVEL
    quality: int = QUALITY
    stream_name: str = _keeps_result("stdout.png")
    compare: bool = False
    grid: bool = False
    split_channels: bool = False
    precision: int | None = None
    align: bool = _keeps_result(False)
    threads: int = _keeps_result(1)
    workers: int = _keeps_result(1)
    sync_folders: bool = _keeps_result(True)
    fail_fast: bool = _keeps_result(False)

    def __post_init__(self) -> None:
        """Refuse a replacement for NaN that is none.

        Raises
        ------
        UsageError
            It is not finite.
        """
        if self.nan_to is not None and not abs(self.nan_to) < float("inf"):
            raise UsageError(f"{self.nan_to} is not a finite number", where="--nan-to", hint="try 0")
