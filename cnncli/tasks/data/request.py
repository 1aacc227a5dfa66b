"""Which data set is asked for, and how its pictures are to be prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataRequest:
    """Which data set, and how its pictures are prepared.

    Attributes
    ----------
    source : str
        A name of the catalogue, or a path.
    data_dir : path, optional
        Where the files of named sets are.
    resize : (int, int), optional
        Height and width of the network's input.
    fit : str, optional
        As in a `Preprocessing`; by default ``pad``.
    channels : int, optional
        1 or 3.
    skip_bad : bool
        Leave out pictures that cannot be read.
    loss : str
        As on the command line: ``mse`` makes numbers of labels.
    classes : tuple of str
        Only these, in this order; none: all.
    normalize : str
        As `parse_normalization` takes it.
    """

    source: str
    data_dir: Path | None = None
    resize: tuple[int, int] | None = None
    fit: str | None = None
    channels: int | None = None
    skip_bad: bool = False
    loss: str = "auto"
    classes: tuple[str, ...] = ()
    normalize: str = "auto"
