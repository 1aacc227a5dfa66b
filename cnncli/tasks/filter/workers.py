"""Batches on several processes that survive a decoder which crashes.

The work is done by workers that are forked before any thread exists, one per processor; the parent hands out numbers of
files and reads their events. When a signal ends a worker (a decoder's segmentation fault, the kernel's out-of-memory
killer), the files it had started are tried again, each alone in a worker of its own; a file that crashes that one too
is reported as failed, and the batch goes on. No other program is started.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import GeneratorType
from typing import Any, NoReturn

from cnncli.errors import CnnError, InterruptedRunError
from cnncli.io.atomic import temporaries
from cnncli.tasks.filter.events import Event, Failure, Outcome, Started, from_json, to_json
from cnncli.tasks.filter.names import Job

Work = Callable[[Iterable[int]], Iterator[Event]]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AHEAD = 3  # numbers a worker holds beyond what it works on, so that it never waits for the parent
_EVENTS_READ = 1 << 16  # [B] at a time: a larger buffer is mapped and given back with each read
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_KEPT = 64 << 20  # [B] of freed memory that a worker keeps for its next picture
_NEVER_KEPT = 8 << 20  # [B] larger arrays are given back one by one


class _Worker:
    """One forked process: a pipe for numbers, a pipe for events, and the files assigned to it."""

    def __init__(self, work: Work, others: Iterable[_Worker]) -> None:
        numbers_in, self.numbers = os.pipe()
        self.events, events_out = os.pipe()
        self.assigned: list[int] = []
        self.started: list[int] = []
        self.ended = False
        self._rest = b""
        foreign = (self.numbers, self.events, *(d for other in others for d in other.descriptors()))
        # a signal that meets the worker before it is ready would end it as if it were the parent
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _worker_main(numbers_in, events_out, foreign, work, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(numbers_in)
        os.close(events_out)

    def descriptors(self) -> list[int]:
        """Return the ends of pipes that this process holds."""
        return [d for d in (self.numbers, self.events) if d >= 0]

    def give(self, index: int) -> None:
        """Hand over one more file; a worker that has just crashed is noticed by the end of its events."""
        self.assigned.append(index)
        with contextlib.suppress(BrokenPipeError):
            os.write(self.numbers, b"%d\n" % index)

    def no_more(self) -> None:
        """Close the pipe of numbers: the worker ends after its last file."""
        if self.numbers >= 0:
            os.close(self.numbers)
            self.numbers = -1

    def read(self) -> list[dict[str, Any]] | None:
        """Return the events that have arrived; None at their end."""
        data = os.read(self.events, _EVENTS_READ)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> int:
        """Close both pipes, wait for the process and return how it ended."""
        self.no_more()
        os.close(self.events)
        self.events = -1
        return os.waitpid(self.pid, 0)[1]


def run_jobs(jobs: Sequence[Job], work: Work, processes: int, record: Callable[[Outcome], None]) -> Iterator[Outcome]:
    """Yield the outcome of every job, in order, whatever happens to the processes that do the work.

    Parameters
    ----------
    jobs : sequence of Job
    work : callable
        Takes numbers of jobs (read as they come) and yields `Started` before and an `Outcome` after each. It must not
        have imported Numba or started a thread when this is called.
    processes : int
        Children at work at the same time.
    record : callable
        Called with every outcome as it arrives, also with those that arrive while a batch is being stopped.

    Raises
    ------
    CnnError
        What the work itself raises: with it the batch ends.
    """
    waiting = deque(range(len(jobs)))
    suspects: deque[int] = deque()
    done: dict[int, Outcome] = {}
    following = 0
    for outcome in _run_workers(jobs, work, min(processes, len(jobs)), waiting, suspects, record):
        done[outcome.index] = outcome
        while following in done:
            yield done.pop(following)
            following += 1
    for index in suspects:
        done[index] = _retry_alone(jobs, work, index, record)
    yield from (done[index] for index in sorted(done))


def _retry_alone(jobs: Sequence[Job], work: Work, index: int, record: Callable[[Outcome], None]) -> Outcome:
    """Return the outcome of a job that a crashed process had started, run again in a process of its own."""
    again: deque[int] = deque()
    outcomes = list(_run_workers(jobs, work, 1, deque([index]), again, record))
    if index not in again:
        return outcomes[0]
    failure = Failure(3, "the process that decoded it died, twice", jobs[index].source, "leave this file out")
    outcome = Outcome(index, jobs[index].source, jobs[index].target, "failed", failure=failure)
    record(outcome)
    return outcome


def _run_workers(
    jobs: Sequence[Job],
    work: Work,
    count: int,
    waiting: deque[int],
    suspects: deque[int],
    record: Callable[[Outcome], None],
) -> Iterator[Outcome]:
    """Run `count` workers until `waiting` is empty; add to `suspects` the files that a crashed worker had started."""
    workers: list[_Worker] = []
    try:
        with selectors.DefaultSelector() as selector:

            def start_worker() -> None:
                worker = _Worker(work, workers)
                workers.append(worker)
                selector.register(worker.events, selectors.EVENT_READ, worker)
                _assign(worker, waiting)

            for _ in range(count):
                start_worker()
            while workers:
                for key, _ in selector.select():
                    worker: _Worker = key.data
                    records = worker.read()
                    if records is not None:
                        for outcome in _outcomes(worker, records):
                            record(outcome)
                            yield outcome
                        _assign(worker, waiting)
                        continue
                    selector.unregister(worker.events)
                    workers.remove(worker)
                    status = worker.close()
                    if not worker.ended:
                        _handle_crash(jobs, worker, status, waiting, suspects)
                        if waiting:
                            start_worker()
    except BaseException:  # the caller stops: the workers finish the file they are writing, and stop as well
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
        for worker in workers:
            _drain(worker, record)
        raise
    finally:
        for worker in workers:
            worker.close()


def _drain(worker: _Worker, record: Callable[[Outcome], None]) -> None:
    """Record what a worker has finished after it was asked to stop."""
    worker.no_more()
    while (records := worker.read()) is not None:
        with contextlib.suppress(CnnError, BrokenPipeError):  # its event that it was interrupted
            for outcome in _outcomes(worker, records):
                record(outcome)


def _assign(worker: _Worker, waiting: deque[int]) -> None:
    while waiting and len(worker.assigned) < len(worker.started) + _AHEAD:
        worker.give(waiting.popleft())
    if not waiting:
        worker.no_more()


def _outcomes(worker: _Worker, records: Sequence[dict[str, Any]]) -> Iterator[Outcome]:
    """Yield the outcomes among the records of a worker, or raise the error that it met."""
    for record in records:
        if "interrupted" in record:
            number = record["interrupted"]
            raise InterruptedRunError("interrupted", hint="finished files are complete", signal_number=number)
        if "closed" in record:
            raise BrokenPipeError
        if "error" in record:
            raise Failure(**record["error"]).error()
        if "end" in record:
            worker.ended = True
            continue
        event = from_json(record)
        if isinstance(event, Started):
            worker.started.append(event.index)
        else:
            worker.started.remove(event.index)
            worker.assigned.remove(event.index)
            yield event


def _handle_crash(jobs: Sequence[Job], worker: _Worker, status: int, waiting: deque[int], suspects: deque[int]) -> None:
    """Sort the files of a crashed worker: those it had started are suspects, the others are assigned again."""
    if not worker.started:  # it crashed before any file: the next one would too
        raise CnnError(f"a process that filters died ({_exit_reason(status)})", hint="use fewer --workers")
    for folder in {Path(jobs[index].target or ".").parent for index in worker.started}:
        for leftover in temporaries(folder):  # what it was writing
            if leftover.pid == worker.pid:
                leftover.path.unlink(missing_ok=True)
    suspects.extend(worker.started)
    waiting.extendleft(reversed([index for index in worker.assigned if index not in worker.started]))


def _worker_main(numbers: int, events: int, foreign: Iterable[int], work: Work, mask: Iterable[int]) -> NoReturn:
    """Do the work in the worker and leave, whatever happens, without the parent's clean-up and error messages.

    `foreign` are ends of pipes that belong to the parent: a pipe that a sibling holds open as well would never end.
    """
    try:
        for descriptor in foreign:
            os.close(descriptor)
        _keep_freed_memory()
        gc.freeze()  # what was imported is never garbage: looking through it writes to pages shared so far
        last = _process_jobs(numbers, events, work, mask)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        _send(events, last)
    finally:
        os._exit(0)


def _keep_freed_memory() -> None:
    """Have glibc keep what a picture took for the next one; returned and fetched again, every page costs a fault."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_MMAP_THRESHOLD, _NEVER_KEPT)


def _process_jobs(numbers: int, events: int, work: Work, mask: Iterable[int]) -> dict[str, Any]:
    """Send the events of the work; return the record that ends them.

    When the parent has died, the next event has no reader, and the work ends.
    """
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with os.fdopen(numbers, "rb") as stream:
            _send_all(events, work(int(line) for line in iter(stream.readline, b"")))
    except CnnError as error:
        number = getattr(error, "signal_number", None)
        return {"interrupted": number} if number else {"error": vars(Failure.of(error))}
    except KeyboardInterrupt:
        return {"interrupted": int(signal.SIGINT)}
    except BrokenPipeError:  # of standard output, or of the parent
        return {"closed": True}
    except MemoryError:
        return {"error": vars(Failure(1, "out of memory", "", "use fewer --workers"))}
    except BaseException as error:
        hint = "this is a fault of cnn; set CNN_DEBUG=1 to see where, and report it"
        return {"error": vars(Failure(1, f"unexpected {type(error).__name__}: {error}", "", hint))}
    return {"end": True}


def _send_all(events: int, work: Iterator[Event]) -> None:
    """Send the events of `work`; a signal that comes between two of them is passed on to it, so that it can finish."""
    while True:
        try:
            for event in work:
                _send(events, to_json(event))
            return
        except InterruptedRunError as error:
            if not isinstance(work, GeneratorType) or work.gi_frame is None:
                raise
            _send(events, to_json(work.throw(error)))


def _send(events: int, record: dict[str, Any]) -> None:
    data = json.dumps(record).encode() + b"\n"
    while data:
        data = data[os.write(events, data) :]


def _exit_reason(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"
