"""Average pooling: the mean of the pixels under the window; padding does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.pooling import Pool2D


@dataclass(frozen=True)
class AvgPool2D(Pool2D, kind="avgpool"):
    """The mean of the input pixels under the window, per channel; padded zeros are not counted."""

    summary: ClassVar[str] = "average pooling; the stride is the size unless said otherwise"
