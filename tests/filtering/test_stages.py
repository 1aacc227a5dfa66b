"""Chains of steps, ranges, depths, channels: `apply_filter` against plain NumPy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import reference

from cnncli.errors import InvalidInputError, NumericError, ShapeError, UsageError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep, named_kernel, parse_border, parse_padding, parse_steps, resolve
from cnncli.filters.borders import source_index
from cnncli.filters.steps import STEP_NAMES
from cnncli.layers import KINDS

RANDOM = np.random.default_rng(7)
IMAGE = RANDOM.integers(0, 256, (61, 47, 3), dtype=np.uint8)


def run(image, *specs, threads=2, compiled=None, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options), threads=threads, compiled=compiled)


@pytest.fixture(scope="module")
def tall():
    """An image of several strips, and what the slow oracle makes of it in a chain."""
    wide = np.concatenate([IMAGE] * 40, axis=1)
    image = np.concatenate([wide] * 8, axis=0)
    x = np.maximum(reference.filter_image(image, named_kernel("sharpen")), 0)
    x = np.stack([reference.pool_plane(x[..., c], 2, 2, "max") for c in range(3)], axis=2)
    x = np.stack([reference.pool_plane(x[..., c], 3, 1, "mean") for c in range(3)], axis=2)
    x = reference.filter_image(x, named_kernel("laplacian"))
    return image, np.abs(np.where(x > 0, x, 0.1 * x))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_chain(tall, compiled, threads):
    image, expected = tall
    specs = ("sharpen", "relu", "maxpool:2,s=2", "avgpool:3,s=1", "laplacian", "leaky_relu:0.1", "abs")
    result = run(image, *specs, range="raw", threads=threads, compiled=compiled)
    assert result.pixels.shape == expected.shape
    np.testing.assert_allclose(result.pixels, expected, atol=2e-3)


@pytest.mark.parametrize("border", ["wrap", "reflect", "mirror", "replicate", "constant:9"])
def test_borders_of_a_later_step_lie_on_what_it_reads(border):
    rule = parse_border(border)
    result = run(IMAGE.astype(float), "sharpen", "box:9", border=rule).pixels
    first = reference.filter_image(IMAGE, named_kernel("sharpen"), border=rule.kind, value=rule.value)
    expected = reference.filter_image(first, named_kernel("box:9"), border=rule.kind, value=rule.value)
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_point_steps():
    x = np.array([[-300.0, -1.5, 0, 0.5, 1.5, 127.9, 128, 255, 300]])[..., None]
    for spec, expected in {
        "relu": np.maximum(x, 0),
        "leaky_relu": np.where(x > 0, x, 0.01 * x),
        "abs": np.abs(x),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "round": np.rint(x),
        "clip": np.clip(x, 0, 255),
        "clip:-1,2": np.clip(x, -1, 2),
        "threshold": np.where(x >= 128, 255, 0),
        "threshold:0,1": (x >= 0) * 1.0,
    }.items():
        np.testing.assert_allclose(run(x, spec).pixels, expected, rtol=1e-14, err_msg=spec)


def test_activations_as_steps():
    x = np.concatenate([[-1e30, -300.0, -40, -3, -1.5, 0, 0.5, 3, 6, 40, 1e30], RANDOM.normal(0, 3, 400)])
    normal = np.array([math.erfc(-v / 2**0.5) / 2 for v in x])
    share = np.clip(x / 6 + 0.5, 0, 1)
    for spec, expected in {
        "prelu": np.where(x > 0, x, 0.25 * x),
        "prelu:0.1": np.where(x > 0, x, 0.1 * x),
        "elu": np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "elu:alpha=0.5": np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))),
        "gelu": x * normal,
        "silu": x / (1 + np.exp(-np.maximum(x, -700))),
        "swish": x / (1 + np.exp(-np.maximum(x, -700))),
        "relu6": np.clip(x, 0, 6),
        "hard_sigmoid": share,
        "hard-swish": x * share,
    }.items():
        for dtype, close, least in (("float64", 1e-12, 1e-35), ("float32", 3e-6, 1e-7)):
            result = run(x[None, :, None].astype(dtype), spec).pixels
            assert result.dtype == dtype
            np.testing.assert_allclose(result[0, :, 0], expected, rtol=close, atol=least, err_msg=f"{spec} {dtype}")


def test_every_activation_of_a_network_is_a_step():
    names = {kind for kind, layer in KINDS.items() if layer.is_activation}
    assert names <= set(STEP_NAMES)
    edges = np.array([-1e300, -800.0, 0, 800, 1e300]).reshape(1, 5, 1)
    for name in names:
        assert np.isfinite(run(edges, name).pixels).all(), name


def test_softmax_is_over_the_channels_of_each_pixel():
    x = RANDOM.normal(0, 4, (5, 6, 3))
    x[0, 0] = [1e30, 0, -1e30]
    shares = np.exp(x - x.max(axis=2, keepdims=True))
    result = run(x, "softmax").pixels
    np.testing.assert_allclose(result, shares / shares.sum(axis=2, keepdims=True), rtol=1e-14)
    assert (run(x[..., :1], "softmax").pixels == 1).all()


def test_gray_weights_and_channels():
    for method, weights in {"bt601": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}.items():
        expected = (IMAGE * np.array(weights)).sum(axis=2, keepdims=True)
        for result in (run(IMAGE, "identity", gray=method), run(IMAGE, f"gray:{method}")):
            assert np.abs(result.pixels - expected).max() <= 0.5001
    assert np.array_equal(run(IMAGE, "identity", channels=(2,)).pixels, IMAGE[..., 2:])
    assert np.array_equal(run(IMAGE, "identity", channels=(2, 0), compiled=True).pixels, IMAGE[..., [2, 0]])
    with pytest.raises(ShapeError, match="channel 3"):
        run(IMAGE, "identity", channels=(3,))


def test_automatic_range():
    assert run(IMAGE, "sobel-x").range == "abs"
    assert run(IMAGE, "sobel").range == "abs"
    assert run(IMAGE, "sharpen").range == "clip"
    assert run(IMAGE, "laplacian", "relu").range == "clip"
    assert run(IMAGE, "laplacian", "maxpool:2").range == "abs"
    assert run(IMAGE.astype(float), "laplacian").range == "raw"
    assert run(IMAGE, "laplacian", dtype="float32").range == "raw"


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_ranges(compiled, dtype):
    image = IMAGE if dtype == "uint8" else IMAGE.astype(np.uint16) * 257
    white = np.iinfo(dtype).max
    values = reference.filter_image(image, named_kernel("emboss"))
    for kind, expected in {
        "clip": values,
        "abs": np.abs(values),
        "shift": values + (white + 1) / 2,
        "minmax": (values - values.min()) * (white / (values.max() - values.min())),
    }.items():
        result = run(image, "emboss", range=kind, compiled=compiled)
        exact = np.clip(np.rint(expected), 0, white)
        allowed = 1 if kind == "minmax" else 0
        assert np.abs(result.pixels - exact).max() <= allowed, kind
        assert result.pixels.dtype == dtype
    raw = run(image, "emboss", range="raw", compiled=compiled)
    assert raw.pixels.dtype == np.float32
    assert np.array_equal(raw.pixels, values)
    assert not raw.clip_report


def test_minmax_uses_all_of_the_range_and_survives_constant_images():
    result = run(IMAGE, "laplacian", range="minmax", compiled=True)
    assert (result.pixels.min(), result.pixels.max()) == (0, 255)
    flat = np.full((20, 20, 1), 9, np.uint8)
    assert run(flat, "identity", range="minmax", compiled=True).pixels.max() == 9
    assert not run(flat, "laplacian", range="minmax").pixels.any()


@pytest.mark.peers
def test_equalisation_is_that_of_opencv_for_8_bit_images():
    cv2 = pytest.importorskip("cv2")
    dark = (IMAGE[..., :1] // 3).astype(np.uint8)
    result = run(dark, "identity", range="equalize").pixels[..., 0]
    assert np.abs(result.astype(int) - cv2.equalizeHist(dark[..., 0])).max() <= 1
    assert np.array_equal(run(np.full((3, 3, 1), 7, np.uint8), "identity", range="equalize").pixels, [[[7]] * 3] * 3)


@pytest.mark.parametrize("compiled", [False, True])
def test_depths(compiled):
    deep = run(IMAGE, "identity", dtype="uint16", compiled=compiled).pixels
    assert np.array_equal(deep, IMAGE.astype(np.uint16) * 257)
    assert np.array_equal(run(deep, "identity", dtype="uint8", compiled=compiled).pixels, IMAGE)
    numbers = run(IMAGE, "identity", dtype="float32", compiled=compiled).pixels
    assert numbers.dtype == np.float32
    assert np.array_equal(numbers, IMAGE)
    unit = RANDOM.random((30, 20, 3), dtype=np.float32)
    assert np.array_equal(run(unit, "identity", dtype="uint8").pixels, np.rint(unit * np.float32(255)))


def test_scale_and_bias():
    values = reference.filter_image(IMAGE, named_kernel("emboss"))
    matrix = IMAGE.astype(float)
    np.testing.assert_allclose(run(matrix, "emboss", scale=Fraction(1, 3), bias=7.0).pixels, values / 3 + 7, rtol=1e-14)
    box = run(IMAGE, "1 1 1; 1 1 1; 1 1 1", scale="sum", compiled=True).pixels
    assert np.array_equal(box, run(IMAGE, "box", compiled=True).pixels)
    with pytest.raises(UsageError, match="add up to 0"):
        run(IMAGE, "laplacian", scale="sum")


def test_three_dimensional_kernels_add_over_channels():
    bank = Kernel("bank", RANDOM.standard_normal((4, 3, 3, 5)), bias=np.array([1.0, -2, 0, 3]), per_channel=False)
    expected = reference.filter_image(IMAGE, bank, stride=(2, 1))
    for compiled in (False, True):
        plan = FilterPlan((KernelStep(bank),), stride=(2, 1), range="raw")
        result = apply_filter(IMAGE, plan, compiled=compiled).pixels
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=2e-3)
    with pytest.raises(ShapeError, match="reads 3 channels, the image has 1"):
        apply_filter(IMAGE[..., :1], FilterPlan((KernelStep(bank),)))


def test_even_kernels_name_their_centre():
    result = run(IMAGE, "roberts-x")
    assert "its centre is row 1, column 1" in result.notes[0]
    assert not run(IMAGE, "roberts-x", padding="valid").notes


@pytest.mark.parametrize(
    ("size", "kernel", "options", "message"),
    [
        (
            (3, 3),
            "box:5",
            {"padding": "valid"},
            "5x5 kernel: the kernel is larger than the image; use --padding same",
        ),
        ((9, 9), "box:5", {"padding": "valid", "dilation": (3, 1)}, r"\(dilated to 13x5\)"),
        ((3, 3), "maxpool:4", {}, "output would be 0x0"),
    ],
)
def test_kernels_that_do_not_fit(size, kernel, options, message):
    with pytest.raises(ShapeError, match=message):
        run(np.zeros((*size, 1), np.uint8), kernel, **options)


def test_values_that_are_not_finite():
    image = np.zeros((5, 5, 1), np.float32)
    image[2, 3] = np.nan
    with pytest.raises(InvalidInputError, match="row 3, column 4, channel 1 is not a finite number"):
        run(image, "identity")
    for place in ((0, 0), (17, 40), (39, 49)):
        for value in (np.nan, np.inf, -np.inf):
            for kind in ("raw", "minmax"):
                wide = np.zeros((40, 50, 1), np.float32)
                wide[place] = value
                with pytest.raises(InvalidInputError, match="not a finite number"):
                    run(wide, "box:3", range=kind)
                with pytest.raises(InvalidInputError, match="not a finite number"):
                    run(wide, "box:3", dtype="uint8")
    with pytest.raises(NumericError):
        run(np.full((9, 9, 1), 3e38, np.float32), "box:3", scale=Fraction(100))
    with pytest.raises(NumericError):
        run(IMAGE, "1e150", compiled=True)


def test_options_that_contradict_each_other():
    with pytest.raises(UsageError, match="raw values do not fit uint8"):
        run(IMAGE, "identity", range="raw", dtype="uint8")
    for text in ("-1", "x", "1,2,3", "70000", ""):
        with pytest.raises(UsageError, match="--padding"):
            parse_padding(text)
    with pytest.raises(UsageError, match="did you mean reflect101"):
        parse_border("reflct101")
    with pytest.raises(UsageError, match="maxpool"):
        parse_steps(["maxpool:0"])
    with pytest.raises(UsageError, match="padding 2x2 is not less than the size 2"):
        parse_steps(["maxpool:2,p=2"])
    with pytest.raises(UsageError, match="did you mean"):
        parse_steps(["maxpol:2"])


def test_the_result_may_go_to_an_array_of_the_caller():
    target = np.empty_like(IMAGE)
    result = apply_filter(IMAGE, FilterPlan(parse_steps(["gaussian:1"])), out=target)
    assert result.pixels is target
    assert np.array_equal(target, run(IMAGE, "gaussian:1").pixels)
    with pytest.raises(UsageError, match="the array for it"):
        apply_filter(IMAGE, FilterPlan(parse_steps(["maxpool:2"])), out=target)


def test_huge_padding_costs_memory_of_the_result_only():
    result = run(IMAGE[:3, :3], "1", padding=(0, 0, 0, 60000), border=Border("wrap"))
    assert result.pixels.shape == (3, 60003, 3)
    assert np.array_equal(result.pixels[:, 3:6], IMAGE[:3, :3])


@pytest.mark.parametrize("kind", ["replicate", "zero", "reflect", "mirror", "wrap"])
@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_border_indices_far_outside(kind, length):
    index = source_index(length, 20, 20, Border(kind)).tolist()
    expected = [reference.outside(i, length, kind) for i in range(-20, length + 20)]
    assert index == [-1 if i is None else i for i in expected]


def test_geometry_formulas():
    assert resolve((5, 5), (3, 3), (1, 1, 1, 1), stride=(2, 2)).size == (3, 3)
    assert resolve((5, 6), (2, 4), "same").pads == (0, 1, 1, 2)
    assert resolve((5, 6), (2, 4), "same", late_anchor=(True, True)).pads == (1, 0, 2, 1)
    assert resolve((5, 6), (3, 3), "full", dilation=(2, 1)).pads == (4, 4, 2, 2)
