"""The receptive field against the pixels that a value really depends on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.model import load_model, parse_model
from cnncli.model.receptive_field import last_field, receptive_fields


def test_the_lecture_network():
    fields = receptive_fields(load_model("lecture"))
    sizes = [field.rows.size for field in fields if field]
    jumps = [int(field.rows.jump) for field in fields if field]
    assert sizes == [5, 5, 6, 14, 14, 16]
    assert jumps == [1, 1, 2, 2, 2, 4]
    assert last_field(fields).rows.centre == 7.5


def test_nothing_is_local_after_flatten():
    fields = receptive_fields(load_model("lenet5"))
    assert fields[-1] is None
    assert last_field(receptive_fields(load_model("mlp"))) is None


def test_branches_give_the_larger_field():
    text = """input: [32, 32, 1]
layers:
  - concat:
      - [conv: {filters: 1, kernel: 5, padding: 2}]
      - [conv: {filters: 1, kernel: [1, 3], padding: [0, 1]}]"""
    field = last_field(receptive_fields(parse_model(text)))
    assert (field.rows.size, field.columns.size) == (5, 5)
    assert field.rows.centre == 0


layers = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=4
)


@settings(max_examples=100)
@given(layers)
def test_against_the_pixels_that_are_reached(stack):
    length = 200
    text = f"input: [{length}, 1, 1]\nlayers:\n" + "".join(
        f"  - conv: {{filters: 1, kernel: [{k}, 1], stride: [{s}, 1], padding: [{p}, 0], dilation: [{d}, 1]}}\n"
        for k, s, p, d in stack
    )
    model = parse_model(text)
    field = receptive_fields(model)[-1].rows
    index = model.output_shape[1] // 2
    reached = {index}
    for k, s, p, d in reversed(stack):
        reached = {i * s - p + tap * d for i in reached for tap in range(k)}
    assert min(reached) == field.first + index * field.jump
    assert max(reached) == field.last + index * field.jump
    assert max(reached) - min(reached) + 1 == field.size
