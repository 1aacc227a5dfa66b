"""Each rewrite of a list of steps on small lists made by hand."""

import pytest

from cnncli.engine.rewrites import (
    absorb_epilogues,
    absorb_sums,
    concat_as_slices,
    drop_dead,
    fold_scaling,
    make_where_summed,
    mask_where_read,
)
from cnncli.layers.recording import Scope, Step, Table, Value

SHAPE = (2, 3, 3)


def value(name, **options):
    return Value(SHAPE, name, **options)


def step(name, reads, writes, **options):
    options["epilogues"] = frozenset(options.get("epilogues", ()))
    return Step(name, tuple(reads), tuple(writes), lambda bound: [], **options)


def names(steps):
    return [one.name for one in steps]


def test_steps_that_nobody_reads_are_left_out_with_what_only_they_read():
    x, a, b, c = map(value, "xabc")
    steps = [step("a", [x], [a]), step("b", [a], [b]), step("c", [a], [c]), step("answer", [c], [])]
    assert names(drop_dead(steps)) == ["a", "c", "answer"]


def test_a_pinned_value_and_a_table_are_read_from_outside():
    x, pinned = value("x"), value("pinned", is_pinned=True)
    steps = [step("x", [], [x]), step("table", [x], [], tables_written=(Table(3),)), step("pinned", [], [pinned])]
    assert names(drop_dead(steps)) == ["x", "table", "pinned"]


@pytest.mark.parametrize("is_whole_read", [True, False])
def test_parts_live_with_the_whole_and_the_whole_with_its_parts(is_whole_read):
    whole = Value((4, 3, 3), "whole")
    parts = [Value(SHAPE, f"part {i}", home=whole, channel=2 * i) for i in (0, 1)]
    if is_whole_read:
        steps = [step("one", [], [parts[0]]), step("two", [], [parts[1]]), step("read", [whole], [])]
        assert names(drop_dead(steps)) == ["one", "two", "read"]
    else:
        steps = [step("whole", [], [whole]), step("other", [], [value("other")]), step("read", [parts[1]], [])]
        assert names(drop_dead(steps)) == ["whole", "read"]


def relu(x, y):
    return step("relu", [x], [y], in_place=(0,), epilogue="relu")


def test_the_only_reader_is_absorbed_and_its_value_made_in_one_step():
    x, a, y = map(value, "xay")
    (conv, read) = absorb_epilogues([step("conv", [x], [a], epilogues=["relu"]), relu(a, y), step("read", [y], [])])
    assert (conv.name, conv.absorbed, conv.writes, read.name) == ("conv", ("relu",), (y,), "read")


@pytest.mark.parametrize("why", ["two readers", "pinned", "a part", "two writers", "not offered", "twice"])
def test_what_cannot_be_absorbed_stays(why):
    x, a, y, z = map(value, "xayz")
    conv = step("conv", [x], [a], epilogues=[] if why == "not offered" else ["relu"])
    steps = [conv, relu(a, y), step("read", [y], [])]
    if why == "two readers":
        steps.append(step("also", [a], []))
    if why == "pinned":
        a.is_pinned = True
    if why == "a part":
        a.home = Value((4, 3, 3), "whole")
    if why == "two writers":
        steps.insert(0, step("zero", [], [a]))
    if why == "twice":
        steps[2:] = [relu(y, z), step("read", [z], [])]
        assert names(absorb_epilogues(steps)) == ["conv", "relu", "read"]
        return
    assert names(absorb_epilogues(steps)) == names(steps)


def test_a_gradient_is_absorbed_only_where_its_other_operand_is_at_hand():
    x, y, dy, a, dx, other = (value(name) for name in ("x", "y", "dy", "a", "dx", "other"))

    def steps(read):
        pool = step("pool", [x, y, dy], [a], epilogues=["relu_gradient"])
        return [pool, step("relu dx", [a, read], [dx], epilogue="relu_gradient"), step("read", [dx], [])]

    assert names(absorb_epilogues(steps(x))) == ["pool", "read"]
    assert names(absorb_epilogues(steps(other))) == ["pool", "relu dx", "read"]


def add(a, b, y):
    return step("add", [a, b], [y], in_place=(0, 1), epilogue="add", epilogues=["relu"])


@pytest.mark.parametrize("is_first", [True, False])
def test_a_sum_is_done_where_one_of_its_inputs_is_made(is_first):
    x, a, b, y, z = map(value, "xabyz")
    norm = step("norm", [x], [a], in_place=(0,), epilogues=["add", "relu", "scale_shift"])
    sum_of = add(a, b, y) if is_first else add(b, a, y)
    steps = [norm, step("shortcut", [x], [b]), sum_of, relu(y, z), step("read", [z], [])]
    found = absorb_epilogues(absorb_sums(steps))
    assert names(found) == ["shortcut", "norm", "read"]  # after the other input is made
    assert (found[1].reads, found[1].writes, found[1].absorbed) == ((x, b), (z,), ("add", "relu"))
    assert found[1].in_place == (0, 1)
    assert found[1].epilogues == {"relu"}  # what comes after the sum is not done before it


@pytest.mark.parametrize("why", ["two readers", "not offered", "both inputs are one", "absorbed already"])
def test_a_sum_that_nobody_can_do_stays(why):
    x, a, b, y = map(value, "xaby")
    norm = step("norm", [x], [a], epilogues=[] if why == "not offered" else ["add"])
    steps = [norm, add(a, a if why == "both inputs are one" else b, y), step("read", [y], [])]
    if why == "two readers":
        steps.append(step("also", [a], []))
    if why == "absorbed already":
        z = value("z")
        steps[2:] = [add(y, b, z), step("read", [z], [])]
        assert names(absorb_sums(steps)) == ["norm", "add", "read"]
        return
    assert names(absorb_sums(steps)) == names(steps)


def copy(x, whole, channel):
    return step("copy", [x], [Value(x.shape, "part", home=whole, channel=channel)], is_copy=True)


def test_inputs_of_a_concatenation_are_made_in_their_place():
    whole = Value((4, 3, 3), "whole")
    a, b = map(value, "ab")
    steps = [step("a", [], [a]), step("b", [], [b]), copy(a, whole, 0), copy(b, whole, 2), step("read", [whole], [])]
    assert names(concat_as_slices(steps)) == ["a", "b", "read"]
    assert (a.home, a.channel, b.home, b.channel) == (whole, 0, whole, 2)


def test_the_second_place_of_a_value_is_a_copy():
    whole = Value((4, 3, 3), "whole")
    a = value("a")
    steps = concat_as_slices([step("a", [], [a]), copy(a, whole, 0), copy(a, whole, 2), step("read", [whole], [])])
    assert names(steps) == ["a", "copy", "read"]
    assert (a.home, a.channel, steps[1].writes[0].channel) == (whole, 0, 2)


def test_a_pinned_value_is_copied():
    whole, a = Value((2, 3, 3), "whole"), value("a", is_pinned=True)
    assert names(concat_as_slices([step("a", [], [a]), copy(a, whole, 0)])) == ["a", "copy"]


def test_concatenations_lie_in_concatenations():
    inner, outer = Value((4, 3, 3), "inner"), Value((6, 3, 3), "outer")
    a, b, c = map(value, "abc")
    steps = [copy(a, inner, 0), copy(b, inner, 2), copy(c, outer, 0), copy(inner, outer, 2)]
    assert concat_as_slices(steps) == []
    assert (b.home, inner.home, inner.channel, b.channel) == (inner, outer, 2, 2)


def scaling(x, y, scale, shift):
    return [
        step("make factors", [], [], tables_written=(scale, shift), scope=Scope.BATCH),
        step("scale", [x], [y], tables_read=(scale, shift), epilogue="scale_shift", epilogues=["relu"]),
    ]


def folding(x, a):
    conv = step("conv", [x], [a], epilogues=["relu"])

    def folded(scale, shift):
        weight = Table(1, "weight")
        before = step("scale weights", [], [], tables_read=(scale, shift), tables_written=(weight,), scope=Scope.BATCH)
        return [before, step("folded", [x], [a], tables_read=(weight,), epilogues=["relu"])]

    conv.folded = folded
    return conv


def test_scaling_is_folded_into_the_weights_before_the_batch():
    x, a, b, y = map(value, "xaby")
    steps = [step("x", [], [x]), folding(x, a), *scaling(a, b, Table(1), Table(1)), relu(b, y), step("read", [y], [])]
    folded = fold_scaling(steps)
    assert names(folded) == ["make factors", "scale weights", "x", "folded", "relu", "read"]
    assert folded[3].writes == (b,)
    assert names(absorb_epilogues(folded)) == ["make factors", "scale weights", "x", "folded", "read"]


@pytest.mark.parametrize("why", ["another reads the convolution", "no weights to scale"])
def test_what_cannot_be_folded_stays(why):
    x, a, b = map(value, "xab")
    conv = folding(x, a)
    steps = [conv, *scaling(a, b, Table(1), Table(1)), step("read", [b], [])]
    if why == "no weights to scale":
        conv.folded = None
    else:
        steps.append(step("also", [a], []))
    assert fold_scaling(steps) == steps


def test_of_two_scalings_one_is_folded():
    x, a, b, c = map(value, "xabc")
    steps = [
        folding(x, a),
        *scaling(a, b, Table(1), Table(1)),
        *scaling(b, c, Table(1), Table(1)),
        step("read", [c], []),
    ]
    folded = fold_scaling(steps)
    assert names(folded) == ["make factors", "scale weights", "folded", "make factors", "scale", "read"]
    assert (folded[2].writes, folded[4].reads) == ((b,), (b,))


def normalised(absorbed=("relu",), reader="bn dx"):
    """Return the steps of a batch normalisation whose ReLU is absorbed, and of both gradients."""
    x, y, dy, gain, dx = (value(name) for name in ("x", "y", "dy", "gain", "dx"))
    can = frozenset({"relu_gradient", "make"})
    return [
        step("bn", [x], [y], absorbed=absorbed, node=3),
        step("conv", [y], []),
        step("conv dx", [], [dy]),
        step("relu dx", [dy, y], [gain], epilogue="relu_gradient", node=4),
        step("bn sums", [gain, x], [], prologues=can, node=3, tables_written=(Table(4),)),
        step(reader, [gain, x], [dx], prologues=can - {"make"} if reader == "bn dx" else frozenset(), node=3),
        step("read", [dx], []),
    ]


def test_a_relu_gradient_is_not_written_where_its_readers_know_the_zeros():
    steps = normalised()
    dy = steps[2].writes[0]
    found = mask_where_read(steps)
    assert names(found) == ["bn", "conv", "conv dx", "bn sums", "bn dx", "read"]
    assert [(one.reads[0], one.absorbed) for one in found[3:5]] == 2 * [(dy, ("relu_gradient",))]


@pytest.mark.parametrize(
    "why", ["a sum before the ReLU", "relu6", "another reader", "another layer", "another input", "pinned", "a part"]
)
def test_a_relu_gradient_is_written_where_a_reader_cannot_know(why):
    absorbed = {"a sum before the ReLU": ("add", "relu"), "relu6": ("relu6",)}.get(why, ("relu",))
    steps = normalised(absorbed, "shortcut dx" if why == "another reader" else "bn dx")
    if why == "another layer":
        steps[0].node = 2
    if why == "another input":
        steps[0].reads = (value("other"),)
    if why == "pinned":
        steps[3].writes[0].is_pinned = True
    if why == "a part":
        steps[3].writes[0].home = Value((4, 3, 3), "whole")
    wanted = [(one.name, one.reads, one.absorbed) for one in steps]
    assert [(one.name, one.reads, one.absorbed) for one in mask_where_read(steps)] == wanted


@pytest.mark.parametrize("is_sum", [True, False])
def test_a_relu_gradient_is_made_where_it_is_summed_up(is_sum):
    steps = normalised(("add", "relu"))
    x, y, gain = steps[0].reads[0], steps[0].writes[0], steps[3].writes[0]
    a = steps[2].writes[0]
    reads = (a, y, x)
    if is_sum:
        b, total = value("b"), value("total")
        steps[3].reads = (total, y)
        steps[3:3] = [step("other dx", [], [b]), add(a, b, total)]
        reads = (a, b, y, x)
    found = make_where_summed(steps)
    assert names(found) == ["bn", "conv", "conv dx", *["other dx"] * is_sum, "bn sums", "bn dx", "read"]
    made = found[-3]
    assert (made.reads, made.writes) == (reads, (gain,))
    assert made.absorbed == (("add", "relu_gradient") if is_sum else ("relu_gradient",))
    assert made.in_place == ((0, 1) if is_sum else (0,))
    assert found[-2].reads == (gain, x)


def test_a_sum_of_gradients_that_others_read_is_written():
    steps = normalised(("add", "relu"))
    a, b, total = steps[2].writes[0], value("b"), value("total")
    steps[3].reads = (total, steps[3].reads[1])
    steps[3:3] = [step("other dx", [], [b]), add(a, b, total)]
    steps.append(step("also", [total], []))
    found = make_where_summed(steps)
    assert names(found) == ["bn", "conv", "conv dx", "other dx", "add", "bn sums", "bn dx", "read", "also"]
    assert next(one for one in found if one.name == "bn sums").reads[0] is total
