"""Batch normalisation. Ioffe and Szegedy 2015, arXiv:1502.03167."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cnncli.layers.base import Example, Layer, Option, Param
from cnncli.shapes import Shape


@dataclass(frozen=True)
class BatchNorm(Layer, kind="batchnorm"):
    """``weight * (x - mean) / sqrt(variance + eps) + bias`` per channel.

    While training, mean and variance are the batch's; the running values follow with
    ``running = momentum * running + (1 - momentum) * batch``.
    """

    summary: ClassVar[str] = "per channel: mean 0, variance 1, then a learned scale and shift"
    options: ClassVar[tuple[Option, ...]] = (
        Option("eps", "number", 1e-5, 0, 1, open_low=True, help="added to the variance"),
        Option(
            "momentum",
            "number",
            0.9,
            0,
            1,
            open_high=True,
            help="share of the old running value (torch: 1 - this)",
        ),
    )
    examples: ClassVar[tuple[Example, ...]] = (Example(), Example({"eps": 1e-3}, ((9,),)))

    eps: float = 1e-5
    momentum: float = 0.9

    def params(self, *xs: Shape) -> dict[str, Param]:
        """Return weight and bias, and the running mean and variance that no gradient reaches."""
        shape = xs[0][:1]
        return {
            "weight": Param(shape, "ones"),
            "bias": Param(shape, "zeros"),
            "mean": Param(shape, "zeros", trainable=False),
            "variance": Param(shape, "ones", trainable=False),
        }

    def params_formula(self, *xs: Shape) -> str:
        """Return ``4*C``."""
        return f"4*{xs[0][0]}"
