"""Threads that work on a program together, and do not wait for one that the machine keeps from running.

The thread that asks for a run leads: it opens a phase, takes tasks like everybody else and waits until every task that
somebody took is done. It does not wait for threads that took none, so on a busy machine it goes on alone instead of
standing at a barrier until the scheduler lets the others arrive. (LeNet-5 beside three busy processes on two cores:
33,000 images/s, against 10,000 to 15,000 with OpenMP regions.) Followers poll during a run and for a moment after it,
then sleep.

One 64-bit word holds the number of the phase, its count of tasks and the next task, so that taking a task and knowing
which phase it belongs to are one indivisible step.
"""

from __future__ import annotations

import atexit
import platform
import sys
import threading
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnncli.kernels.cache import KernelCache, one_compiler_at_a_time, sources_digest

# int64 positions in the shared state; what different threads write lies on different cache lines
_WORD, _DONE, _CALLS, _CHAINS, _CHAIN, _MAY_CANCEL, _QUIT, _CANCEL, _STATE_SIZE = 0, 16, 32, 33, 34, 35, 48, 49, 64
_TASK_BITS = 24  # of the word: low bits the next task, then the count of tasks, then the number of the phase
_TASK_MASK = (1 << _TASK_BITS) - 1
_PHASE_MASK = (1 << 14) - 1
_POLLS = 4000  # looks at the word before a follower goes to sleep: a fraction of a millisecond
_POLLS_BEFORE_YIELD = 200

MAX_TASKS = _TASK_MASK
sources_digest(__name__)  # of the text that was imported, before anybody can change it


class Team:
    """A leader, which is whoever calls `run`, and `threads` - 1 followers.

    Parameters
    ----------
    threads : int
        At least 1.
    """

    def __init__(self, threads: int) -> None:
        self._lead, self._follow = _compiled()
        raw = np.zeros(_STATE_SIZE + 8, np.int64)
        start = (-raw.ctypes.data % 64) // 8
        self._state = raw[start : start + _STATE_SIZE]
        self._turn = threading.Lock()
        self._bell = threading.Condition()
        self._is_running = False
        self._followers = [
            threading.Thread(target=self._serve, args=(worker,), name=f"cnn-{worker}", daemon=True)
            for worker in range(1, threads)
        ]
        for follower in self._followers:
            follower.start()
        # a daemon thread that meets the end of the interpreter in compiled code could take the process down
        atexit.register(self.close)

    def run(self, calls: np.ndarray, chains: np.ndarray, phases: np.ndarray, whole_from: int) -> bool:
        """Run every phase once; the tables are those of a Program, int64 and C-contiguous.

        Returns whether all was done: `cancel` ends a run early, unless it has come to phase `whole_from`.
        """
        with self._turn:
            try:
                # under the lock: a follower either sees the run and polls again, or sleeps already and is woken
                with self._bell:
                    self._is_running = True
                    self._bell.notify_all()
                is_whole = bool(self._lead(self._state, calls, chains, phases, whole_from))
            finally:
                self._is_running = False
            if not is_whole:
                self._state[_CANCEL] = 0
            return is_whole

    def cancel(self) -> None:
        """End the run that is going on, or the next one, after the kernels that are at work; from any thread."""
        self._state[_CANCEL] = 1

    def close(self) -> None:
        """Let the followers end."""
        self._state[_QUIT] = 1
        with self._bell:
            self._bell.notify_all()
        for follower in self._followers:
            follower.join(1.0)

    def _serve(self, worker: int) -> None:
        while not self._state[_QUIT]:
            self._follow(self._state, worker)
            with self._bell:
                if self._state[_QUIT]:
                    return
                if not self._is_running:
                    self._bell.wait()


@cache
def team_of(threads: int) -> Team:
    """Return the one team of so many threads."""
    return Team(threads)


@cache
def _compiled() -> tuple[Any, Any]:
    table, line = types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C")
    result = []
    for body, signature in ((_lead, (line, table, table, table, types.int64)), (_follow, (line, types.int64))):
        dispatcher = numba.njit(body, nogil=True)
        dispatcher._cache = KernelCache(body, body.__name__.strip("_"))
        with one_compiler_at_a_time():
            dispatcher.compile(signature)
        result.append(dispatcher)
    return result[0], result[1]


def _atomic(emit: Any, arguments: int) -> Any:
    """Make an intrinsic on ``array, index`` (and a value) from a function that emits the instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        result = emit(builder, builder.gep(data, [args[1]]), *args[2:])
        return result if signature.return_type == types.int64 else context.get_dummy_value()

    if arguments == 2:

        def read(typingctx: Any, array: Any, index: Any) -> Any:
            return types.int64(array, types.intp), codegen

        return intrinsic(read)

    def write(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
        return types.int64(array, types.intp, types.int64), codegen

    return intrinsic(write)


def _emit_store(builder: Any, place: Any, value: Any) -> Any:
    builder.store_atomic(value, place, "seq_cst", 8)
    return value


_load = _atomic(lambda builder, place: builder.load_atomic(place, "seq_cst", 8), 2)
_store = _atomic(_emit_store, 3)
_add = _atomic(lambda builder, place, value: builder.atomic_rmw("add", place, value, "seq_cst"), 3)
_yield = types.ExternalFunction("sched_yield", types.int32()) if sys.platform != "win32" else numba.njit(lambda: 0)


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            name, hint = "llvm.x86.sse2.pause", []
        elif machine in ("aarch64", "arm64"):
            name, hint = "llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in hint])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), hint)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _address(typingctx: Any, array: Any) -> Any:
    """Return the address of the first element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(context.make_array(array)(context, builder, args[0]).data, ir.IntType(64))

    return types.int64(array), codegen


@intrinsic
def _table(typingctx: Any, address: Any) -> Any:
    """Return an address as a pointer to int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), codegen


@intrinsic
def _call(typingctx: Any, code: Any, words: Any, task: Any, worker: Any) -> Any:
    """Call the kernel at the address `code`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [number.as_pointer(), number, number])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(args[1], number.as_pointer()), args[2], args[3]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


@numba.njit(nogil=True)
def _do(state: Any, task: Any, worker: Any) -> None:
    """Run the chain that `task` of the open phase belongs to."""
    calls, chains, chain = _table(state[_CALLS]), _table(state[_CHAINS]), state[_CHAIN]
    while task >= chains[chain * 3 + 2]:
        task -= chains[chain * 3 + 2]
        chain += 1
    for op in range(chains[chain * 3], chains[chain * 3 + 1]):
        if _load(state, _CANCEL) != 0 and state[_MAY_CANCEL] != 0:
            return
        _call(calls[op * 2], calls[op * 2 + 1], task, worker)


def _lead(state: Any, calls: Any, chains: Any, phases: Any, whole_from: Any) -> Any:
    state[_CALLS] = _address(calls)
    state[_CHAINS] = _address(chains)
    for phase in range(phases.shape[0]):
        count = phases[phase, 2]
        number = ((_load(state, _WORD) >> (2 * _TASK_BITS)) + 1) & _PHASE_MASK
        state[_CHAIN] = phases[phase, 0]
        state[_MAY_CANCEL] = 1 if phase < whole_from else 0
        _store(state, _DONE, 0)
        _store(state, _WORD, (number << (2 * _TASK_BITS)) | (count << _TASK_BITS))
        while True:
            task = _add(state, _WORD, 1) & _TASK_MASK
            if task >= count:
                break
            _do(state, task, 0)
            _add(state, _DONE, 1)
        polls = 0
        while _load(state, _DONE) < count:
            _pause()
            polls += 1
            if polls % _POLLS_BEFORE_YIELD == 0:
                _yield()
        if phase < whole_from and _load(state, _CANCEL) != 0:
            return 0
    return 1


def _follow(state: Any, worker: Any) -> None:
    polls = 0
    while polls < _POLLS and state[_QUIT] == 0:
        word = _load(state, _WORD)
        if (word & _TASK_MASK) < ((word >> _TASK_BITS) & _TASK_MASK):
            word = _add(state, _WORD, 1)
            task = word & _TASK_MASK
            if task < ((word >> _TASK_BITS) & _TASK_MASK):
                _do(state, task, worker)
                _add(state, _DONE, 1)
                polls = 0
                continue
        _pause()
        polls += 1
        if polls % _POLLS_BEFORE_YIELD == 0:
            _yield()
