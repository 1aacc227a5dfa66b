"""Maximum pooling: the largest value under the window; padding never wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.pooling import Pool2D


@dataclass(frozen=True)
class MaxPool2D(Pool2D, kind="maxpool"):
    """The largest value under the window, per channel."""

    summary: ClassVar[str] = "maximum pooling; the stride is the size unless said otherwise"
