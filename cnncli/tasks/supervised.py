"""Batches that survive a decoder which crashes: the work is done in a child process, forked before any thread exists.

The parent only listens. When the child dies of a signal (a decoder's segmentation fault, the kernel's out-of-memory
killer), the files it had in hand are tried again, each alone in a child of its own; what dies again is reported as
failed, and a new child goes on with the rest. No other program is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnncli.errors import CnnError, InterruptedRunError
from cnncli.tasks.filter_events import Event, Failure, Outcome, Started, from_json, to_json
from cnncli.tasks.filter_naming import Job

Work = Callable[[Sequence[int]], Iterator[Event]]


def supervised(jobs: Sequence[Job], work: Work) -> Iterator[Event]:
    """Yield the events of ``work(indices of jobs)``, whatever happens to the process that does it.

    Parameters
    ----------
    jobs : sequence of Job
    work : callable
        Takes numbers of jobs and yields `Started` before and an `Outcome` after each. It must not have imported
        Numba or started a thread when this is called.
    """
    waiting = list(range(len(jobs)))
    while waiting:
        suspects = yield from _one_child(jobs, waiting, work)
        for index in suspects:
            again = yield from _one_child(jobs, [index], work)
            if not again:
                waiting.remove(index)
            else:
                message = f"the process that decoded it died ({_dying_words(again[index])}), twice"
                failure = Failure(3, message, jobs[index].source, "leave this file out")
                yield Outcome(index, jobs[index].source, jobs[index].target, "failed", failure=failure)
                waiting.remove(index)


def _one_child(jobs: Sequence[Job], waiting: list[int], work: Work) -> Generator[Event, None, dict[int, int]]:
    """Run one child over `waiting` and take out what it finishes; return what it had in hand when it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(writer, waiting, work)
    os.close(writer)
    in_hand: list[int] = []
    finished = False
    try:
        with os.fdopen(reader, "rb") as stream:
            for line in stream:
                record = json.loads(line)
                if "end" in record:
                    finished = True
                    continue
                event = _event(record)
                if isinstance(event, Started):
                    in_hand.append(event.index)
                else:
                    in_hand.remove(event.index)
                    waiting.remove(event.index)
                yield event
    except BaseException:  # the listener stops: so does the child, after what it is writing
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    _, status = os.waitpid(child, 0)
    if finished:
        return {}
    for folder in {Path(jobs[index].target or ".").parent for index in in_hand}:
        for leftover in folder.glob(f".*.tmp.{child}"):  # what it was writing
            leftover.unlink(missing_ok=True)
    if not in_hand:  # died between two files: nothing to blame, and nothing to gain from trying for ever
        raise CnnError(f"the process that filters died ({_dying_words(status)})", hint="use fewer --workers")
    return dict.fromkeys(in_hand, status)


def _child(writer: int, waiting: Sequence[int], work: Work) -> NoReturn:
    """Do the work and leave without the parent's clean-up."""
    code = 0
    try:
        for event in work(waiting):
            _send(writer, to_json(event))
        _send(writer, {"end": True})
    except CnnError as error:
        number = getattr(error, "signal_number", None)
        _send(writer, {"interrupted": number} if number else {"error": vars(Failure.of(error))})
    except KeyboardInterrupt:
        _send(writer, {"interrupted": int(signal.SIGINT)})
    except MemoryError:
        _send(writer, {"error": vars(Failure(1, "out of memory", "", "use fewer --workers"))})
    except BrokenPipeError:
        code = 141
    except BaseException as error:
        hint = "this is a fault of cnn; set CNN_DEBUG=1 to see where, and report it"
        _send(writer, {"error": vars(Failure(1, f"unexpected {type(error).__name__}: {error}", "", hint))})
    os._exit(code)


def _send(writer: int, record: dict[str, object]) -> None:
    data = json.dumps(record).encode() + b"\n"
    while data:
        data = data[os.write(writer, data) :]


def _event(record: dict[str, Any]) -> Event:
    """Return the event of a line from the child, or raise the error that it met."""
    if "interrupted" in record:
        number = record["interrupted"]
        raise InterruptedRunError("interrupted", hint="finished files are complete", signal_number=number)
    if "error" in record:
        raise Failure(**record["error"]).error()
    return from_json(record)


def _dying_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"
