"""Many files through one filter: decoding, arithmetic and encoding overlap; one bad file does not stop the others."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cnncli.errors import CnnError
from cnncli.tasks.filter_events import Event, Failure, Outcome, Started
from cnncli.tasks.filter_manifest import Manifest
from cnncli.tasks.filter_naming import Job
from cnncli.tasks.filter_one import Loaded, apply, check_target, load, store
from cnncli.tasks.filter_options import FileOptions
from cnncli.tasks.filter_plan import FilterPlan

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
        loading = pool.submit(load, job, options, fingerprint=False, standard_input=standard_input)
        import cnncli.tasks.filter_image  # noqa: F401  takes longer than decoding most pictures

        if job.source != "-" and Path(job.source).is_file() and Path(job.source).stat().st_size > _LARGE_FILE:
            from cnncli.kernels import native

            native.preload("image_filter", "filter_strip")
        loaded = loading.result()
    return store(0, job, apply(loaded, plan, options), options)


def filter_files(
    jobs: Sequence[Job],
    indices: Sequence[int],
    plan: FilterPlan,
    options: FileOptions,
    manifest: Manifest,
    standard_input: bytes | None = None,
) -> Iterator[Event]:
    """Filter the jobs with these indices; yield `Started` before and an `Outcome` after each, in order.

    Files are read and decoded up to a few ahead, and encoded and written behind the arithmetic, which stays on this
    thread (it uses threads of its own). Nothing is recorded in `manifest`: it only says what is finished.

    Raises
    ------
    CnnError
        With `fail_fast`, the first error of a file.
    """
    loads: deque[tuple[int, Future[Loaded | None]]] = deque()
    stores: deque[tuple[int, Future[Outcome]]] = deque()
    ahead = options.workers + 1
    waiting = iter(indices)
    pool = ThreadPoolExecutor(2 * options.workers)
    try:
        while True:
            while len(loads) < ahead and (index := next(waiting, None)) is not None:
                yield Started(index)
                loads.append((index, pool.submit(_load, jobs[index], options, manifest, standard_input)))
            if not loads:
                break
            index, loading = loads.popleft()
            stores.append((index, _advance(index, jobs[index], loading, plan, options, pool)))
            while len(stores) > ahead or (stores and stores[0][1].done()):
                yield _outcome(jobs, stores.popleft(), options)
        while stores:
            yield _outcome(jobs, stores.popleft(), options)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(job: Job, options: FileOptions, manifest: Manifest, standard_input: bytes | None) -> Loaded | None:
    """Return the decoded input, or None where the output is finished."""
    skip = options.skip_existing and job.target is not None
    if skip and not manifest.kept and os.path.lexists(str(job.target)):
        return None
    loaded = load(job, options, fingerprint=manifest.kept, standard_input=standard_input)
    if skip and manifest.kept and manifest.finished(job.source, str(job.target), loaded.sha256):
        return None
    return loaded


def _advance(
    index: int,
    job: Job,
    loading: Future[Loaded | None],
    plan: FilterPlan,
    options: FileOptions,
    pool: ThreadPoolExecutor,
) -> Future[Outcome]:
    """Do the arithmetic of one file and hand the rest to the pool."""
    ready: Future[Outcome] = Future()
    try:
        loaded = loading.result()
        if loaded is None:
            ready.set_result(Outcome(index, job.source, job.target, "skipped"))
            return ready
        filtered = apply(loaded, plan, options)
    except CnnError as error:
        ready.set_exception(error.located(job.source))
        return ready
    except MemoryError:
        ready.set_exception(CnnError("out of memory", where=job.source, hint="use fewer --workers"))
        return ready
    return pool.submit(store, index, job, filtered, options)


def _outcome(jobs: Sequence[Job], pending: tuple[int, Future[Outcome]], options: FileOptions) -> Outcome:
    index, future = pending
    job = jobs[index]
    try:
        return future.result()
    except CnnError as error:
        if options.fail_fast:
            raise
        return Outcome(index, job.source, job.target, "failed", failure=Failure.of(error))
    except MemoryError:
        lack = CnnError("out of memory", where=job.source, hint="use fewer --workers")
        return Outcome(index, job.source, job.target, "failed", failure=Failure.of(lack))
