"""Dropout: in training a part of the values is set to zero. Srivastava et al. 2014, JMLR 15."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Example, Layer, Option


@dataclass(frozen=True)
class Dropout(Layer, kind="dropout"):
    """Set a share `rate` of the values to zero and scale the others by 1 / (1 - rate), when training."""

    main: ClassVar[str] = "rate"
    summary: ClassVar[str] = "sets a share of the values to zero while training"
    options: ClassVar[tuple[Option, ...]] = (
        Option("rate", "number", low=0, high=1, open_high=True, help="share of the values, below 1"),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example({"rate": 0.5}), Example({"rate": 0.1}, ((9,),)))

    rate: float

    def label(self) -> str:
        """Return ``rate 0.1``."""
        return f"rate {self.rate:g}"
