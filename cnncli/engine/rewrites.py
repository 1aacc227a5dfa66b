"""Rewrites of a list of steps: each a function from steps to steps that knows what steps declare, and no layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from cnncli.layers.recording import NO_PADS, Step, Value

Rewrite: TypeAlias = Callable[[Sequence[Step]], list[Step]]


def drop_dead(steps: Sequence[Step]) -> list[Step]:
    """Leave out steps whose results nobody reads; one that writes a table, or no value, is read from outside."""
    kept: list[Step] = []
    read: set[Value] = set()  # with everything that a value which is read lies in
    for step in reversed(steps):
        if (
            not step.writes
            or step.tables_written
            or any(value.is_pinned or read & set(_homes(value)) for value in step.writes)
        ):
            kept.append(step)
            for value in step.reads:
                read.update(_homes(value))
    return kept[::-1]


def _homes(value: Value) -> Iterator[Value]:
    """Yield a value and what it lies in."""
    here: Value | None = value
    while here is not None:
        yield here
        here = here.home


def fold_scaling(steps: Sequence[Step]) -> list[Step]:
    """Let a step that can scale its weights do the scaling and shifting of the step after it (batch normalisation).

    Only for prediction: the factors must be known before the batch, so what makes them comes first.
    """
    readers, writers = _readers(steps), _writers(steps)
    first: list[Step] = []
    replaced: dict[Step, Step | None] = {}
    for step in steps:
        if step.epilogue != "scale_shift":
            continue
        before = _only_writer(step.reads[0], readers, writers)
        if before is None or before.folded is None:
            continue
        *prepare, folded = before.folded(*step.tables_read)
        makers = [one for one in steps if set(one.tables_written) & set(step.tables_read)]
        first += [*makers, *prepare]
        replaced |= dict.fromkeys(makers, None)
        replaced[before], replaced[step] = replace(folded, writes=(*step.writes, *folded.writes[1:])), None
    rest = (replaced.get(step, step) for step in steps)
    return [*first, *(step for step in rest if step is not None)]


def absorb_sums(steps: Sequence[Step]) -> list[Step]:
    """Let a step add, as it writes, what it writes to another value, in place of the sum that alone reads it.

    It then runs where the sum ran: the other value may be made after its own inputs.
    """
    readers, writers = _readers(steps), _writers(steps)
    replaced: dict[Step, Step | None] = {}
    for step in steps:
        if step.epilogue != "add":
            continue
        for mine, other in (step.reads, step.reads[::-1]):
            before = _only_writer(mine, readers, writers)
            if before is None or before in replaced or "add" not in before.epilogues or before.tables_written:
                continue
            reads = (*before.reads, other)
            halos = (*before.halos, *[NO_PADS] * (len(reads) - len(before.halos)))
            replaced[before] = None
            replaced[step] = replace(
                before, reads=reads, writes=(step.writes[0], *before.writes[1:]), halos=halos, absorbed=("add",),
                in_place=(*before.in_place, len(reads) - 1), epilogues=before.epilogues & step.epilogues,
            )  # fmt: skip
            break
    rest = (replaced.get(step, step) for step in steps)
    return [step for step in rest if step is not None]


def absorb_epilogues(steps: Sequence[Step]) -> list[Step]:
    """Let a step do, as it writes, the work of the only step that reads what it writes, where it can.

    What the reader reads besides must be among what the writer reads.
    """
    result = list(steps)
    readers, writers = _readers(result), _writers(result)
    gone: set[int] = set()
    for step in result:
        if not step.epilogue:
            continue
        before = _only_writer(step.reads[0], readers, writers)
        if before is None or step.epilogue not in before.epilogues or step.epilogue in before.absorbed:
            continue
        if any(extra not in before.reads for extra in step.reads[1:]):
            continue
        before.absorbed = (*before.absorbed, step.epilogue)
        before.writes = (step.writes[0], *before.writes[1:])
        writers[step.writes[0]] = [before]
        gone.add(id(step))
    return [step for step in result if id(step) not in gone]


def mask_where_read(steps: Sequence[Step]) -> list[Step]:
    """Leave out the gradient of a ReLU where all that read it can tell by themselves where the ReLU's result is 0."""
    writers = _writers(steps)
    users: dict[Value, list[Step]] = {}
    for step in steps:
        for home in {home for value in step.reads for home in _homes(value)}:
            users.setdefault(home, []).append(step)
    kept = []
    for step in steps:
        if step.epilogue == "relu_gradient" and not step.writes[0].is_pinned and step.writes[0].home is None:
            dy, y, dx = step.reads[0], step.reads[1], step.writes[0]
            readers = users.get(dx, [])
            if all(_knows_zeros(one, dx, writers.get(y, [])) for one in readers):
                for one in readers:
                    one.reads = (dy, *one.reads[1:])
                    one.absorbed = (*one.absorbed, "relu_gradient")
                users.setdefault(dy, []).extend(readers)
                continue
        kept.append(step)
    return kept


def _knows_zeros(step: Step, dy: Value, makers: Sequence[Step]) -> bool:
    """Return whether a step can leave out of its gradient `dy` what a ReLU that `makers` have absorbed has cut off."""
    return (
        "relu_gradient" in step.prologues
        and not step.absorbed
        and step.reads[0] is dy
        and step.reads.count(dy) == 1
        and len(makers) == 1
        and makers[0].node == step.node
        and makers[0].absorbed == ("relu",)
        and makers[0].reads[0] in step.reads[1:]
    )


def make_where_summed(steps: Sequence[Step]) -> list[Step]:
    """Let a step that runs through the gradient of a ReLU first make it, from the gradients that add up to it."""
    readers, writers = _readers(steps), _writers(steps)
    replaced: dict[Step, Step | None] = {}
    for step in steps:
        if step.epilogue != "relu_gradient" or len(writers[step.writes[0]]) > 1:
            continue
        dy, y = step.reads[0], step.reads[1]
        user = next((one for one in steps if "make" in one.prologues and one.reads[0] is step.writes[0]), None)
        if user is None or user.absorbed or user in replaced:
            continue
        sources: tuple[Value, ...] = (dy,)
        before = _only_writer(dy, readers, writers)
        if before is not None and before.epilogue == "add" and not before.absorbed:
            sources, replaced[before] = before.reads, None
        replaced[user] = None
        replaced[step] = replace(
            user, reads=(*sources, y, *user.reads[1:]), writes=step.writes,
            absorbed=("add", "relu_gradient")[2 - len(sources) :], in_place=tuple(range(len(sources))),
        )  # fmt: skip
    rest = (replaced.get(step, step) for step in steps)
    return [step for step in rest if step is not None]


def concat_as_slices(steps: Sequence[Step]) -> list[Step]:
    """Make a value where it is copied to in the first place, unless it lies somewhere already."""
    kept = []
    for step in steps:
        if step.is_copy:
            source, target = step.reads[0], step.writes[0]
            if source.home is None and not source.is_pinned and target.home is not None:
                source.home, source.channel = target.home, target.channel
                continue
        kept.append(step)
    return kept


def _readers(steps: Sequence[Step]) -> Counter[Value]:
    return Counter(value for step in steps for value in step.reads)


def _writers(steps: Sequence[Step]) -> dict[Value, list[Step]]:
    found: dict[Value, list[Step]] = {}
    for step in steps:
        for value in step.writes:
            found.setdefault(value, []).append(step)
    return found


def _only_writer(value: Value, readers: Counter[Value], writers: dict[Value, list[Step]]) -> Step | None:
    """Return the step that makes a value which one step reads and which is no part of another one."""
    made = writers.get(value, [])
    alone = readers[value] == 1 and value.home is None and not value.is_pinned
    return made[0] if len(made) == 1 and alone and made[0].writes[0] is value else None


TRAINING: tuple[Rewrite, ...] = (
    drop_dead, absorb_sums, absorb_epilogues, mask_where_read, make_where_summed, concat_as_slices,
)  # fmt: skip
PREDICTING: tuple[Rewrite, ...] = (drop_dead, fold_scaling, absorb_sums, absorb_epilogues, concat_as_slices)


def rewritten(steps: Sequence[Step], rewrites: Sequence[Rewrite]) -> list[Step]:
    """Return the steps after every rewrite in its turn."""
    result = list(steps)
    for rewrite in rewrites:
        result = rewrite(result)
    return result
