"""How pictures become the input of a network: stored in the checkpoint, so that prediction does what training did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from cnncli.io.datasets.dataset import Dataset
from cnncli.io.datasets.placement import Placement

_LARGEST_SIDE = 65_535
_CENTRES = ("mass", "box")
FITS = ("pad", "crop", "stretch")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input of a network.

    Attributes
    ----------
    shape : (int, int, int)
        C, H, W of the input.
    mean, std : tuple of float
        Per channel, of pixels scaled to 0..1: ``x = (pixel / 255 - mean) / std``.
    light_on_dark : bool
        True where the network learnt bright ink on a dark ground.
    placement : Placement or None
        For single digits: how large they are and where they lie.
    fit : str
        Pictures of another size are scaled: with their aspect kept and padded (``pad``), with their aspect kept and cut
        (``crop``), or to height and width by themselves (``stretch``).
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    light_on_dark: bool = False
    placement: Placement | None = None
    fit: str = "pad"

    @property
    def ground(self) -> tuple[int, ...]:
        """Return the colour beside a picture: black behind light ink, otherwise the mean of the training images."""
        return tuple(0 if self.light_on_dark else round(mean * 255) for mean in self.mean)

    @classmethod
    def of(cls, data: Dataset) -> Preprocessing:
        """Return what a network trained on `data` expects."""
        return cls(data.image_shape, data.mean, data.std, data.light_on_dark, data.placement, data.fit)

    def to_json(self) -> dict[str, Any]:
        """Return a value that `from_json` reads back exactly."""
        place = self.placement
        return {
            "shape": list(self.shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "light_on_dark": self.light_on_dark,
            "placement": {"box": place.box, "centre": place.centre} if place else None,
            "fit": self.fit,
        }

    @classmethod
    def from_json(cls, value: Any) -> Preprocessing:
        """Read back what `to_json` gave.

        Raises
        ------
        ValueError
            A field that is missing or out of range; the text names it.
        """
        if not isinstance(value, Mapping):
            raise ValueError("preprocessing is not a table")
        shape, mean, std = (value.get(key) for key in ("shape", "mean", "std"))
        if not (isinstance(shape, list) and len(shape) == 3 and all(_is_side(side) for side in shape)):
            raise ValueError("preprocessing.shape is not three sizes")
        if not (are_finite(mean, shape[0]) and are_finite(std, shape[0]) and min(std) > 0):
            raise ValueError("preprocessing.mean and .std are not one number per channel")
        if not isinstance(value.get("light_on_dark"), bool):
            raise ValueError("preprocessing.light_on_dark is not true or false")
        fit = value.get("fit", "pad")  # checkpoints before it knew only that one
        if fit not in FITS:
            raise ValueError(f"preprocessing.fit is not one of {', '.join(FITS)}")
        channels, height, width = shape
        place = _placement(value.get("placement"), min(height, width))
        return cls((channels, height, width), tuple(mean), tuple(std), value["light_on_dark"], place, fit)


def _placement(value: Any, side: int) -> Placement | None:
    if value is None:
        return None
    if not (isinstance(value, Mapping) and _is_side(value.get("box")) and value.get("centre") in _CENTRES):
        raise ValueError("preprocessing.placement is not a box and a centre")
    if value["box"] > side:
        raise ValueError(f"preprocessing.placement.box is {value['box']}, the input is {side} wide")
    return Placement(value["box"], value["centre"])


def _is_side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _LARGEST_SIDE


def are_finite(value: Any, count: int) -> TypeGuard[list[float]]:
    """Return whether a JSON value is a list of `count` finite numbers."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(item) in (int, float) and math.isfinite(item) for item in value)
    )
