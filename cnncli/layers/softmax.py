"""Softmax: logits become probabilities, ``exp(x_i) / sum_j exp(x_j)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Example, Layer


@dataclass(frozen=True)
class Softmax(Layer, kind="softmax"):
    """Probabilities that add to 1, over the channels; at the end of a network it is fused with the loss."""

    summary: ClassVar[str] = "probabilities that add to 1"
    is_activation: ClassVar[bool] = True
    loss: ClassVar[str] = "cross_entropy"
    examples: ClassVar[tuple[Example, ...]] = (Example({}, ((10,),)),)
