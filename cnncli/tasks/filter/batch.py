"""Files through one filter, one or many; one bad file does not stop the others."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH120
# names are kept as text, whatever bytes they hold
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from cnncli.errors import CnnError, InterruptedRunError
from cnncli.filtering.plan import FilterPlan
from cnncli.io.atomic import sync_directory
from cnncli.tasks.filter.events import Event, Failure, Outcome, Started
from cnncli.tasks.filter.manifest import Manifest
from cnncli.tasks.filter.names import Job
from cnncli.tasks.filter.one_file import Encoded, Loaded, apply, check_target, encode, load, write
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.target import Destination, check_destination, destination

T = TypeVar("T")
_WRITING = 3  # results of one process on their way to the disk at a time
_LARGE_FILE = 300_000  # [B] a picture that will be worth compiled code


def filter_one_file(job: Job, plan: FilterPlan, options: FileOptions, standard_input: bytes | None = None) -> Outcome:
    """Filter one file; the arithmetic is imported while the file is being decoded.

    Raises
    ------
    CnnError
        Whatever is wrong with the file, the plan or the output.
    """
    check_target(job, options)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, job, plan, options, standard_input=standard_input)
        import cnncli.filtering.apply  # noqa: F401  takes longer than decoding most pictures

        if _is_large(job.source):
            from cnncli.compute.store import routine
            from cnncli.kernels.image_filter.arguments import ANY, CROSS, FLOATS, NARROW, U8

            for arithmetic, form in ((FLOATS, ANY), (NARROW, CROSS)):
                routine("image_filter.fused_strip.fused_strip", arithmetic, U8, form).preload()

        loaded = loading.result()
    try:
        where = destination(job, loaded.image, plan, options, len(loaded.timing))
        check_destination(job, where, options)
        return write(encode(0, job, where, apply(loaded, plan, options), options), options)
    except CnnError as error:
        if isinstance(error, InterruptedRunError):  # not a fault of this file
            raise
        raise error.located("stdin" if job.source == "-" else job.source) from None


def _is_large(source: str) -> bool:
    try:
        return source != "-" and Path(source).stat().st_size > _LARGE_FILE
    except (OSError, ValueError):  # reading it gives the error
        return False


def filter_files(
    jobs: Sequence[Job],
    indices: Iterable[int],
    plan: FilterPlan,
    options: FileOptions,
    manifest: Manifest,
    standard_input: bytes | None = None,
) -> Iterator[Event]:
    """Filter the jobs with these indices; yield `Started` before and an `Outcome` after each, not always in order.

    One after the other, but for writing: while a result goes to the disk, the next picture is at work. Several
    processes do this side by side (`run_jobs`). Nothing is recorded in `manifest`: it only says what is finished.

    Raises
    ------
    CnnError
        With `fail_fast`, the first error of a file. What is being written is finished before.
    """
    with ThreadPoolExecutor(_WRITING) as pool:  # it ends when all is written, whatever happens
        writing: deque[_Write] = deque()
        try:
            for index in indices:
                yield Started(index)
                work = partial(_filtered, index, jobs[index], plan, options, manifest, standard_input)
                found = _or_failure(index, jobs[index], options, work)
                if isinstance(found, Outcome):
                    yield found
                    continue
                paths = {path for path, _ in found.files}
                while writing and (len(writing) == _WRITING or not all(map(paths.isdisjoint, _paths(writing)))):
                    yield writing.popleft().outcome(options)
                writing.append(_Write(index, jobs[index], paths, pool.submit(write, found, options)))
                while writing and writing[0].result.done():
                    yield writing.popleft().outcome(options)
        except CnnError:
            while writing:
                yield writing.popleft().outcome(options)
            raise
        while writing:
            yield writing.popleft().outcome(options)


@dataclass(frozen=True)
class _Write:
    """A result on its way to the disk."""

    index: int
    job: Job
    paths: set[str]
    result: Future[Outcome]

    def outcome(self, options: FileOptions) -> Outcome:
        """Wait for the end of it."""
        return _or_failure(self.index, self.job, options, self.result.result)


def _paths(writing: Iterable[_Write]) -> Iterator[set[str]]:
    return (one.paths for one in writing)


def _or_failure(index: int, job: Job, options: FileOptions, work: Callable[[], T]) -> T | Outcome:
    """Return what `work` does, or the outcome of a file with an error.

    Raises
    ------
    CnnError
        With `fail_fast`, the error.
    """
    try:
        return work()
    except InterruptedRunError:  # not a fault of this file
        raise
    except CnnError as error:
        if options.fail_fast:
            raise error.located(job.source) from None
        return Outcome(index, job.source, job.target, "failed", failure=Failure.of(error.located(job.source)))
    except MemoryError:
        lack = CnnError("out of memory", where=job.source, hint="use fewer --workers")
        return Outcome(index, job.source, job.target, "failed", failure=Failure.of(lack))


def _filtered(
    index: int, job: Job, plan: FilterPlan, options: FileOptions, manifest: Manifest, standard_input: bytes | None
) -> Outcome | Encoded:
    """Return the result for a file, or the outcome of one that needs none."""
    skip = options.skip_existing and job.target is not None
    if skip and not manifest.kept and not options.split_channels and os.path.lexists(str(job.target)):
        return Outcome(index, job.source, job.target, "skipped")
    loaded = load(job, plan, options, fingerprint=manifest.kept, standard_input=standard_input)
    where = destination(job, loaded.image, plan, options, len(loaded.timing))
    if skip:
        if manifest.kept:
            finished = manifest.finished(job.source, where.paths, loaded.sha256)
        else:
            finished = all(os.path.lexists(path) for path in where.paths)
        if finished:
            return _skipped(index, job, where, loaded)
    check_destination(job, where, options)
    return encode(index, job, where, apply(loaded, plan, options, compiled=True), options)


def _skipped(index: int, job: Job, where: Destination, loaded: Loaded) -> Outcome:
    target = where.paths[0] if len(where.paths) == 1 else None
    sizes = {path: os.lstat(path).st_size for path in where.paths}
    return Outcome(index, job.source, target, "skipped", sha256=loaded.sha256, outputs=sizes)


def sync_folders(jobs: Sequence[Job]) -> None:
    """Bring the names of all outputs to the disk, after a batch that wrote them without.

    A manifest may be ahead of them if the power fails: then an output is missing, and the next run writes it again.
    """
    for folder in sorted({os.path.dirname(job.target) or "." for job in jobs if job.target not in (None, "-")}):
        if os.path.isdir(folder):
            sync_directory(folder)
