"""The compiled loops of a team: what the leader and a follower run; see team.py."""

from __future__ import annotations

import platform
import sys
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cnncli.compute.kernel import Entry
from cnncli.compute.team_state import (
    CALLS,
    CANCEL,
    DONE,
    MAY_CANCEL,
    PHASE_MASK,
    QUIT,
    SEQUENCE,
    SEQUENCES,
    TASK_BITS,
    TASK_MASK,
    WORD,
)

_POLLS = 4000  # looks at the word before a follower asks whether it may sleep: a fraction of a millisecond
_POLLS_BEFORE_YIELD = 200


def _atomic(emit: Any, arguments: int) -> Any:
    """Make an intrinsic on ``pointer, index`` (and a value) from a function that emits the instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result = emit(builder, builder.gep(args[0], [args[1]], source_etype=ir.IntType(64)), *args[2:])
        return result if signature.return_type == types.int64 else context.get_dummy_value()

    if arguments == 2:

        def read(typingctx: Any, base: Any, index: Any) -> Any:
            return types.int64(base, types.intp), codegen

        return intrinsic(read)

    def write(typingctx: Any, base: Any, index: Any, value: Any) -> Any:
        return types.int64(base, types.intp, types.int64), codegen

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
    """Run the op sequence that `task` of the open phase belongs to, for each block of images of the task."""
    calls, sequences, sequence = _table(state[CALLS]), _table(state[SEQUENCES]), state[SEQUENCE]
    while task >= sequences[sequence * 5 + 2]:
        task -= sequences[sequence * 5 + 2]
        sequence += 1
    together = sequences[sequence * 5 + 4]
    for block in range(task * together, min((task + 1) * together, sequences[sequence * 5 + 3])):
        for op in range(sequences[sequence * 5], sequences[sequence * 5 + 1]):
            if _load(state, CANCEL) != 0 and state[MAY_CANCEL] != 0:
                return
            _call(calls[op * 2], calls[op * 2 + 1], block, worker)


def _lead(state: Any, calls: Any, sequences: Any, phases: Any, phase_count: Any, whole_from: Any) -> Any:
    """Run every phase; return 1, or 0 where CANCEL has ended the run."""
    state[CALLS] = calls
    state[SEQUENCES] = sequences
    for phase in range(phase_count):
        count = phases[phase * 3 + 2]
        number = ((_load(state, WORD) >> (2 * TASK_BITS)) + 1) & PHASE_MASK
        state[SEQUENCE] = phases[phase * 3]
        state[MAY_CANCEL] = 1 if phase < whole_from else 0
        _store(state, DONE, 0)
        _store(state, WORD, (number << (2 * TASK_BITS)) | (count << TASK_BITS))
        while True:
            task = _add(state, WORD, 1) & TASK_MASK
            if task >= count:
                break
            _do(state, task, 0)
            _add(state, DONE, 1)
        polls = 0
        while _load(state, DONE) < count:
            _pause()
            polls += 1
            if polls % _POLLS_BEFORE_YIELD == 0:
                _yield()
        if phase < whole_from and _load(state, CANCEL) != 0:
            return 0
    return 1


def _follow(state: Any, worker: Any) -> Any:
    """Take tasks until there have been none for a while."""
    polls = 0
    while polls < _POLLS and state[QUIT] == 0:
        word = _load(state, WORD)
        if (word & TASK_MASK) < ((word >> TASK_BITS) & TASK_MASK):
            word = _add(state, WORD, 1)
            task = word & TASK_MASK
            if task < ((word >> TASK_BITS) & TASK_MASK):
                _do(state, task, worker)
                _add(state, DONE, 1)
                polls = 0
                continue
        _pause()
        polls += 1
        if polls % _POLLS_BEFORE_YIELD == 0:
            _yield()
    return 0


_NUMBER, _NUMBERS = types.int64, types.CPointer(types.int64)
# the tables of calls and of sequences are stored in the state, so they are taken as numbers
lead = Entry(_lead, _NUMBER(_NUMBERS, _NUMBER, _NUMBER, _NUMBERS, _NUMBER, _NUMBER))
follow = Entry(_follow, _NUMBER(_NUMBERS, _NUMBER))
