"""Which files a result goes to: known once its input is decoded, before anything is computed."""

from __future__ import annotations

# ruff: noqa: PTH122
# names are taken apart as text, whatever bytes they hold
import os
from dataclasses import dataclass

import numpy as np

from cnncli.errors import CnnError
from cnncli.filtering.plan import FilterPlan, resolve_plan
from cnncli.io.atomic import ensure_writable
from cnncli.io.images.encode import check_holds, obstacle
from cnncli.io.images.formats import format_of
from cnncli.io.images.frames import animation_obstacle
from cnncli.io.images.image import Image
from cnncli.tasks.filter.memory import result_shape
from cnncli.tasks.filter.names import Job
from cnncli.tasks.filter.options import FileOptions


@dataclass(frozen=True)
class Destination:
    """The files of one result, and what to say about their names.

    Attributes
    ----------
    paths : tuple of str
        None for a result that is printed; one, or one for each channel; ``-`` is standard output.
    note : str
        Why the name is not the planned one.
    """

    paths: tuple[str, ...]
    note: str = ""


def default_extension(plan: FilterPlan) -> str:
    """Return the extension of default names: PNG, unless it cannot hold the result of an ordinary picture."""
    try:
        dtype = resolve_plan(plan, np.dtype(np.uint8)).dtype
    except CnnError:  # the picture may be of another kind
        return ".png"
    return ".tif" if dtype.kind == "f" else ".png"


def destination(job: Job, source: Image, plan: FilterPlan, options: FileOptions, pictures: int = 1) -> Destination:
    """Return where the result of `source`, or of so many pictures like it, goes.

    A name whose extension the user did not choose gets another one where its format cannot hold the result.

    Raises
    ------
    CnnError
        The format that was asked for cannot hold the result; the plan does not fit the picture.
    """
    if job.target is None:
        return Destination(())
    dtype, channels, alpha = np.dtype(np.uint8), 3, False
    if not (options.compare or options.grid):
        dtype, alpha = resolve_plan(plan, source.pixels.dtype).dtype, source.alpha is not None
        channels = result_shape(source.pixels.shape, plan, source.pixels.dtype)[2]
    parts, channels = (channels, 1) if options.split_channels else (1, channels)
    what_stops = animation_obstacle if pictures > 1 else obstacle
    kind = format_of(options.stream_name if job.target == "-" else job.target)
    problem = what_stops(kind, dtype, channels, alpha)
    if job.target == "-":
        if pictures > 1 and problem:
            raise CnnError(problem, where="stdout", hint="use --to tif, gif, webp or png")
        check_holds(kind, dtype, 1 if pictures > 1 and kind == "GIF" else channels, alpha, "stdout")
        return Destination(("-",))
    names = [job.target, *_others(job, source)]
    chosen = next((name for name in names if not what_stops(format_of(name), dtype, channels, alpha)), None)
    if chosen is None and pictures > 1:
        raise CnnError(problem, where=job.target, hint="write .tif, .png, .webp or .gif, or use --alpha drop")
    if chosen is None:
        check_holds(format_of(job.target), dtype, channels, alpha, job.target)
        chosen = job.target
    note = f"{problem}: written to {chosen}" if problem else ""
    if not options.split_channels:
        return Destination((chosen,), note)
    stem, extension = os.path.splitext(chosen)
    return Destination(tuple(f"{stem}-{number}{extension}" for number in range(parts)), note)


def check_destination(job: Job, where: Destination, options: FileOptions) -> None:
    """Refuse files that exist, before the filter runs; planning has looked at the planned name only.

    Raises
    ------
    CnnError
        As `ensure_writable`.
    """
    if where.paths not in ((), ("-",), (job.target,)):
        for path in where.paths:
            if os.path.lexists(path):
                ensure_writable(path, overwrite=options.overwrite)


def _others(job: Job, source: Image) -> list[str]:
    """Return the names that may stand for the planned one, the most usual format first."""
    if not job.fallback:
        return []
    own = os.path.splitext(job.source)[1].lower()
    text = (own if own in (".csv", ".tsv") else ".txt",) if source.mode == "matrix" else ()
    return [job.fallback + extension for extension in (".png", ".tif", *text, ".npy")]
