"""A program: kernels with their words, run in phases by all threads without a return to Python.

A phase is a list of chains; a chain runs its kernels one after the other for each of its tasks. Threads take tasks
from a shared counter until none is left and meet at the end of the phase. A task writes only what belongs to it, so
the result does not depend on which thread takes it, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cnncli.kernels.cache import KernelCache, one_compiler_at_a_time
from cnncli.kernels.kernel import Kernel

_COUNTER_GAP = 16  # int64 between two counters, so that they share no cache line


@dataclass(frozen=True, eq=False)
class Place:
    """Where an operand lies: an array, and how far apart the parts of two tasks and of two workers are.

    Parameters
    ----------
    array : ndarray
        C-contiguous.
    offset : int
        Elements from the start of the array.
    task_step, worker_step : int
        Elements between the parts of two neighbouring tasks, or workers.
    """

    array: np.ndarray
    offset: int = 0
    task_step: int = 0
    worker_step: int = 0

    def words(self) -> tuple[int, int, int]:
        """Return the three int64 that `kernel.at` reads."""
        size = self.array.itemsize
        return self.array.ctypes.data + self.offset * size, self.task_step * size, self.worker_step * size

    def shifted(self, elements: int) -> Place:
        """Return the place `elements` further on."""
        return Place(self.array, self.offset + elements, self.task_step, self.worker_step)


@dataclass(frozen=True)
class Op:
    """One kernel and its words: places take three, integers one."""

    kernel: Kernel
    operands: tuple[Place | int, ...]

    def words(self) -> list[int]:
        """Return the flat list of int64 the kernel reads."""
        flat: list[int] = []
        for operand in self.operands:
            flat.extend(operand.words() if isinstance(operand, Place) else (int(operand),))
        return flat


@dataclass(frozen=True)
class Chain:
    """Ops run one after the other for each task 0 .. tasks-1."""

    ops: tuple[Op, ...]
    tasks: int


@dataclass
class Program:
    """Phases of chains, ready to run.

    Parameters
    ----------
    phases : sequence of sequences of Chain
        Chains of one phase are independent of each other.
    threads : int
        How many threads work; also the number of workers whose parts a Place tells apart.
    dtype : str
        ``float32`` or ``float64``.
    """

    phases: Sequence[Sequence[Chain]]
    threads: int
    dtype: str = "float32"
    _tables: tuple[np.ndarray, ...] = field(init=False, repr=False)
    _keep: list[np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        calls: list[tuple[int, int]] = []
        chains: list[tuple[int, int, int]] = []
        phases: list[tuple[int, int, int]] = []
        self._keep = []
        for phase in self.phases:
            begin = len(chains)
            for chain in phase:
                first = len(calls)
                for op in chain.ops:
                    words = np.array(op.words(), np.int64)
                    self._keep.append(words)
                    self._keep += [o.array for o in op.operands if isinstance(o, Place)]
                    calls.append((op.kernel.address(self.dtype), words.ctypes.data))
                chains.append((first, len(calls), chain.tasks))
            phases.append((begin, len(chains), sum(chain.tasks for chain in phase)))
        counters = np.zeros((len(phases) + 1) * _COUNTER_GAP, np.int64)
        tables = (
            np.array(table, np.int64).reshape(-1, width) for table, width in ((calls, 2), (chains, 3), (phases, 3))
        )
        self._tables = (*tables, counters)
        _runner()

    def run(self) -> None:
        """Run every phase once."""
        run = _runner()
        if numba.get_num_threads() != self.threads:
            numba.set_num_threads(self.threads)
        run(*self._tables, self.threads)


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


@intrinsic
def _take(typingctx: Any, counters: Any, index: Any) -> Any:
    """Return counters[index] and add one to it, as one indivisible step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(counters)(context, builder, args[0]).data
        place = builder.gep(data, [args[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counters, types.intp), codegen


def _run(calls: Any, chains: Any, phases: Any, counters: Any, threads: Any) -> None:
    for phase in range(phases.shape[0]):
        counters[phase * 16] = 0
        for worker in numba.prange(threads):
            while True:
                task = _take(counters, phase * 16)
                if task >= phases[phase, 2]:
                    break
                chain = phases[phase, 0]
                while task >= chains[chain, 2]:
                    task -= chains[chain, 2]
                    chain += 1
                for op in range(chains[chain, 0], chains[chain, 1]):
                    _call(calls[op, 0], calls[op, 1], task, worker)


_compiled: list[Any] = []


def _runner() -> Any:
    if not _compiled:
        table = types.Array(types.int64, 2, "C")
        dispatcher = numba.njit(_run, parallel=True, nogil=True)
        dispatcher._cache = KernelCache(_run, "run")
        with one_compiler_at_a_time():
            dispatcher.compile((table, table, table, types.Array(types.int64, 1, "C"), types.int64))
        _compiled.append(dispatcher)
    return _compiled[0]
