"""The team of threads: every task once, phases in order, whoever takes part."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from cnncli.compute.arguments import Block, Int64s, Operand, Worker
from cnncli.compute.kernel import CompiledKernel
from cnncli.compute.program import Op, OpSequence, Program
from cnncli.compute.team import Team


def _count(cells: Int64s, worker: Worker) -> None:
    cells[0] += 1
    cells[1] = worker


def _require(cells: Int64s, seen: Int64s, count: int) -> None:
    # counts itself only if every task of the phase before has been done as often as the run says
    complete = True
    for i in range(count):
        complete = complete and cells[i * 2] == seen[0] + 1
    if complete:
        seen[0] += 1


COUNT, REQUIRE = CompiledKernel(_count, is_cached=False), CompiledKernel(_require, is_cached=False)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_task_runs_once_and_phases_wait_for_each_other(threads):
    cells, seen = np.zeros((500, 2), np.int64), np.zeros(40, np.int64)
    count = OpSequence((Op(COUNT, {"cells": Operand(cells, task_step=2)}),), 500)
    require = OpSequence(
        (Op(REQUIRE, {"cells": Operand(cells), "seen": Operand(seen, task_step=1), "count": 500}),), 40
    )
    program = Program([[count], [require]], threads)
    for _ in range(200):
        program.run()
    assert (cells[:, 0] == 200).all()
    assert (seen == 200).all()
    assert cells[:, 1].max() < threads


def test_sequences_of_one_phase_have_their_own_task_numbers():
    first, second = np.zeros((3, 2), np.int64), np.zeros((5, 2), np.int64)
    sequences = [
        OpSequence((Op(COUNT, {"cells": Operand(cells, task_step=2)}),), len(cells)) for cells in (first, second)
    ]
    Program([sequences], 2).run()
    assert first[:, 0].tolist() == [1] * 3
    assert second[:, 0].tolist() == [1] * 5


def _append(log: Int64s, task: Block) -> None:
    log[0] += 1
    log[log[0]] = task


APPEND = CompiledKernel(_append, is_cached=False)


@pytest.mark.parametrize("threads", [1, 3])
def test_tasks_that_belong_together_are_done_in_order_by_one_thread(threads):
    single = np.zeros(16, np.int64)
    program = Program([[OpSequence((Op(APPEND, {"log": Operand(single)}),), 10, together=10)]], threads)
    for _ in range(50):
        single[:] = 0
        program.run()
        assert single[:11].tolist() == [10, *range(10)]


def test_operands_are_checked_when_a_program_is_built():
    cells = np.zeros(8, np.int64)
    wrong = [
        {},
        {"cells": Operand(cells), "more": 1},
        {"cells": 3},
        {"cells": Operand(np.zeros(8, np.float32))},
    ]
    for operands in wrong:
        with pytest.raises(TypeError, match=r"cells|more"):
            Program([[OpSequence((Op(COUNT, operands),), 1)]], 1)


def test_followers_sleep_and_wake():
    cells = np.zeros((64, 2), np.int64)
    program = Program([[OpSequence((Op(COUNT, {"cells": Operand(cells, task_step=2)}),), 64)]], 2)
    for _ in range(5):
        program.run()
        time.sleep(0.02)
    assert (cells[:, 0] == 5).all()
    begin = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - begin < 0.1  # nobody spins


def _slowly(cells: Int64s, count: int) -> None:
    for i in range(count):
        cells[0] = cells[0] * 3 + i
    cells[1] += 1


SLOWLY = CompiledKernel(_slowly, is_cached=False)


class Bell(threading.Condition):
    """Counts how often a follower goes to sleep while a run is going on."""

    is_running = False
    slept_through = 0

    def wait(self, timeout=None):
        self.slept_through += self.is_running
        return super().wait(timeout)


@pytest.mark.parametrize("gap_s", [0.0001, 0.0003, 0.001, 0.003, 0.005])
def test_no_follower_goes_to_sleep_during_a_run(gap_s, monkeypatch):
    # the gap is spent in Python, which keeps the followers from counting themselves asleep before the next run
    cells = np.zeros((64, 2), np.int64)
    program = Program([[OpSequence((Op(SLOWLY, {"cells": Operand(cells, task_step=2), "count": 20_000}),), 64)]], 2)
    monkeypatch.setattr(threading, "Condition", Bell)
    program._team = team = Team(2)
    lead = team._lead

    def observed(*tables):
        team._bell.is_running = True
        is_whole = lead(*tables)
        team._bell.is_running = False
        return is_whole

    team._lead = observed
    for _ in range(40):
        program.run()
        end = time.perf_counter() + gap_s
        while time.perf_counter() < end:
            pass
    assert (cells[:, 1] == 40).all()
    assert team._bell.slept_through == 0
    team.close()


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_pauses_of_any_length_lose_no_task(threads):
    cells, seen = np.zeros((100, 2), np.int64), np.zeros(10, np.int64)
    count = OpSequence((Op(COUNT, {"cells": Operand(cells, task_step=2)}),), 100)
    require = OpSequence(
        (Op(REQUIRE, {"cells": Operand(cells), "seen": Operand(seen, task_step=1), "count": 100}),), 10
    )
    program = Program([[count], [require]], threads)
    for gap_s in np.random.default_rng(0).uniform(0, 0.002, 200):
        program.run()
        end = time.perf_counter() + gap_s
        while time.perf_counter() < end:
            pass
    assert (cells[:, 0] == 200).all()
    assert (seen == 200).all()


def test_runs_from_several_threads_take_turns():
    cells = np.zeros((100, 2), np.int64)
    program = Program([[OpSequence((Op(COUNT, {"cells": Operand(cells, task_step=2)}),), 100)]], 2)
    runners = [threading.Thread(target=lambda: [program.run() for _ in range(50)]) for _ in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert (cells[:, 0] == 200).all()


def test_a_closed_team_has_no_threads_left():
    team = Team(3)
    team.close()
    assert not any(follower.is_alive() for follower in team._followers)


def _forked(work):
    """Return the exit status of a child that does something: 1 where it raises, a signal where it takes for ever."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 3])
def test_row111_a_forked_child_works_alone_and_with_threads_of_its_own(threads):
    """Forked between two runs and, by another thread, in the middle of one; the parent goes on as before."""
    log = np.zeros(100_000, np.int64)
    program = Program([[OpSequence((Op(CompiledKernel(_append, is_cached=False), {"log": Operand(log)}),), 500, 500)]],
                      threads)  # fmt: skip
    program.run()

    def complete():
        log[0] = 0
        program.run()
        return log[1:501].tolist() == list(range(500)) and len(program._team._followers) == threads - 1

    assert _forked(complete) == 0
    ended = threading.Event()

    def busy():
        while not ended.is_set():
            log[0] = 0
            program.run()

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        statuses = [_forked(complete) for _ in range(20)]
    finally:
        ended.set()
        worker.join()
    assert statuses == [0] * 20
    assert complete()
