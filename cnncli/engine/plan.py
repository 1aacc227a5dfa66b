"""From recorded steps to a program: rewritten, cut into phases, placed in memory, bound to it.

All steps of a phase are run for one block of images before the next block is touched, so what a layer writes is still
in the cache when the next one reads it. What a plan takes is known before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cnncli.compute.arguments import Operand, Partial
from cnncli.compute.host import LANES
from cnncli.compute.program import Op, OpSequence
from cnncli.engine.few.channel_lanes import channels_in_lanes
from cnncli.engine.memory import Memory
from cnncli.engine.placement import (
    Phase,
    Placement,
    Slot,
    one_step_each,
    phases_of,
    place,
    remake,
    require_halos,
    root,
    share_memory,
    write_apart,
)
from cnncli.engine.record import Record
from cnncli.engine.rewrites import PREDICTING, TRAINING, rewritten
from cnncli.engine.weights import Weights
from cnncli.layers.recording import NO_PADS, Bound, Scope, Step, Table, Value, View

#: multiply-accumulates per step of a block from which on a step is shared out over threads: some microseconds of work
SHARED_MACS = 500_000


@dataclass(frozen=True)
class Signals:
    """Small arrays that a session fills before each batch.

    Parameters
    ----------
    count : ndarray of int64 (1,)
        Images in the batch.
    key : ndarray of uint64 (1,)
        Random bits of the step.
    """

    count: np.ndarray
    key: np.ndarray


class Plan:
    """Phases and sizes of a recorded network.

    Parameters
    ----------
    record : Record
    threads : int
    dtype : str
    is_stepwise : bool
        Every step of blocks has a phase of its own, so that each can be run by itself.
    is_few : bool
        A block is one image, whose channels lie in the lanes.
    """

    def __init__(
        self, record: Record, threads: int, dtype: str, *, is_stepwise: bool = False, is_few: bool = False
    ) -> None:
        graph = record.graph
        self.threads, self.dtype, self.blocks = threads, np.dtype(dtype), graph.blocks
        self.together = -(-graph.blocks // graph.groups)
        rewrites = TRAINING if graph.is_training else PREDICTING
        steps = rewritten(graph.steps, (*rewrites, channels_in_lanes) if is_few else rewrites)
        require_halos(steps)
        # where blocks are fewer than threads, a block is shared out: layer by layer instead of block by block
        is_shared = self.tasks < threads and _is_worth_sharing(record, 1 if is_few else LANES)
        self.parts = -(-2 * threads // self.tasks) if is_shared else 1
        is_stepwise |= self.parts > 1
        if graph.is_training and not is_stepwise:
            write_apart(steps, LANES)
        steps = share_memory(steps)
        self.updates = [step for step in steps if step.is_update]
        steps = [step for step in steps if not step.is_update]
        self.prologue, steps = _split_prologue(steps) if not graph.is_training else ([], steps)
        self.phases = phases_of(steps)
        if is_stepwise:
            self.phases = one_step_each(self.phases)
        else:
            remake(self.phases, LANES)
        self.placement = place(self.phases, self.blocks, LANES)
        self.tables = list(
            dict.fromkeys(
                table
                for step in (*self.prologue, *steps, *self.updates)
                for table in (*step.tables_read, *step.tables_written)
            )
        )

    @property
    def is_shared(self) -> bool:
        """Return whether a block of images is shared out over threads."""
        return self.parts > 1 and self.together == 1

    def slot_of(self, value: Value) -> Slot:
        """Return where a value lies and how long it lives."""
        return self.placement.slots[root(value)]

    @property
    def tasks(self) -> int:
        """Return how many threads can work on groups of blocks at the same time."""
        return -(-self.blocks // self.together)

    @property
    def size_bytes(self) -> int:
        """Return what the plan's feature maps and tables take [bytes]."""
        numbers = self.placement.worker_size * self.threads + self.placement.batch_size
        tables = sum(
            self._elements(table) * np.dtype(table.dtype or self.dtype).itemsize
            for table in self.tables
            if not self._is_gradient(table)
        )
        return numbers * self.dtype.itemsize + tables

    def bind(self, memory: Memory, weights: Weights, signals: Signals) -> BoundPlan:
        """Allocate memory and return the ops."""
        return BoundPlan(self, memory, weights, signals)

    def _elements(self, table: Table) -> int:
        """Return the numbers of a table, each part padded to whole vectors."""
        parts = {"batch": 1, "block": self.blocks, "group": -(-self.blocks // self.together)}[table.per]
        return _padded(table.size) * parts

    def _is_gradient(self, table: Table) -> bool:
        """Return whether a table is the gradient itself: there is one part only."""
        return table.per == "group" and self.together >= self.blocks and bool(table.gradient)


def _is_worth_sharing(record: Record, images: int) -> bool:
    """Return whether the steps of a block of images take long enough to wait for each other after every one."""
    return record.macs * images > SHARED_MACS * len(record.graph.steps)


def _padded(size: int) -> int:
    return -(-size // LANES) * LANES


def _split_prologue(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Return the steps of the batch that depend on parameters alone, and the others."""
    prologue: list[Step] = []
    known: set[Table] = set()
    rest = []
    for step in steps:
        if step.scope is Scope.BATCH and not step.reads and known.issuperset(step.tables_read):
            prologue.append(step)
            known.update(step.tables_written)
        else:
            rest.append(step)
    return prologue, rest


class BoundPlan:
    """A plan in memory.

    Attributes
    ----------
    plan : Plan
    prologue : list of list of OpSequence
        Phases to run whenever parameters have changed; empty when training.
    updates : list of OpSequence
        What changes running statistics; to be run with the update of the parameters.
    """

    def __init__(self, plan: Plan, memory: Memory, weights: Weights, signals: Signals) -> None:
        self.plan, self._weights, self._signals = plan, weights, signals
        placement: Placement = plan.placement
        self._worker = memory.zeros(placement.worker_size * plan.threads)
        self._batch = memory.zeros(placement.batch_size)
        self._zero = Operand(memory.zeros(LANES))
        self._tables: dict[Table, Operand] = {}
        self._partials: dict[Table, Partial] = {}
        for table in plan.tables:
            if table.per == "group":
                if not plan._is_gradient(table):
                    step = _padded(table.size)
                    array = memory.zeros(plan._elements(table), table.dtype)
                    self._partials[table] = Partial(Operand(array), step, plan.together)
            else:
                step = _padded(table.size) if table.per == "block" else 0
                self._tables[table] = Operand(memory.zeros(plan._elements(table), table.dtype), task_step=step)
        self.prologue = [[self._sequence(step)] for step in plan.prologue]
        self.updates = [self._sequence(step) for step in plan.updates]

    def tasks_of(self, step: Step) -> int:
        """Return into how many tasks the op of a step with the fewest is divided."""
        if step.scope is Scope.BATCH:
            return step.tasks
        if not self.plan.is_shared:
            return self.plan.tasks
        parts = [op.shared_out(self.plan.parts, str(self.plan.dtype)).parts for op in self._ops(step)]
        return self.plan.blocks * (sum(parts) if step.is_parallel else min(parts, default=1))

    def steps(self) -> Iterator[Step]:
        """Yield every step in the order in which they run, those that change running statistics last."""
        for phase in self.plan.phases:
            yield from (*phase.block_steps, *phase.batch_steps)
        yield from self.plan.updates

    def alone(self, step: Step) -> list[list[OpSequence]]:
        """Return the phases of one step."""
        if step.scope is Scope.BATCH:
            return [[self._sequence(step)]]
        return list(self._sequences(Phase([step])))

    @cached_property
    def phases(self) -> list[list[OpSequence]]:
        """The op sequences that can run at the same time, phase by phase."""
        return [sequences for phase in self.plan.phases for sequences in self._sequences(phase)]

    def _sequences(self, phase: Phase) -> Iterator[list[OpSequence]]:
        """Yield the op sequences of a phase, or of several where its one step is shared out over parts."""
        plan = self.plan
        sequences = [self._sequence(step) for step in phase.batch_steps]
        ops = [op for step in phase.block_steps for op in self._ops(step)]
        if not plan.is_shared:
            if ops:
                sequences.insert(0, OpSequence(tuple(ops), plan.blocks, plan.together))
            yield sequences
            return
        shared = [op.shared_out(plan.parts, str(plan.dtype)) for op in ops]
        alone = [OpSequence((op,), plan.blocks * op.parts) for op in shared]
        if all(step.is_parallel for step in phase.block_steps):
            yield [*alone, *sequences]
            return
        for one in alone:
            yield [one]
        if sequences:
            yield sequences

    def _sequence(self, step: Step) -> OpSequence:
        return OpSequence(tuple(self._ops(step)), step.tasks)

    def _ops(self, step: Step) -> list[Op]:
        weights = self._weights
        partials = dict(self._partials)
        for table in (*step.tables_read, *step.tables_written):
            if table.per == "group" and table not in partials:
                gradient = weights.gradients_of(step.node)[table.gradient]
                partials[table] = Partial(gradient, 0, self.plan.together)
        bound = Bound(
            reads=tuple(self.view(value) for value in step.reads),
            writes=tuple(self.view(value) for value in step.writes),
            tables=self._tables,
            partials=partials,
            weights=weights.of(step.node),
            gradients=weights.gradients_of(step.node),
            absorbed=step.absorbed,
            blocks=self.plan.blocks,
            together=self.plan.together,
            zero=self._zero,
            count=Operand(self._signals.count),
            key=Operand(self._signals.key),
        )
        cleared = [op for value in self.plan.placement.first_writers.get(step, ()) for op in self._clear(value)]
        return [*cleared, *step.emit(bound)]

    def _clear(self, value: Value) -> list[Op]:
        """Return the op that writes zeros around a value whose memory others use, too."""
        if value.halo == NO_PADS or not self.plan.placement.slots[value].shares:
            return []
        names = ("top", "bottom", "left", "right")
        return [Op("elementwise.clear_halo", {"y": self.view(value), **dict(zip(names, value.halo, strict=True))})]

    def view(self, value: Value) -> View:
        """Return where a value lies."""
        image = value.image
        if value.home is not None:
            outer = self.view(value.home)
            if image[1:] == outer.shape[1:]:
                return View(outer.pixel(value.channel, 0, 0), image, outer.channel_step, outer.row_step, LANES)
            if not outer.is_contiguous:
                raise RuntimeError(f"{value.name}: maps with a halo cannot be seen in another shape")
            return View(outer.operand, image, image[1] * image[2] * LANES, image[2] * LANES, LANES)
        slot: Slot = self.plan.placement.slots[root(value)]
        top, bottom, left, right = value.halo
        row = (image[2] + left + right) * LANES
        channel = (image[1] + top + bottom) * row
        corner = top * row + left * LANES
        if slot.is_kept:
            operand = Operand(self._batch, slot.offset + corner, task_step=slot.size // self.plan.blocks)
        else:
            operand = Operand(self._worker, slot.offset + corner, worker_step=self.plan.placement.worker_size)
        return View(operand, image, channel, row, LANES)
