"""Rectified linear unit: max(0, x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Layer


@dataclass(frozen=True)
class ReLU(Layer, kind="relu"):
    """``max(0, x)``."""

    summary: ClassVar[str] = "max(0, x)"
    is_activation: ClassVar[bool] = True
