"""Which values share memory and when steps run: small lists made by hand, and any list against the definition."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.engine import placement
from cnncli.engine.placement import (
    Slot,
    phases_of,
    place,
    region,
    remake,
    require_halos,
    root,
    share_memory,
    write_apart,
)
from cnncli.layers.recording import NO_PADS, Scope, Step, Table, Value

SHAPE = (2, 3, 3)
LANES = 4
BORDER = (1, 1, 1, 1)


def value(name, shape=SHAPE, **options):
    return Value(shape, name, **options)


def step(name, reads, writes, **options):
    return Step(name, tuple(reads), tuple(writes), lambda bound: [], **options)


def names(steps):
    return [one.name for one in steps]


def test_a_region_counts_pixels_whatever_the_shape():
    whole = value("whole", (5, 3, 3))
    part = value("part", (4, 3, 3), home=whole, channel=1)
    seen = value("seen", (36,), home=part)
    second = value("second", (18,), home=seen, channel=18)
    assert [region(one) for one in (whole, part, seen, second)] == [(0, 45), (9, 45), (9, 45), (27, 45)]


def test_halos_are_as_wide_as_the_widest_reader_asks_even_of_a_part():
    whole = value("whole", (4, 3, 3))
    part = value("part", home=whole, channel=2)
    require_halos([step("a", [whole], [], halos=((1, 0, 0, 2),)), step("b", [part], [], halos=((0, 3, 0, 1),))])
    assert (whole.halo, part.halo) == ((1, 3, 0, 2), NO_PADS)


def chain(x, y, **options):
    return step("relu", [x], [y], in_place=(0,), **options)


def test_a_step_writes_over_what_nobody_reads_later():
    x, y = value("x", halo=BORDER), value("y", halo=(0, 0, 2, 0))
    share_memory([step("x", [], [x]), chain(x, y), step("read", [y], [])])
    assert root(y) is x
    assert x.halo == (1, 1, 2, 1)


NEEDED = ("read later", "a part is read later", "the whole is read later", "a view is read later",
          "read by the batch", "pinned", "another shape", "the same memory")  # fmt: skip


@pytest.mark.parametrize("why", NEEDED)
def test_a_step_does_not_write_over_what_is_needed(why):
    x, y = value("x"), value("y")
    steps = [step("x", [], [x]), chain(x, y), step("read", [y], [])]
    if why == "read later":
        steps.append(step("late", [x], []))
    if why == "a part is read later":
        steps.append(step("late", [value("part", (1, 3, 3), home=x, channel=1)], []))
    if why == "the whole is read later":
        whole = x.home = value("whole", (4, 3, 3))
        steps.append(step("late", [whole], []))
    if why == "a view is read later":
        seen = value("seen", (18,))
        steps.insert(1, step("view", [x], [seen], is_view=True))
        steps.append(step("late", [seen], []))
    if why == "read by the batch":
        steps.insert(1, step("sums", [x], [], scope=Scope.BATCH))
    if why == "pinned":
        x.is_pinned = True
    if why == "another shape":
        y.shape = (2, 3, 2)
    if why == "the same memory":
        x.home = y.home = value("whole", (4, 3, 3))
        y.channel = 2
    before = y.home
    share_memory(steps)
    assert y.home is before


def test_another_part_of_the_same_whole_may_be_read_later():
    whole = value("whole", (4, 3, 3))
    x, other, y = value("x", home=whole), value("other", home=whole, channel=2), value("y")
    share_memory([step("whole", [], [whole]), chain(x, y), step("read", [y, other], [])])
    assert y.home is x


def test_a_value_is_made_where_a_step_writes_its_part():
    whole = value("whole", (4, 3, 3))
    x, y = value("x", halo=BORDER), value("y", home=whole, channel=2)
    share_memory([step("x", [], [x]), chain(x, y), step("read", [whole], [])])
    assert x.home is y
    assert whole.halo == BORDER


def test_the_second_input_is_taken_where_the_first_is_needed():
    a, b, y = map(value, "aby")
    share_memory([step("a", [], [a]), step("b", [], [b]), step("sum", [a, b], [y], in_place=(0, 1)),
                  step("read", [y, a], [])])  # fmt: skip
    assert y.home is b


def test_a_view_without_halos_costs_nothing():
    x, y = value("x"), value("y", (18,))
    assert names(share_memory([step("x", [], [x]), step("view", [x], [y], is_view=True), step("read", [y], [])])) == [
        "x", "read"]  # fmt: skip
    assert y.home is x


@pytest.mark.parametrize("why", ["halo", "halo of the whole", "part"])
def test_a_view_with_a_halo_is_a_copy(why):
    x, y = value("x"), value("y", (18,))
    if why == "halo":
        x.halo = BORDER
    if why == "halo of the whole":
        x.home = value("whole", (3, 3, 3), halo=BORDER)
    if why == "part":
        y.home = value("whole", (30,))
    steps = [step("x", [], [x]), step("view", [x], [y], is_view=True), step("read", [y], [])]
    assert names(share_memory(steps)) == ["x", "view", "read"]


def test_what_is_seen_in_another_shape_gets_no_halo_later():
    x, seen, y = value("x"), value("seen", (18,)), value("y", halo=BORDER)
    share_memory([step("x", [], [x]), step("view", [x], [seen], is_view=True), step("read", [seen], []), chain(x, y),
                  step("end", [y], [])])  # fmt: skip
    assert y.home is None
    assert x.halo == NO_PADS


def test_a_step_of_the_batch_waits_for_all_blocks_and_they_wait_for_it():
    x, y = map(value, "xy")
    parts, totals = Table(1, "parts", "block"), Table(1, "totals")
    phases = phases_of([
        step("x", [], [x]), step("sums", [x], [], tables_written=(parts,)),
        step("total", [], [], tables_read=(parts,), tables_written=(totals,), scope=Scope.BATCH),
        step("y", [x], [y], tables_read=(totals,)), step("beside", [x], []),
    ])  # fmt: skip
    assert [(names(one.block_steps), names(one.batch_steps)) for one in phases] == [
        (["x", "sums", "beside"], []), ([], ["total"]), (["y"], [])]  # fmt: skip


def test_blocks_begin_after_what_depends_on_parameters_alone_where_that_makes_no_phase_more():
    x, y = value("x"), value("y")
    weights = Table(1, "weights")
    steps = [
        step("x", [], [x]), step("weights", [], [], tables_written=(weights,), scope=Scope.BATCH),
        step("y", [x], [y], tables_read=(weights,)),
    ]  # fmt: skip
    assert [(names(one.block_steps), names(one.batch_steps)) for one in phases_of(steps)] == [
        ([], ["weights"]), (["x", "y"], [])]  # fmt: skip
    alone = [(names(one.block_steps), names(one.batch_steps)) for one in phases_of(steps[:2])]
    assert alone == [(["x"], ["weights"])]


def test_what_is_written_in_place_waits_for_those_who_read_it_before():
    x, y = value("x"), value("y")
    y.home = x
    phases = phases_of([step("x", [], [x]), step("batch", [x], [], scope=Scope.BATCH), step("over x", [x], [y])])
    assert [(names(one.block_steps), names(one.batch_steps)) for one in phases] == [
        (["x"], []), ([], ["batch"]), (["over x"], [])]  # fmt: skip


def test_what_a_later_phase_reads_is_kept_for_every_block():
    x, y, z = map(value, "xyz")
    parts, table = Table(1, "parts", "group"), Table(1, "table")
    phases = phases_of([
        step("x", [], [x]), step("y", [x], [y]), step("end of y", [y], [], tables_written=(parts,)),
        step("batch", [], [], tables_read=(parts,), tables_written=(table,), scope=Scope.BATCH),
        step("z", [x], [z], tables_read=(table,)), step("end of z", [z], []),
    ])  # fmt: skip
    placed = place(phases, 3, LANES)
    kept = {one.name for one, slot in placed.slots.items() if slot.is_kept}
    assert kept == {"x"}
    assert placed.slots[x].size == 3 * placed.slots[y].size


def over_a_wait(**options):
    """Return steps of which `over` could write over what an earlier phase has made, and may read only then."""
    x, y, table = value("x"), value("y", **options), Table(2)
    over = step("over", [x], [y], in_place=(0,), tables_read=(table,))
    steps = [step("x", [], [x]), step("wait", [x], [], tables_written=(table,), scope=Scope.BATCH), over]
    return [*steps, step("read", [y], [])], y


def test_what_a_phase_uses_up_is_not_written_over_what_an_earlier_one_has_left():
    steps, _ = over_a_wait()
    write_apart(steps, LANES)
    assert steps[2].in_place == ()


@pytest.mark.parametrize("why", ["made in the phase", "read in a later phase", "large", "pinned"])
def test_a_step_still_writes_over_its_input(why, monkeypatch):
    steps, y = over_a_wait(is_pinned=why == "pinned")
    if why == "made in the phase":
        steps.insert(2, step("x again", [], [steps[0].writes[0]], tables_read=steps[1].tables_written))
    if why == "read in a later phase":
        table = Table(1)
        steps += [step("end", [y], [], tables_written=(table,), scope=Scope.BATCH)]
        steps += [step("late", [y], [], tables_read=(table,))]
    if why == "large":
        monkeypatch.setattr(placement, "CACHED_BYTES", 0)
    write_apart(steps, LANES)
    assert next(one for one in steps if one.name == "over").in_place == (0,)


def norm_between_phases(is_cheap=True):
    """Return the steps of x -> y -> z, then a wait, then steps that read y, and x last."""
    x, y, z, dz = map(value, ("x", "y", "z", "dz"))
    table = Table(2)
    wait = step("wait", [z], [], tables_written=(table,), scope=Scope.BATCH)
    return [
        step("x", [], [x]),
        step("norm", [x], [y], in_place=(0,), is_cheap=is_cheap),
        step("conv", [y], [z]),
        wait,
        step("dz", [z], [dz], tables_read=(table,)),
        step("dweight", [y, dz], []),
        step("sums", [x, y, dz], []),
    ]


def test_a_cheap_step_is_done_again_where_only_one_later_phase_reads_what_it_writes():
    steps = norm_between_phases()
    y = steps[1].writes[0]
    y.halo = BORDER
    phases = phases_of(share_memory(steps))
    remake(phases, LANES)
    assert [names(phase.block_steps) for phase in phases] == [
        ["x", "norm", "conv"], [], ["dz", "norm again", "dweight", "sums"],
    ]  # fmt: skip
    again = phases[2].block_steps[1]
    assert again.reads == steps[1].reads
    assert [one.reads[i] for one, i in zip(phases[2].block_steps[2:], (0, 1), strict=True)] == [again.writes[0]] * 2
    assert steps[2].reads == (y,)
    assert again.writes[0] is not y
    assert again.writes[0].halo == BORDER
    placed = place(phases, 3, LANES)
    assert not placed.slots[y].is_kept
    assert not placed.slots[again.writes[0]].is_kept


@pytest.mark.parametrize(
    "why", ["not cheap", "large", "two later phases", "what it reads is gone", "read by the batch", "pinned", "a part"]
)
def test_what_a_step_writes_is_kept(why, monkeypatch):
    steps = norm_between_phases(is_cheap=why != "not cheap")
    y = steps[1].writes[0]
    if why == "large":
        monkeypatch.setattr(placement, "CACHED_BYTES", 0)
    if why == "two later phases":
        table = Table(1)
        steps += [step("more", [], [], tables_read=steps[3].tables_written, tables_written=(table,), scope=Scope.BATCH)]
        steps += [step("late", [y], [], tables_read=(table,))]
    if why == "what it reads is gone":
        steps[-1].reads = steps[-1].reads[1:]
    if why == "read by the batch":
        steps += [step("all", [y], [], scope=Scope.BATCH, tables_read=steps[3].tables_written)]
    if why == "pinned":
        y.is_pinned = True
    if why == "a part":
        y.home = value("whole", (4, 3, 3))
    phases = phases_of(steps)
    before = [names(phase.block_steps) for phase in phases]
    remake(phases, LANES)
    assert [names(phase.block_steps) for phase in phases] == before


def used_together(one: Slot, other: Slot) -> bool:
    return one.begin <= other.end and other.begin <= one.end


lives = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9), st.integers(0, 5)), max_size=14)


@given(lives, st.booleans())
def test_what_lives_together_lies_apart_and_halos_are_cleared_where_memory_is_shared(lives, is_apart):
    slots = [Slot(size, False, begin, begin + length) for size, begin, length in lives]
    total = placement.arrange(slots, LANES, is_apart=is_apart)
    assert total % LANES == 0
    for slot in slots:
        assert 0 <= slot.offset <= total - slot.size
    for one, other in combinations(slots, 2):
        if one.offset < other.offset + other.size and other.offset < one.offset + one.size:
            assert not used_together(one, other)
            assert not is_apart
            assert one.shares
            assert other.shares


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.booleans()),
                max_size=14))  # fmt: skip
def test_phases_keep_the_order_of_everything_that_touches_the_same_memory(rows):
    """Two steps of which one writes what the other touches run in their order: earlier phase, or one block after the
    other in the same phase."""
    values, tables = [value(str(i)) for i in range(4)], [Table(1, str(i)) for i in range(4)]
    steps = [
        step(str(i), [values[a]], [values[b]] if b != a else [], tables_read=(tables[c],), tables_written=(tables[d],),
             scope=Scope.BATCH if is_batch else Scope.BLOCK)
        for i, (a, b, c, d, is_batch) in enumerate(rows)
    ]  # fmt: skip
    phases = phases_of(steps)
    when = {one: number for number, phase in enumerate(phases) for one in (*phase.block_steps, *phase.batch_steps)}
    assert set(when) == set(steps)
    for phase in phases:
        assert sorted(phase.block_steps, key=steps.index) == phase.block_steps
    for before, after in combinations(steps, 2):
        written = {*before.writes, *before.tables_written}, {*after.writes, *after.tables_written}
        read = {*before.reads, *before.tables_read}, {*after.reads, *after.tables_read}
        if written[0] & (written[1] | read[1]) or read[0] & written[1]:
            both_blocks = before.scope is Scope.BLOCK and after.scope is Scope.BLOCK
            assert when[before] < when[after] or (both_blocks and when[before] == when[after])
