"""Local response normalisation across channels. Krizhevsky et al. 2012, section 3.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Layer, Option


@dataclass(frozen=True)
class LRN(Layer, kind="lrn"):
    """``x / (k + alpha / size * sum of squares over size channels) ** beta``."""

    summary: ClassVar[str] = "local response normalisation across channels"
    main: ClassVar[str] = "size"
    options: ClassVar[tuple[Option, ...]] = (
        Option("size", "int", 5, 1, 1024, help="neighbouring channels"),
        Option("alpha", "number", 1e-4, 0, 100),
        Option("beta", "number", 0.75, 0, 100),
        Option("k", "number", 1.0, 0, 100),
    )

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def label(self) -> str:
        """Return ``n=5``."""
        return f"n={self.size}"
