"""A bank as a stage: several steps read the same rows, and their results stand side by side as channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import ShapeError
from cnncli.filtering.kernel_stage import KernelStage
from cnncli.filtering.stages import GrayStage, SourceStage, Stage

Rows = NDArray[Any]
_COLOURS = ("red", "green", "blue")


class BankStage(Stage):
    """The channels of several stages, one stage after the other."""

    def __init__(self, members: Sequence[Stage], names: Sequence[str]) -> None:
        first = members[0].shape
        for stage, name in zip(members, names, strict=True):
            if stage.shape[:2] != first[:2]:
                sizes = f"{names[0]} gives {first[0]}x{first[1]}, {name} {stage.shape[0]}x{stage.shape[1]}"
                raise ShapeError(f"a bank needs results of one size: {sizes}", hint="use --padding same")
        super().__init__((*first[:2], sum(stage.shape[2] for stage in members)))
        self.members, self.names = tuple(members), tuple(names)
        # the way back to the image, through the largest window
        self.source = max(members, key=lambda stage: stage.geometry.kernel[0] if hasattr(stage, "geometry") else 0)

    def rows(self, first: int, last: int) -> Rows:
        """Return these rows of all members."""
        return np.concatenate([stage.rows(first, last) for stage in self.members], axis=2)


def channel_names(stage: Stage) -> tuple[str, ...]:
    """Return a name for every channel of what `stage` gives: the member of a bank, and the colour it comes from.

    The only channel of a gray picture has an empty name.
    """
    if isinstance(stage, SourceStage):
        depth = stage.pixels.shape[2]
        every = _COLOURS if depth == 3 else [str(i) for i in range(depth)] if depth > 1 else [""]
        return tuple(every[i] for i in stage.channels or range(depth))
    if isinstance(stage, GrayStage):
        return ("",)
    if isinstance(stage, BankStage):
        members = zip(stage.members, stage.names, strict=True)
        return tuple(_joined(name, below) for member, name in members for below in _inner(member, name))
    return _inner(stage, "")


def _inner(stage: Stage, member: str) -> tuple[str, ...]:
    """Return the names of a stage whose kernel is called by the bank that it is a member of."""
    below: tuple[str, ...] = () if isinstance(stage, SourceStage) else channel_names(stage.source)  # type: ignore[attr-defined]
    if not isinstance(stage, KernelStage):
        return below
    kernel = stage.kernel
    stacked = kernel.filters if kernel.combine == "stack" else 1
    filters = [f"{'' if member else kernel.name.removesuffix('[*]')}[{f}]" for f in range(stacked)]
    if not kernel.per_channel:
        return tuple(filters) if stacked > 1 else ("" if member else kernel.name,)
    return below if stacked == 1 else tuple(_joined(name, colour) for name in filters for colour in below)


def _joined(name: str, rest: str) -> str:
    """Return ``conv1[3]`` for ``conv1`` and ``[3]``, ``sobel red`` for ``sobel`` and ``red``."""
    return f"{name}{rest}" if rest.startswith("[") else f"{name} {rest}".strip()
