"""The rewrite of prediction for one image at a time: channels in the lanes of a vector, where others have images."""

from __future__ import annotations

from collections.abc import Sequence

from cnncli.compute.host import LANES
from cnncli.layers.recording import Scope, Step, Table, Value


class NotForFewError(Exception):
    """A step can be done for LANES images only."""


def channels_in_lanes(steps: Sequence[Step]) -> list[Step]:
    """Replace every step of blocks by what does its work on maps (C / LANES, H, W, LANES) of one image.

    The shapes of all values become those of vectors of channels. Steps that prepared weights for LANES images are left
    out.

    Raises
    ------
    NotForFewError
        If a step is for LANES images only, or begins at a channel inside of a vector.
    """
    result: list[Step] = []
    for step in steps:
        replaced = (step,) if step.scope is Scope.BATCH else step.few(step) if step.few else ()
        if not replaced:
            raise NotForFewError(step.name)
        result += replaced
    result = _without_unread_tables(result)
    for value in _values(result):
        if value.channel % LANES:
            raise NotForFewError(value.name)
        value.channel //= LANES
        value.shape = (-(-value.shape[0] // LANES), *value.shape[1:])
    return result


def _without_unread_tables(steps: Sequence[Step]) -> list[Step]:
    kept: list[Step] = []
    read: set[Table] = set()
    for step in reversed(steps):
        if step.scope is Scope.BLOCK or read.intersection(step.tables_written):
            kept.append(step)
            read.update(step.tables_read)
    return kept[::-1]


def _values(steps: Sequence[Step]) -> list[Value]:
    """Return every value once, with those in which they lie."""
    found: dict[Value, None] = {}
    for step in steps:
        for value in (*step.reads, *step.writes):
            here: Value | None = value
            while here is not None and here not in found:
                found[here] = None
                here = here.home
    return list(found)
