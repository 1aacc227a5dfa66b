"""A program: kernels with their words, run in phases by all threads without a return to Python.

A phase is a list of chains; a chain runs its kernels one after the other for each of its tasks. Threads take tasks
from a shared counter until none is left and meet at the end of the phase. A task writes only what belongs to it, so
the result does not depend on which thread takes it, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cnncli.kernels.store import routine
from cnncli.kernels.team import Team, team_of


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


def number(value: float) -> Place:
    """Return a place that holds one float64: words are integers."""
    return Place(np.array([value], np.float64))


class Compilable(Protocol):
    """A `store.Routine`, or a `kernel.Kernel` that is at hand."""

    def address(self, dtype: str = "float32") -> int:
        """Return the address of the code for one type of numbers."""


@dataclass(frozen=True)
class Op:
    """One kernel, by name (``pool2d.maxpool_forward``) or at hand, and its words: places take three, integers one."""

    kernel: str | Compilable
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
    whole_from : int, optional
        From this phase on a run cannot be cancelled, because it changes what must not be left half-changed.
    """

    phases: Sequence[Sequence[Chain]]
    threads: int
    dtype: str = "float32"
    whole_from: int | None = None
    _tables: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False, repr=False)
    _team: Team = field(init=False, repr=False)
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
                    kernel = routine(op.kernel) if isinstance(op.kernel, str) else op.kernel
                    calls.append((kernel.address(self.dtype), words.ctypes.data))
                chains.append((first, len(calls), chain.tasks))
            phases.append((begin, len(chains), sum(chain.tasks for chain in phase)))
        shaped = ((calls, 2), (chains, 3), (phases, 3))
        call_table, chain_table, phase_table = (np.array(table, np.int64).reshape(-1, width) for table, width in shaped)
        self._tables = call_table, chain_table, phase_table
        self._team = team_of(self.threads)

    def run(self) -> bool:
        """Run every phase once; return whether it came to the end, or was cancelled."""
        whole_from = len(self.phases) if self.whole_from is None else self.whole_from
        return self._team.run(*self._tables, whole_from)

    def cancel(self) -> None:
        """End a run that is going on as soon as the kernels at work are done; from any thread."""
        self._team.cancel()
