"""Activations as compiled code: against functions of the standard library, central differences, and at the edges."""

import math

import numpy as np
import pytest

from cnncli.compute.arguments import Maps, Operand, Partial
from cnncli.compute.host import LANES
from cnncli.compute.kernel import CompiledKernel
from cnncli.compute.program import Op, OpSequence, Program
from cnncli.kernels.activation_table import ACTIVATIONS
from cnncli.kernels.simd.elementary import exp, expm1, tanh
from cnncli.kernels.simd.vector_math import compiled
from cnncli.kernels.simd.vectors import vload, vstore


def maps(array, channels=1):
    width = array.size // channels // LANES
    return Maps(Operand(array), channels, 1, width, width * LANES, width * LANES)


def run(kernel, dtype="float64", tasks=1, **operands):
    Program([[OpSequence((Op(kernel, operands),), tasks)]], 1, dtype).run()


def whole_vectors(numbers, dtype):
    """Return the numbers, and as many ones as fill the last vector."""
    numbers = np.asarray(numbers, np.float64).astype(dtype)
    return np.concatenate([numbers, np.ones(-numbers.size % LANES, dtype)])


def setting_of(name, value, dtype):
    entry = ACTIVATIONS[name]
    if entry.setting is None:
        return 0.0
    return Operand(np.array([value], dtype)) if entry.setting_gradient else value


def forward(name, x, value=0.3):
    y = np.zeros_like(x)
    run(f"activation.{name}_forward", x.dtype.name, x=maps(x), y=maps(y), setting=setting_of(name, value, x.dtype))
    return y


def backward(name, x, dy, value=0.3):
    dx = np.zeros_like(x)
    v = x if ACTIVATIONS[name].reads_x else forward(name, x, value)
    operands = {"v": maps(v), "dy": maps(dy), "dx": maps(dx), "setting": setting_of(name, value, x.dtype)}
    run(f"activation.{name}_backward", x.dtype.name, **operands)
    return dx


def _sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def _hard_sigmoid(x):
    return min(max(x + 3, 0), 6) / 6


WANTED = {
    "leaky_relu": lambda x: x if x > 0 else 0.3 * x,
    "prelu": lambda x: x if x > 0 else 0.3 * x,
    "elu": lambda x: x if x > 0 else 0.3 * math.expm1(x),
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "silu": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "relu6": lambda x: min(max(x, 0), 6),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda x: x * _hard_sigmoid(x),
}


def test_every_activation_is_tested():
    assert set(WANTED) == set(ACTIVATIONS)


RANDOM = np.random.default_rng(5)
ORDINARY = np.concatenate([RANDOM.normal(0, 3, 900), RANDOM.uniform(-30, 30, 300), [0, 1e-9, -1e-9, 1e-30, -1e-30]])


@pytest.mark.parametrize("name", WANTED)
def test_values_in_double_precision(name):
    x = whole_vectors(ORDINARY, "float64")
    close = 1e-12 if name == "gelu" else 2e-14  # x / sqrt(2) is rounded before erfc
    np.testing.assert_allclose(forward(name, x), [WANTED[name](v) for v in x], rtol=close, atol=1e-300)


@pytest.mark.parametrize("name", WANTED)
def test_values_in_single_precision(name):
    x = whole_vectors(ORDINARY, "float32")
    x = x[np.abs(x) < 12]  # beyond, numbers on the way are below the least normal number
    x = whole_vectors(x, "float32")
    wanted = np.array([WANTED[name](v) for v in x.astype(np.float64)])
    places = np.abs(forward(name, x) - wanted) / np.maximum(np.spacing(np.abs(wanted).astype(np.float32)), 1e-38)
    assert places.max() <= 4


@pytest.mark.parametrize("name", WANTED)
def test_derivative_by_central_differences(name):
    x = ORDINARY[(np.abs(ORDINARY) > 1e-3) & (np.abs(np.abs(ORDINARY) - 3) > 1e-3) & (np.abs(ORDINARY - 6) > 1e-3)]
    x, step = whole_vectors(x, "float64"), 1e-5
    dy = RANDOM.normal(0, 1, x.size)
    wanted = dy * (forward(name, x + step) - forward(name, x - step)) / (2 * step)
    np.testing.assert_allclose(backward(name, x, dy), wanted, rtol=1e-7, atol=1e-8)


def test_derivative_by_the_slope_of_each_channel():
    channels, blocks = 3, 5
    x = RANDOM.normal(0, 1, (blocks, channels, 2 * LANES))
    dy = RANDOM.normal(0, 1, x.shape)
    slopes, step, groups = np.array([0.3, -0.2, 0.0]), 1e-5, 3
    parts = np.full((groups, 4), 9.0)  # groups of two blocks, the last one of one; 4 numbers apart
    per_block = {
        key: maps(array, channels)._replace(data=Operand(array, task_step=array[0].size), width=2,
                                            channel_step=2 * LANES, row_step=2 * LANES)
        for key, array in {"x": x, "dy": dy}.items()
    }  # fmt: skip
    run("activation.prelu_setting_gradient", tasks=blocks, **per_block, out=Partial(Operand(parts), 4, 2))

    def total(numbers):
        return (dy * np.where(x > 0, x, numbers[:, None] * x)).sum((0, 2))

    wanted = (total(slopes + step) - total(slopes - step)) / (2 * step)
    np.testing.assert_allclose(parts[:, :channels].sum(0), wanted, rtol=1e-7)
    first = (dy * np.where(x > 0, 0, x))[:2].sum((0, 2))
    np.testing.assert_allclose(parts[0, :channels], first, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WANTED)
def test_finite_for_finite_numbers_and_nan_stays_nan(name, dtype):
    least, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    edges = [0.0, -0.0, least, -least, 50, -50, 90, -90, 104, -104, 750, -750, 1e30, -1e30, largest, -largest]
    x = np.concatenate([np.array(edges, dtype), np.array([np.nan], dtype)])
    x = np.concatenate([x, np.ones(-x.size % LANES, dtype)])
    y = forward(name, x)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(x))
    dx = backward(name, x, np.ones_like(x))
    finite = np.isfinite(x)
    assert np.isfinite(dx[finite]).all()
    assert (backward(name, x, np.zeros_like(x))[finite] == 0).all()
    flat_below = [i for i, v in enumerate(x) if v <= -1e30]
    flat_above = [i for i, v in enumerate(x) if v >= 1e30]
    limits = {"sigmoid": (0, 0), "tanh": (0, 0), "relu6": (0, 0), "hard_sigmoid": (0, 0), "elu": (0, 1),
              "gelu": (0, 1), "silu": (0, 1), "hard_swish": (0, 1)}.get(name, (0.3, 1))  # fmt: skip
    np.testing.assert_allclose(dx[flat_below], limits[0], rtol=1e-7, atol=0)
    np.testing.assert_allclose(dx[flat_above], limits[1], rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", ["elu", "gelu", "silu", "sigmoid", "tanh", "relu6", "hard_sigmoid", "hard_swish"])
def test_limits_at_infinity(name):
    x = np.concatenate([[np.inf, -np.inf], np.ones(LANES - 2)])
    above, below = forward(name, x)[:2]
    wanted = {"elu": (np.inf, -0.3), "sigmoid": (1, 0), "tanh": (1, -1), "relu6": (6, 0), "hard_sigmoid": (1, 0)}
    assert (above, below) == wanted.get(name, (np.inf, 0))
    assert np.isfinite(backward(name, x, np.ones_like(x))).all()


def vector_function(function, name):
    """Return a kernel that writes function(x)."""
    call = compiled(lambda x: function(x))

    def body(x: Maps, y: Maps) -> None:
        for w in range(x.width):
            vstore(y.data, w * LANES, call(vload(x.data, w * LANES)))

    return CompiledKernel(body, name, is_cached=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [exp, expm1, tanh], ids=["exp", "expm1", "tanh"])
def test_vector_functions_over_the_whole_range(function, dtype):
    # least normal and subnormal results, halfway points of the reduction, the last finite number and what overflows
    bound = {"exp": (-110, 92) if dtype == "float32" else (-760, 712), "expm1": (-110, 80), "tanh": (-45, 45)}
    low, high = bound[function.__name__]
    tiny = [s * 10.0**-e for e in (1, 3, 8, 20, 38, 44, 300, 320) for s in (1, -1)]
    numbers = np.concatenate(
        [np.linspace(low, high, 4001), RANDOM.normal(0, 1, 2000), np.arange(-40, 40) * math.log(2) / 2]
    )
    x = whole_vectors([*numbers, *tiny, 0.0], dtype)
    y = np.zeros_like(x)
    run(vector_function(function, function.__name__), dtype, x=maps(x), y=maps(y))
    exact = {"exp": np.exp, "expm1": np.expm1, "tanh": np.tanh}[function.__name__]
    with np.errstate(over="ignore", under="ignore"):
        wanted = exact(x.astype(np.longdouble))
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(wanted.astype(dtype)))
        finite = np.isfinite(y)
        places = np.abs(y - wanted)[finite] / np.spacing(np.abs(wanted.astype(dtype)))[finite]
    assert places.max() <= 2.5
    ends = np.concatenate([np.array([np.nan, -np.inf, np.inf], dtype), np.zeros(LANES - 3, dtype)])
    at_ends = np.zeros_like(ends)
    run(vector_function(function, function.__name__), dtype, x=maps(ends), y=maps(at_ends))
    assert np.isnan(at_ends[0])
    assert at_ends[1] == {"exp": 0, "expm1": -1, "tanh": -1}[function.__name__]
    if function is not expm1:  # of at most 80
        assert at_ends[2] == {"exp": np.inf, "tanh": 1}[function.__name__]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_every_pixel(dtype):
    x = RANDOM.normal(0, 5, (4, 3 * LANES)).astype(dtype)
    x[:, 0] = [1e30, -1e30, 0, 1e30]
    x[:, 1] = [np.nan, 0, 1, 2]
    y, dx = np.zeros_like(x), np.zeros_like(x)
    run("softmax_maps.forward", dtype, x=maps(x, 4), y=maps(y, 4))
    shifted = np.exp(x.astype(np.float64) - x.max(0))
    wanted = shifted / shifted.sum(0)
    close = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(y, wanted, rtol=close, atol=1e-37)
    assert np.isnan(y[:, 1]).all()
    dy = RANDOM.normal(0, 1, x.shape).astype(dtype)
    run("softmax_maps.backward", dtype, y=maps(y, 4), dy=maps(dy, 4), dx=maps(dx, 4))
    np.testing.assert_allclose(dx, wanted * (dy - (wanted * dy).sum(0)), rtol=0, atol=close)
