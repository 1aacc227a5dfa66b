"""The receptive field against the pixels that a value really depends on."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from command_line import run_cnn
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnncli.layers.conv_transpose import ConvTranspose2D
from cnncli.layers.upsample import Upsample2D
from cnncli.model import load_model, parse_model
from cnncli.model.assembly import LayerError
from cnncli.model.receptive_field import last_field, receptive_fields


def output_field(model):
    return last_field(model, receptive_fields(model))


def test_the_lecture_network():
    model = load_model("lecture")
    fields = receptive_fields(model)
    sizes = [field.rows.size for field in fields if field]
    jumps = [int(field.rows.jump) for field in fields if field]
    assert sizes == [5, 5, 6, 14, 14, 16]
    assert jumps == [1, 1, 2, 2, 2, 4]
    assert output_field(model).rows.centre == 7.5


def test_nothing_is_local_after_flatten():
    fields = receptive_fields(load_model("lenet5"))
    assert fields[-1] is None
    assert output_field(load_model("mlp")) is None


def test_branches_give_the_larger_field():
    text = """input: [32, 32, 1]
layers:
  - concat:
      - [conv: {filters: 1, kernel: 5, padding: 2}]
      - [conv: {filters: 1, kernel: [1, 3], padding: [0, 1]}]"""
    field = output_field(parse_model(text))
    assert (field.rows.size, field.columns.size) == (5, 5)
    assert field.rows.centre == 0


def test_the_field_of_the_output_is_the_largest_that_reaches_it():
    text = """input: [28, 28, 3]
layers:
  - concat:
      - [conv: {filters: 8, kernel: 7, padding: same}, globalavgpool]
      - [conv: {filters: 8, kernel: 1}, globalmaxpool]
  - dense: 10"""
    assert output_field(parse_model(text)).rows.size == 7
    assert run_cnn("params", "-", "--expect", "field=7", stdin=text).code == 0
    assert "receptive field 7" in run_cnn("params", "-", stdin=text).out
    # what nobody reads does not count
    text = """input: [28, 28, 3]
layers:
  - conv: {name: a, filters: 1, kernel: 3}
  - conv: {filters: 1, kernel: 9}
  - globalavgpool: {from: a}"""
    assert output_field(parse_model(text)).rows.size == 3


def test_behind_an_upsampling_the_largest_field_is_said():
    text = "input: [64, 64, 1]\nlayers: [maxpool: 4, upsample: 4, conv: {filters: 1, kernel: 3, padding: same}]"
    field = receptive_fields(parse_model(text))[-1].rows
    assert [field.last(i) - field.first(i) + 1 for i in range(8, 12)] == [8, 4, 4, 8]
    assert (field.size, field.jump) == (8, 1)
    assert "receptive field 8" in run_cnn("params", "-", stdin=text).out


LENGTH = 240


def entry(generator, depth=0):
    """Return a random layer along the rows as text, or parallel branches that keep the size."""
    choice = generator.random()
    if choice < 0.25 and depth < 2:
        branches = []
        for _ in range(generator.randint(2, 3)):
            inner = [same(generator) for _ in range(generator.randint(0, 2))]
            if generator.random() < 0.3:
                inner += ["maxpool: {size: [2, 1], stride: [2, 1]}", "upsample: [2, 1]"]
            branches.append("[" + ", ".join("{" + layer + "}" for layer in inner) + "]")
        return f"concat: [{', '.join(branches)}]"
    if choice < 0.4:
        return f"upsample: [{generator.randint(2, 3)}, 1]"
    if choice < 0.55:
        size = generator.randint(1, 3)
        return f"maxpool: {{size: [{size}, 1], stride: [{generator.randint(1, 4)}, 1]}}"
    k, s, d = generator.randint(1, 4), generator.randint(1, 3), generator.randint(1, 2)
    if choice < 0.65:
        top, bottom = (generator.randint(0, min(2, d * (k - 1))) for _ in range(2))
        window = f"kernel: [{k}, 1], stride: [{s}, 1], dilation: [{d}, 1], padding: [{top}, {bottom}, 0, 0]"
        return f"conv_transpose: {{filters: 1, {window}}}"
    top, bottom = generator.randint(0, 3), generator.randint(0, 3)
    window = f"kernel: [{k}, 1], stride: [{s}, 1], dilation: [{d}, 1], padding: [{top}, {bottom}, 0, 0]"
    return f"conv: {{filters: 1, {window}}}"


def same(generator):
    return f"conv: {{filters: 1, kernel: [{generator.randint(1, 5)}, 1], padding: same}}"


def seen(model):
    """Return for each node and value the input pixels that it depends on, by following every tap."""
    pixels = []
    for node in model.nodes:
        inputs = [[{i} for i in range(LENGTH)] if source < 0 else pixels[source] for source in node.inputs]
        if isinstance(node.layer, Upsample2D):
            pixels.append([inputs[0][i // node.layer.factor[0]] for i in range(node.out_shape[1])])
            continue
        window = node.layer.window()
        if isinstance(node.layer, ConvTranspose2D):
            rows = [set() for _ in range(node.out_shape[1])]
            for i, values in enumerate(inputs[0]):
                for tap in range(window.kernel[0]):
                    target = i * window.stride[0] + tap * window.dilation[0] - window.padding[0]
                    if 0 <= target < len(rows):
                        rows[target] |= values
            pixels.append(rows)
            continue
        rows = []
        for i in range(node.out_shape[1]):
            taps = [i * window.stride[0] - window.padding[0] + t * window.dilation[0] for t in range(window.kernel[0])]
            rows.append({p for values in inputs for tap in taps if 0 <= tap < len(values) for p in values[tap]})
        pixels.append(rows)
    return pixels


@pytest.mark.parametrize("seed", range(120))
def test_any_graph_with_upsampling_and_branches(seed):
    generator = random.Random(seed)
    text = f"input: [{LENGTH}, 1, 1]\nlayers:\n"
    text += "".join(f"  - {entry(generator)}\n" for _ in range(generator.randint(1, 5)))
    try:
        model = parse_model(text)
    except LayerError:
        pytest.skip("a branch that halves an odd length does not fit")
    fields, pixels = receptive_fields(model), seen(model)
    for node, field, rows in zip(model.nodes, fields, pixels, strict=True):
        reach = field.rows
        # a value whose taps all lie in the image, and those of the layers before it too
        inside = [i for i in range(len(rows)) if 40 <= reach.first(i) <= reach.last(i) < LENGTH - 40]
        for i in inside:
            assert (min(rows[i]), max(rows[i])) == (reach.first(i), reach.last(i)), (node.name, i, text)
        for i, found in enumerate(rows):
            assert not found or (reach.first(i) <= min(found) and max(found) <= reach.last(i)), (node.name, i, text)
        if len(inside) >= reach.period:
            assert reach.size == max(max(rows[i]) - min(rows[i]) + 1 for i in inside)


def test_the_gaps_of_a_transposed_convolution_see_nothing():
    gaps = "conv_transpose: {filters: 1, kernel: 1, stride: 3}"
    reach = receptive_fields(parse_model(f"input: [8, 8, 1]\nlayers:\n  - {gaps}"))[0].rows
    assert [reach.first(i) <= reach.last(i) for i in range(6)] == [True, False, False, True, False, False]
    assert (reach.size, reach.jump, reach.centre) == (1, Fraction(1, 3), 0)
    nothing = "conv: {filters: 1, kernel: 1, stride: 3, padding: [2, 0, 2, 0]}"  # reads pixels 1, 4, 7, ... of the gaps
    text = f"input: [8, 8, 1]\nlayers:\n  - {gaps}\n  - {nothing}"
    assert receptive_fields(parse_model(text))[1].rows.size == 0
    assert run_cnn("params", "-", "--columns", "all", stdin=text).code == 0
    assert run_cnn("params", "-", "--json", stdin=text).code == 0


def test_paths_of_different_steps_and_long_patterns_are_bounded():
    drift = "concat: [[maxpool: {size: [2, 1]}], [conv: {filters: 1, kernel: [121, 1]}]]"
    longer = "upsample: [64, 1]\n  - maxpool: {size: [63, 1]}\n  - upsample: [62, 1]\n  - maxpool: {size: [60, 1]}"
    for layers in (drift, f"{longer}\n  - conv: {{filters: 1, kernel: [3, 1], padding: same}}"):
        model = parse_model(f"input: [{LENGTH}, 1, 1]\nlayers:\n  - {layers}\n")
        reach, rows = receptive_fields(model)[-1].rows, seen(model)[-1]
        assert all(reach.first(i) <= min(rows[i]) and max(rows[i]) <= reach.last(i) for i in range(len(rows)))
        assert reach.size >= max(max(found) - min(found) + 1 for found in rows)
        assert reach.size <= LENGTH + 10


@pytest.mark.peers
def test_against_gradients():
    torch = pytest.importorskip("torch")
    text = """input: [96, 96, 1]
layers:
  - conv: {filters: 1, kernel: 3, stride: 2, padding: [1, 0, 0, 1]}
  - concat:
      - [avgpool: {size: 2}, conv: {filters: 1, kernel: 5, padding: same}, upsample: 2]
      - [conv: {filters: 1, kernel: 3, padding: same}]
  - avgpool: {size: 2, stride: 1}"""
    model = parse_model(text)
    field = output_field(model)
    functional = torch.nn.functional
    ones = {k: torch.ones(1, 1, k, k, dtype=torch.float64) for k in (3, 5)}
    x = torch.ones(1, 1, 96, 96, dtype=torch.float64, requires_grad=True)
    stem = functional.conv2d(functional.pad(x, (0, 1, 1, 0)), ones[3], stride=2)
    left = functional.conv2d(functional.avg_pool2d(stem, 2), ones[5], padding=2).repeat_interleave(2, 2)
    right = functional.conv2d(stem, ones[3], padding=1)
    y = functional.avg_pool2d(left.repeat_interleave(2, 3) + right, 2, 1)
    assert y.shape[2:] == model.output_shape[1:]
    sizes = set()
    for i in range(10, 30):
        (gradient,) = torch.autograd.grad(y[0, 0, i, i + 3], x, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        assert (int(rows.min()), int(rows.max())) == (field.rows.first(i), field.rows.last(i))
        assert (int(columns.min()), int(columns.max())) == (field.columns.first(i + 3), field.columns.last(i + 3))
        sizes.add(int(rows.max() - rows.min()) + 1)
    assert field.rows.size == max(sizes)
    assert len(sizes) > 1


layers = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=4
)


@settings(max_examples=100)
@given(layers)
def test_against_the_pixels_that_are_reached(stack):
    length = 400
    text = f"input: [{length}, 1, 1]\nlayers:\n" + "".join(
        f"  - conv: {{filters: 1, kernel: [{k}, 1], stride: [{s}, 1], padding: [{p}, 0], dilation: [{d}, 1]}}\n"
        for k, s, p, d in stack
    )
    try:
        model = parse_model(text)
    except LayerError:
        assume(False)
    field = receptive_fields(model)[-1].rows
    index = model.output_shape[1] // 2
    reached = {index}
    for k, s, p, d in reversed(stack):
        reached = {i * s - p + tap * d for i in reached for tap in range(k)}
    assert min(reached) == field.first(index)
    assert max(reached) == field.last(index)
    assert max(reached) - min(reached) + 1 == field.size
