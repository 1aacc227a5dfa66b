"""Every layer kind keeps the contract: shapes, counts and descriptions agree with each other."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnncli.errors import ShapeError
from cnncli.layers import KINDS, AvgPool2D, Conv2D, Dense, Flatten, MaxPool2D
from cnncli.layers.base import REQUIRED
from cnncli.layers.initialisers import spread
from cnncli.model import parse_model

CASES = [
    pytest.param(layer, example, id=f"{kind}-{number}")
    for kind, layer in KINDS.items()
    for number, example in enumerate(layer.examples)
]


@pytest.mark.parametrize(("layer", "example"), CASES)
def test_shape_parameters_and_work_agree(layer, example):
    built = layer.build(example.options, example.shapes[0])
    out = built.out_shape(*example.shapes)
    assert all(isinstance(length, int) and length > 0 for length in out)
    params = built.params(*example.shapes)
    assert all(prod(param.shape) == param.size > 0 for param in params.values())
    assert built.macs(*example.shapes) >= 0
    formula = built.params_formula(*example.shapes)
    if params:
        # the formula is arithmetic: reading it gives the count
        assert eval(formula.replace("/", "//")) == sum(param.size for param in params.values())
    else:
        assert formula == ""
    for param in params.values():
        assert spread(param)[0] in ("normal", "uniform", "constant")
    if "weight" in params and built.macs(*example.shapes):
        # every weight of a convolution is used once per output pixel, of a transposed one once per input pixel,
        # and every other one once
        pixels = {"locally_connected": 1, "conv_transpose": prod(example.shapes[0][1:])}.get(layer.kind, prod(out[1:]))
        assert built.macs(*example.shapes) == params["weight"].size * pixels


@pytest.mark.parametrize(("layer", "example"), CASES)
def test_yaml_round_trip(layer, example):
    def written(value):
        return str(list(value)) if isinstance(value, tuple) else str(value).lower()

    options = [f"{name}: {written(value)}" for name, value in example.options.items()]
    rows, columns = (max((shape[axis] for shape in example.shapes if len(shape) == 3), default=1) for axis in (1, 2))
    lines = [f"input: {rows}x{columns}x2", "layers:", "  - conv: {name: start, filters: 2, kernel: 1}"]
    names = [f"in{i}" for i in range(len(example.shapes))]
    for name, shape in zip(names, example.shapes, strict=True):
        if len(shape) == 3:
            kernel = [rows - shape[1] + 1, columns - shape[2] + 1]
            lines.append(f"  - conv: {{name: {name}, from: start, filters: {shape[0]}, kernel: {kernel}}}")
        else:
            lines.append(f"  - flatten: {{name: flat_{name}, from: start}}")
            lines.append(f"  - dense: {{name: {name}, units: {shape[0]}}}")
    sources = names[0] if len(names) == 1 else str(names)
    lines.append(f"  - {layer.kind}: {{{', '.join([f'from: {sources}', *options])}}}")
    model = parse_model("\n".join(lines))
    assert model.nodes[-1].in_shapes == example.shapes
    assert model.nodes[-1].layer == layer.build(example.options, example.shapes[0])


@pytest.mark.parametrize("kind", list(KINDS))
def test_options_are_described(kind):
    layer = KINDS[kind]
    names = [option.name for option in layer.options]
    assert len(names) == len(set(names))
    assert layer.main in ("", *names)
    assert layer.summary
    for option in layer.options:
        assert option.low <= option.high
        if option.type in ("number",) and option.default is not REQUIRED:
            assert option.low <= option.default <= option.high


sizes = st.integers(1, 5)


@given(st.integers(1, 12), st.integers(1, 12), sizes, sizes, st.integers(1, 3), st.integers(0, 3), st.integers(1, 2))
def test_convolution_shape_counts_the_windows(height, width, rows, columns, stride, padding, dilation):
    layer = Conv2D(2, (rows, columns), (stride, stride), (padding,) * 4, (dilation, dilation))

    def count(length, kernel):
        reach = dilation * (kernel - 1) + 1
        return sum(1 for start in range(0, length + 2 * padding - reach + 1, stride))

    expected = 2, count(height, rows), count(width, columns)
    if min(expected) < 1:
        with pytest.raises(ShapeError, match="kernel"):
            layer.out_shape((3, height, width))
    else:
        assert layer.out_shape((3, height, width)) == expected


@given(st.integers(0, 15), st.integers(1, 5), st.integers(1, 5))
def test_ceil_pools_begin_inside_the_image(more, size, stride):
    length = size + more
    layer = MaxPool2D((size, size), (stride, stride), ceil=True)
    out = layer.out_shape((1, length, length))[1]
    starts = [start for start in range(0, length, stride) if start == 0 or start - stride + size < length]
    assert out == len(starts)


def test_pool_stride_is_its_size():
    assert AvgPool2D.build({"size": (3, 2)}, (1, 9, 9)).out_shape((1, 9, 9)) == (1, 3, 4)


def test_weight_shapes_are_those_of_checkpoints():
    conv = Conv2D(6, (5, 3), groups=2).params((4, 9, 9))
    assert (conv["weight"].shape, conv["bias"].shape) == ((6, 2, 5, 3), (6,))
    assert (conv["weight"].fan_in, conv["weight"].fan_out) == (30, 45)
    dense = Dense(10).params((84,))
    assert (dense["weight"].shape, dense["bias"].shape) == ((10, 84), (10,))
    assert Flatten().out_shape((16, 5, 5)) == (400,)
