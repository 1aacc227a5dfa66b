"""A program: kernels with their operands, run in phases by all threads without a return to Python.

A phase is a list of op sequences; a sequence runs its kernels one after the other for each of its tasks. Threads take
tasks from a shared counter until none is left and meet at the end of the phase. A task writes only what belongs to it,
so the result does not depend on which thread takes it, nor on how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from cnncli.compute.ahead import share_out
from cnncli.compute.arguments import pack, splits
from cnncli.compute.store import Code, Routine, routine
from cnncli.compute.team import LOOPS, Team, team_of
from cnncli.compute.team_state import TASK_MASK


class Compilable(Protocol):
    """A `store.Routine`, or a `kernel.CompiledKernel` that is at hand."""

    def code(self, dtype: str = "float32") -> Code:
        """Return the code for one type of numbers."""

    def takes(self, dtype: str = "float32") -> str:
        """Return the description of what it takes."""


@dataclass(frozen=True)
class Op:
    """One kernel and its operands by name.

    Parameters
    ----------
    kernel : str or Compilable
        By name (``pool2d.maxpool_forward``) or at hand.
    operands : mapping
        As `arguments.pack` takes them.
    parts : int
        Over how many parts each task is shared out.
    variant : tuple of int
        Parameters of a kernel that is made for them, such as the size of a tile.
    most_parts : int
        Over how many parts a task may be shared out at most; 0: as many as there are channels.
    """

    kernel: str | Compilable
    operands: Mapping[str, Any]
    parts: int = 1
    variant: tuple[int, ...] = ()
    most_parts: int = 0

    def shared_out(self, parts: int, dtype: str) -> Op:
        """Return the op with its tasks shared out over up to `parts` parts, if its kernel can do that."""
        if not splits(self.routine.takes(dtype)):
            return self
        channels = [value.maps().channels for value in self.operands.values() if hasattr(value, "maps")]
        return replace(self, parts=max(1, min(parts, self.most_parts or min(channels, default=1))))

    @property
    def routine(self) -> Compilable:
        """The kernel."""
        return routine(self.kernel, *self.variant) if isinstance(self.kernel, str) else self.kernel

    def packed(self, dtype: str) -> tuple[int, np.ndarray, list[np.ndarray]]:
        """Return the address of the code, the words it reads and the arrays that they point into.

        Raises
        ------
        TypeError
            If an operand is missing, surplus or of another type.
        """
        code = self.routine.code(dtype)
        words, arrays = pack(code.takes, self.operands, str(self.kernel))
        return code.address, np.array([self.parts, *words], np.int64), arrays


@dataclass(frozen=True)
class OpSequence:
    """Ops run one after the other for each task.

    Parameters
    ----------
    ops : tuple of Op
    tasks : int
        Blocks of images, or parts of work that the ops share out.
    together : int
        So many consecutive tasks are run by the same thread in ascending order: what they accumulate has one order.
    """

    ops: tuple[Op, ...]
    tasks: int
    together: int = 1


@dataclass
class Program:
    """Phases of op sequences, ready to run.

    Parameters
    ----------
    phases : sequence of sequences of OpSequence
        Sequences of one phase are independent of each other.
    threads : int
        How many threads work; also the number of workers whose parts an Operand tells apart.
    dtype : str
        ``float32`` or ``float64``.
    whole_from : int, optional
        From this phase on a run cannot be cancelled, because it changes what must not be left half-changed.
    """

    phases: Sequence[Sequence[OpSequence]]
    threads: int
    dtype: str = "float32"
    whole_from: int | None = None
    _tables: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False, repr=False)
    _team: Team = field(init=False, repr=False)
    _keep: list[np.ndarray] = field(init=False, repr=False)
    _places: tuple[int, int, int] = field(init=False, repr=False)
    _is_shared: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        calls: list[tuple[int, int]] = []
        sequences: list[tuple[int, int, int, int, int]] = []
        phases: list[tuple[int, int, int]] = []
        self._keep = []
        ops = (op for phase in self.phases for sequence in phase for op in sequence.ops)
        routines = (one for one in (op.routine for op in ops) if isinstance(one, Routine))
        share_out([*((one, self.dtype) for one in routines), *LOOPS], self.threads)
        for phase in self.phases:
            begin = len(sequences)
            for sequence in phase:
                first = len(calls)
                for op in sequence.ops:
                    address, words, arrays = op.packed(self.dtype)
                    self._keep += [words, *arrays]
                    calls.append((address, words.ctypes.data))
                groups = -(-sequence.tasks // sequence.together)
                sequences.append((first, len(calls), groups, sequence.tasks, sequence.together))
            if sum(one[2] for one in sequences[begin:]) > TASK_MASK:
                raise ValueError(f"a phase has more than {TASK_MASK:,} tasks")
            phases.append((begin, len(sequences), sum(one[2] for one in sequences[begin:])))
        shaped = ((calls, 2), (sequences, 5), (phases, 3))
        call_table, sequence_table, phase_table = (
            np.array(table, np.int64).reshape(-1, width) for table, width in shaped
        )
        self._tables = call_table, sequence_table, phase_table
        self._places = call_table.ctypes.data, sequence_table.ctypes.data, phase_table.ctypes.data
        self._is_shared = any(tasks > 1 for *_, tasks in phases)
        self._team = team_of(self.threads)

    def run(self) -> bool:
        """Run every phase once; return whether it came to the end, or was cancelled."""
        whole_from = len(self.phases) if self.whole_from is None else self.whole_from
        return self._team.run(*self._places, len(self.phases), whole_from, is_shared=self._is_shared)

    def cancel(self) -> None:
        """End a run that is going on as soon as the kernels at work are done; from any thread."""
        self._team.cancel()
