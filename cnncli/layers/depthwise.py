"""Depthwise convolution: one kernel (or a few) per channel. Howard et al. 2017, arXiv:1704.04861."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cnncli.layers.base import Example, Layer, Option
from cnncli.layers.conv import BIAS, INIT, KERNEL, Conv2D
from cnncli.layers.windows import DILATION, PADDING, ROUND, STRIDE
from cnncli.shapes import Shape


@dataclass(frozen=True)
class Depthwise(Conv2D, kind="depthwise", can_run=True):
    """A convolution with as many groups as channels: `multiplier` kernels for each channel."""

    main: ClassVar[str] = "kernel"
    summary: ClassVar[str] = "depthwise convolution: each channel has its own kernel"
    options: ClassVar[tuple[Option, ...]] = (
        KERNEL,
        STRIDE,
        PADDING,
        DILATION,
        Option("multiplier", "int", 1, 1, 1024, help="kernels per channel"),
        ROUND,
        BIAS,
        INIT,
    )
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"kernel": (3, 3), "padding": "same"}),
        Example({"kernel": (3, 3), "multiplier": 2, "stride": (2, 2)}),
    )

    @classmethod
    def build(cls, options: Mapping[str, Any], x: Shape) -> Layer:
        """Return the convolution whose filters and groups follow from the channels of `x`."""
        fields = dict(options)
        multiplier = fields.pop("multiplier", 1)
        return super().build({**fields, "filters": x[0] * multiplier, "groups": x[0]}, x)
