"""Which values share memory, when each step runs, and where everything lies: integers only, nothing is allocated.

Three passes over the list of steps. `share_memory` lets a step write over its input where nobody reads that any more.
`phases_of` cuts the list where a step needs the whole batch. `place` gives every value that is left an offset: values
that live in one phase once per thread, values that a later phase reads once per block of images, both in arenas in
which memory is used again after the last reader (greedy by size: Pisarchyk and Lee 2020, arXiv:2001.03288).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cnncli.layers.recording import NO_PADS, Scope, Step, Tensor, Value
from cnncli.shapes import Pads

#: worker memory below this size is not used twice: it fits the cache, and halos then stay zero
APART_BYTES = 1 << 20
#: a value of at most this size per block of images is still in the cache when the same thread reads it
CACHED_BYTES = 5 << 20


def root(value: Value) -> Value:
    """Return the value in whose memory `value` lies."""
    while value.home is not None:
        value = value.home
    return value


def region(value: Value) -> tuple[int, int]:
    """Return the numbers of the root that a value takes: first and last + 1, without the halo.

    They count pixels and not channels, because a value that is seen in another shape has other channels.
    """
    channels, height, width = value.image
    first = 0 if value.home is None else region(value.home)[0] + value.channel * height * width
    return first, first + channels * height * width


def require_halos(steps: Sequence[Step]) -> None:
    """Widen the halo of every root to what the readers of its values ask for."""
    for step in steps:
        for value, halo in zip(step.reads, step.halos, strict=False):
            _widen(root(value), halo)


def _widen(value: Value, halo: Pads) -> None:
    top, bottom, left, right = (max(pair) for pair in zip(value.halo, halo, strict=True))
    value.halo = top, bottom, left, right


class _Sharing:
    """Decides step by step which outputs take the memory of an input."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.uses: dict[Value, list[tuple[int, Step]]] = {}
        self.members: dict[Value, list[Value]] = {}
        self.reshaped: set[Value] = set()
        for t, step in enumerate(steps):
            for value in (*step.reads, *step.writes):
                here: Value | None = value
                while here is not None and here not in self.uses:
                    self.uses[here] = []
                    self.members.setdefault(root(here), []).append(here)
                    here = here.home
            for value in step.reads:
                self.uses[value].append((t, step))

    def is_free(self, value: Value, t: int) -> bool:
        """Return whether nobody reads the memory of `value` after step t."""
        first, last = region(value)
        whole = root(value)
        if whole.is_pinned:
            return False
        for member in self.members[whole]:
            begin, end = region(member)
            if begin < last and first < end:
                for time, step in self.uses[member]:
                    if time > t or step.scope is Scope.BATCH:
                        return False
        return True

    def merge(self, inner: Value, outer: Value) -> None:
        """Let `inner`, a root, lie in the memory of `outer`, from its first channel on."""
        target = root(outer)
        inner.home, inner.channel = outer, 0
        _widen(target, inner.halo)
        self.members[target] += self.members.pop(inner)
        if inner in self.reshaped:
            self.reshaped.add(target)

    def halo_fits(self, a: Value, b: Value) -> bool:
        """Return whether the memory of both can be one: a value seen in two shapes has no halo."""
        return not ({a, b} & self.reshaped) or (a.halo == NO_PADS and b.halo == NO_PADS)


def share_memory(steps: Sequence[Step]) -> list[Step]:
    """Return the steps without those that have nothing to do, and set the homes of values written in place."""
    sharing = _Sharing(steps)
    kept = []
    for t, step in enumerate(steps):
        if step.is_view:
            source, target = step.reads[0], step.writes[0]
            halos = root(source).halo, root(target).halo
            if target.home is None and not target.is_pinned and halos == (NO_PADS, NO_PADS):
                sharing.merge(target, source)
                sharing.reshaped.add(root(source))
                continue
        for index in step.in_place:
            if _try_in_place(sharing, step.reads[index], step.writes[0], t):
                break
        kept.append(step)
    return kept


def _try_in_place(sharing: _Sharing, source: Value, target: Value, t: int) -> bool:
    if source.image != target.image or not sharing.is_free(source, t) or root(source) is root(target):
        return False
    if not sharing.halo_fits(root(source), root(target)):
        return False
    if target.home is None and not target.is_pinned:
        sharing.merge(target, source)
        return True
    if source.home is None and not source.is_pinned:
        sharing.merge(source, target)
        return True
    return False


def write_apart(steps: Sequence[Step], lanes: int) -> None:
    """Let no step write, over what an earlier phase has left, a value that its own phase uses up.

    Memory that is kept for every block would be written once more for nothing; that of a thread stays in the cache.
    """
    found = [(i, step) for i, phase in enumerate(phases_of(steps)) for step in (*phase.block_steps, *phase.batch_steps)]
    whole = {value: root(value) for step in steps for value in (*step.reads, *step.writes)}
    made: dict[Value, int] = {}  # the last phase that writes a root, and that touches it
    used: dict[Value, int] = {}
    for now, step in found:
        made |= {whole[value]: now for value in step.writes}
        used |= {whole[value]: now for value in (*step.reads, *step.writes)}
    for now, step in found:
        if step.in_place and _is_cached(step.writes[0], lanes):
            target = step.writes[0]
            if target.home is None and not target.is_pinned and used[target] == now:
                step.in_place = tuple(i for i in step.in_place if made.get(whole[step.reads[i]], now) == now)


def _is_cached(value: Value, lanes: int) -> bool:
    return 4 * _size(value, lanes) <= CACHED_BYTES


@dataclass
class Phase:
    """Steps that can run without waiting for other blocks, and steps of the whole batch beside them."""

    block_steps: list[Step] = field(default_factory=list)
    batch_steps: list[Step] = field(default_factory=list)


@dataclass
class _Access:
    """The last phase in which a tensor was read or written, by steps of blocks and of the batch."""

    block_write: int = -1
    batch_write: int = -1
    block_read: int = -1
    batch_read: int = -1


def phases_of(steps: Sequence[Step]) -> list[Phase]:
    """Return each step in the first phase in which everything it waits for is done.

    A step of the batch waits for all blocks, and steps of blocks wait for it; steps of blocks follow each other within
    a phase, block by block. Where what depends on parameters alone comes first, and that makes no phase more, blocks
    begin in the second phase: those steps of blocks that wait for it then follow the others at once, block by block.
    """
    soon, late = _phases(steps, 0), _phases(steps, 1)
    return late if len(late) <= len(soon) else soon


def _phases(steps: Sequence[Step], first: int) -> list[Phase]:
    """Return each step in the first phase that it can be in, for steps of blocks no sooner than `first`."""
    access: dict[Tensor, _Access] = {}
    phases: list[Phase] = []
    for step in steps:
        is_block = step.scope is Scope.BLOCK
        sources: list[Tensor] = [*map(root, step.reads), *step.tables_read]
        targets: list[Tensor] = [*map(root, step.writes), *step.tables_written]
        reads = [access.setdefault(key, _Access()) for key in sources]
        writes = [access.setdefault(key, _Access()) for key in targets]
        phase = first if is_block else 0
        for one in reads:
            phase = max(phase, one.block_write + (not is_block), one.batch_write + 1)
        for one in writes:
            phase = max(
                phase, one.block_write + (not is_block), one.batch_write + 1,
                one.block_read + (not is_block), one.batch_read + 1,
            )  # fmt: skip
        for one in reads:
            if is_block:
                one.block_read = max(one.block_read, phase)
            else:
                one.batch_read = max(one.batch_read, phase)
        for one in writes:
            if is_block:
                one.block_write = max(one.block_write, phase)
            else:
                one.batch_write = max(one.batch_write, phase)
        while len(phases) <= phase:
            phases.append(Phase())
        (phases[phase].block_steps if is_block else phases[phase].batch_steps).append(step)
    return phases


def one_step_each(phases: Sequence[Phase]) -> list[Phase]:
    """Return the phases with one step of blocks each: their tasks can then be parts of a block."""
    result = []
    for phase in phases:
        first = Phase(phase.block_steps[:1], phase.batch_steps)
        result += [first, *(Phase([step]) for step in phase.block_steps[1:])]
    return result


def remake(phases: Sequence[Phase], lanes: int) -> None:
    """Do a cheap step again in the one later phase that reads what it writes, in place of keeping that for every block.

    Only where what the step reads is kept until then anyway.
    """
    steps = [(i, step) for i, phase in enumerate(phases) for step in (*phase.block_steps, *phase.batch_steps)]
    reads: dict[Value, list[int]] = {}  # places in the list
    writes: dict[Value, list[int]] = {}
    homes = {value.home for _, step in steps for value in (*step.reads, *step.writes)}
    for place_of, (_, step) in enumerate(steps):
        for value in step.reads:
            reads.setdefault(value, []).append(place_of)
        for value in step.writes:
            writes.setdefault(value, []).append(place_of)
    for phase, step in steps:
        if not step.is_cheap or not _is_cached(step.writes[0], lanes):
            continue
        (y,) = step.writes
        later = [i for i in reads.get(y, ()) if steps[i][0] > phase]
        if (
            len({steps[i][0] for i in later}) != 1
            or len(writes[y]) != 1 or y.home is not None or y.is_pinned or y in homes
            or any(steps[i][1].scope is Scope.BATCH for i in reads[y])
            or any(reads[x][-1] < later[0] for x in step.reads)
        ):  # fmt: skip
            continue
        again = Value(y.shape, y.name, y.halo)
        block_steps = phases[steps[later[0]][0]].block_steps
        block_steps.insert(
            block_steps.index(steps[later[0]][1]),
            replace(step, name=f"{step.name} again", writes=(again,)),
        )
        for i in later:
            user = steps[i][1]
            user.reads = tuple(again if value is y else value for value in user.reads)


@dataclass
class Slot:
    """Where a root lies, in elements per block of images: `offset` in the arena of workers, or in that of the batch.

    `begin` and `end` are the first and last moment of its life; `shares` says that its memory serves others, too, so
    that its halo has to be cleared before it is written.
    """

    size: int
    is_kept: bool
    begin: int
    end: int
    offset: int = 0
    shares: bool = False


@dataclass
class Placement:
    """Slots of all roots and the size of both arenas, in elements: per worker, and per batch."""

    slots: dict[Value, Slot]
    worker_size: int
    batch_size: int
    first_writers: dict[Step, list[Value]]


def place(phases: Sequence[Phase], blocks: int, lanes: int) -> Placement:
    """Give every root its place."""
    slots: dict[Value, Slot] = {}
    seen: dict[Value, set[int]] = {}
    first_writers: dict[Step, list[Value]] = {}
    moment = 0
    for number, phase in enumerate(phases):
        for step in (*phase.block_steps, *phase.batch_steps):
            moment += 1
            for value in (*step.writes, *step.reads):
                whole = root(value)
                if whole not in slots:
                    slots[whole] = Slot(_size(whole, lanes), False, moment, moment)
                    seen[whole] = set()
                    first_writers.setdefault(step, []).append(whole)
                slot = slots[whole]
                slot.end = moment
                seen[whole].add(number)
                slot.is_kept |= step.scope is Scope.BATCH
    for whole, slot in slots.items():
        slot.is_kept |= len(seen[whole]) > 1
        if slot.is_kept:
            # every block of a phase is at another moment: what lives in a phase lives in all of it
            slot.begin, slot.end = min(seen[whole]), max(seen[whole])
            slot.size *= blocks
    kept = [slot for slot in slots.values() if slot.is_kept]
    own = [slot for slot in slots.values() if not slot.is_kept]
    small = 4 * sum(slot.size for slot in own) <= APART_BYTES
    return Placement(slots, arrange(own, lanes, is_apart=small), arrange(kept, lanes), first_writers)


def _size(value: Value, lanes: int) -> int:
    channels, height, width = value.image
    top, bottom, left, right = value.halo
    # a transpose reads whole blocks of `lanes` features: it may look beyond the last one
    return channels * (height + top + bottom) * (width + left + right) * lanes + lanes * lanes


def arrange(slots: Sequence[Slot], lanes: int, *, is_apart: bool = False) -> int:
    """Set the offsets, the largest slot first at the lowest place that is free all its life; return the total size."""
    total = 0
    placed: list[Slot] = []
    for slot in sorted(slots, key=lambda one: (-one.size, one.begin)):
        rivals = sorted(
            (one for one in placed if is_apart or (one.begin <= slot.end and slot.begin <= one.end)),
            key=lambda one: one.offset,
        )
        offset = 0
        for rival in rivals:
            if offset + slot.size <= rival.offset:
                break
            offset = max(offset, rival.offset + rival.size)
        slot.offset = offset
        for one in placed:
            if one.offset < offset + slot.size and offset < one.offset + one.size:
                one.shares = slot.shares = True
        placed.append(slot)
        total = max(total, offset + slot.size)
    return -(-total // lanes) * lanes
