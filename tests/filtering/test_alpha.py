"""Pictures with transparency: one pixel that is not opaque changes its neighbourhood and nothing else."""

import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import reference

from cnncli.errors import InvalidInputError, UsageError
from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Kernel, KernelStep, named_kernel, parse_border, parse_steps

RANDOM = np.random.default_rng(11)
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
EVEN = 30  # rows and columns of one colour at the upper left; the pixel that is not opaque lies in their middle
BANK = Kernel("bank", RANDOM.standard_normal((2, 3, 3, 3)), bias=np.array([1.0, -2]), per_channel=False)

OPTIONS = [
    (["identity", "threshold:128"], {}),
    (["identity", "threshold"], {}),
    (["box:3"], {"scale": Fraction(2)}),
    (["box:3"], {"scale": "sum"}),
    (["2"], {}),
    (["1 2; 3 4"], {}),
    (["box:5"], {"border": parse_border("constant:200")}),
    (["box:5"], {"border": parse_border("wrap")}),
    (["box:5"], {"border": parse_border("mirror")}),
    (["box:3"], {"border": parse_border("zero")}),
    (["box:3"], {"padding": (1, 1, 1, 1)}),
    (["box:3", "box:3"], {"padding": "full"}),
    (["box:5"], {"padding": "valid"}),
    (["gaussian:1", "clip:10,200"], {}),
    (["box:3"], {"bias": 1000.0}),
    (["gaussian:1"], {"bias": -1.0}),
    (["threshold:100"], {}),
    (["gaussian:2", "sigmoid"], {}),
    (["box:3", "tanh"], {}),
    (["box:3", "round"], {}),
    (["laplacian", "relu"], {}),
    (["laplacian", "leaky_relu:0.2", "abs"], {}),
    (["sharpen"], {"range": "shift"}),
    (["sharpen"], {"range": "minmax"}),
    (["sharpen"], {"range": "equalize"}),
    (["sharpen"], {"range": "abs"}),
    (["sharpen"], {"range": "raw"}),
    (["box:3"], {"dtype": "uint8"}),
    (["box:4"], {"dtype": "uint16"}),
    (["box:4"], {"dtype": "float32"}),
    (["sobel"], {}),
    (["kirsch"], {}),
    (["log"], {}),
    (["emboss"], {"flip": True}),
    (["unsharp"], {}),
    (["gabor"], {}),
    (["motion:7,30"], {}),
    (["maxpool:2", "sharpen"], {}),
    (["avgpool:3,s=2,p=1"], {}),
    (["sharpen"], {"stride": (2, 3)}),
    (["box:3"], {"dilation": (2, 2)}),
    (["gray", "sharpen"], {}),
    (["sharpen"], {"gray": "bt709"}),
    (["sharpen"], {"channels": (2, 0)}),
    *[(["sharpen"], {"convention": tool}) for tool in ("scipy", "pillow", "imagemagick", "vips", "opencv", "lecture")],
    (["gaussian:1"], {"convention": "keras", "padding": "same", "stride": (2, 2)}),
    (["box:2"], {"convention": "torch", "padding": "same", "dilation": (2, 2)}),
    ([BANK], {}),
]


def steps_of(specs):
    return tuple(step for s in specs for step in ([KernelStep(s)] if isinstance(s, Kernel) else parse_steps([s])))


def name_of(case):
    specs, options = case
    return " ".join([*map(str, (s if isinstance(s, str) else s.name for s in specs)), *map(str, options.values())])


def picture(dtype, shape=(61, 64, 3)):
    levels = RANDOM.integers(0, 256, shape)
    levels[:EVEN, :EVEN] = (90, 120, 60)
    return (levels * (257 if dtype == "uint16" else 1) / (255 if dtype == "float32" else 1)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("case", OPTIONS, ids=name_of)
def test_one_transparent_pixel_leaves_the_rest_as_it_is(case, dtype):
    specs, options = case
    plan = FilterPlan(steps_of(specs), **options)
    pixels = picture(dtype)
    alpha = np.full(pixels.shape[:2], WHITE[dtype], dtype)
    expected = apply_filter(pixels, plan)
    alpha[EVEN // 2, EVEN // 2] = WHITE[dtype] * 0.98
    result, shown = filter_with_alpha(pixels, alpha, plan, filter_alpha=False)
    assert (result.range, result.summary, result.notes) == (expected.range, expected.summary, expected.notes)
    assert result.pixels.dtype == expected.pixels.dtype
    assert shown.shape == result.pixels.shape[:2]
    assert np.count_nonzero(shown != WHITE[dtype]) <= 4  # windows of a pool overlap
    found, wanted = result.pixels.astype(float), expected.pixels.astype(float)
    white = 65535 if result.pixels.dtype == np.uint16 else 255 if result.pixels.dtype == np.uint8 else 1
    difference = np.abs(found - wanted)
    rows, columns = (-(-EVEN * n // m) + 4 for n, m in zip(found.shape[:2], pixels.shape[:2], strict=True))
    # means of equal colours are equal up to a rounding; equalising ranks them anew
    assert difference[:rows, :columns].max() <= (2 if white > 1 else 4e-6 * max(1, np.abs(wanted).max()))
    difference[:rows, :columns] = 0
    assert difference.max() <= (white * 1e-4 if options.get("range") == "equalize" else 0)


@pytest.mark.parametrize("border", ["replicate", "zero", "constant:77", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize(
    "name", ["box:3", "sharpen", "sobel-x", "sobel", "kirsch", "emboss", "roberts-x", "log:1,5", BANK]
)
def test_every_kernel_against_the_slow_oracle(name, border):
    kernel = name if isinstance(name, Kernel) else named_kernel(name)
    rule = parse_border(border)
    pixels = RANDOM.integers(0, 256, (13, 11, 3), dtype=np.uint8)
    alpha = RANDOM.integers(0, 256, (13, 11), dtype=np.uint8)
    alpha[2:9, 3:9] = 0  # windows that see nothing, or one side only
    alpha[5, 6] = 9
    for padding, stride, dilation in itertools.product(("valid", "same", "full"), ((1, 1), (2, 3)), ((1, 1), (2, 1))):
        options = {"padding": padding, "stride": stride, "dilation": dilation}
        expected, opacity = reference.filter_visible(
            pixels, alpha / 255, kernel, border=rule.kind, value=rule.value, **options
        )
        plan = FilterPlan((KernelStep(kernel),), border=rule, range="raw", **options)
        matrix, shown = filter_with_alpha(pixels.astype(np.float64), alpha / 255, plan, filter_alpha=False, threads=1)
        np.testing.assert_allclose(matrix.pixels, expected, rtol=1e-11, atol=1e-9, err_msg=str(options))
        np.testing.assert_array_equal(shown, opacity)
        numbers, shown = filter_with_alpha(pixels, alpha, plan, filter_alpha=False)
        np.testing.assert_allclose(numbers.pixels, expected, rtol=2e-5, atol=3e-3, err_msg=str(options))
        np.testing.assert_array_equal(shown, np.rint(opacity * 255))


CHAINS = [
    ["box:5"],
    ["sharpen"],
    ["sobel"],
    ["0 1 0; 1 0 1; 0 1 0"],
    ["gaussian:1", "laplacian"],
    ["maxpool:3,s=1,p=1"],
    ["avgpool:3,s=1,p=1", "emboss"],
    ["gray", "kirsch"],
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("specs", CHAINS, ids=" ".join)
@pytest.mark.parametrize("range_", ["auto", "minmax", "equalize"])
def test_hidden_colours_never_show(specs, dtype, range_):
    pixels = picture(dtype)
    alpha = (RANDOM.integers(0, 256, pixels.shape[:2]) / 255 * WHITE[dtype]).astype(dtype)
    alpha[30:50, 5:40] = 0
    alpha[RANDOM.random(alpha.shape) < 0.3] = 0
    alpha[40, 20] = WHITE[dtype]  # all its neighbours are hidden
    plan = FilterPlan(parse_steps(specs), range=range_)
    other = pixels.copy()
    other[alpha == 0] = RANDOM.integers(0, 2, (np.count_nonzero(alpha == 0), 3)) * WHITE[dtype]
    results = [filter_with_alpha(p, alpha, plan, filter_alpha=False) for p in (pixels, other)]
    visible = results[0][1] > 0
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][0].pixels[visible], results[1][0].pixels[visible])


@pytest.mark.parametrize("spec", ["box:5", "gaussian:2"])
def test_filtered_opacity_never_shows_hidden_colours(spec):
    pixels = np.full((31, 33, 3), (0, 255, 0), np.uint8)
    alpha = np.zeros((31, 33), np.uint8)
    pixels[10:15, 9:20], alpha[10:15, 9:20] = (255, 0, 0), 255
    result, shown = filter_with_alpha(pixels, alpha, FilterPlan(parse_steps([spec])), filter_alpha=True)
    expected = apply_filter(alpha[..., None], FilterPlan(parse_steps([spec]))).pixels[..., 0]
    np.testing.assert_array_equal(shown, expected)
    assert np.count_nonzero(shown) > np.count_nonzero(alpha)
    assert (result.pixels[shown > 0] == (255, 0, 0)).all()


@pytest.mark.parametrize("level", [1, 100, 254])
@pytest.mark.parametrize("name", ["box:3", "sharpen", "sobel", "laplacian", "gaussian:1", "kirsch"])
def test_even_opacity_changes_no_colour(name, level):
    pixels = RANDOM.integers(0, 256, (40, 41, 3), dtype=np.uint8)
    plan = FilterPlan(parse_steps([name]))
    result, shown = filter_with_alpha(pixels, np.full((40, 41), level, np.uint8), plan, filter_alpha=False)
    assert (shown == level).all()
    difference = result.pixels.astype(int) - apply_filter(pixels, plan).pixels
    assert np.abs(difference).max() <= 1  # a mean that falls between two levels
    assert np.count_nonzero(difference) < 0.05 * difference.size


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_identity_keeps_colours_even_where_they_are_hidden(dtype):
    pixels = picture(dtype)
    alpha = (RANDOM.integers(0, 3, pixels.shape[:2]) * (WHITE[dtype] / 2)).astype(dtype)
    for filter_alpha in (False, True):
        result, shown = filter_with_alpha(
            pixels, alpha, FilterPlan(parse_steps(["identity"])), filter_alpha=filter_alpha
        )
        np.testing.assert_array_equal(result.pixels, pixels)
        np.testing.assert_array_equal(shown, alpha)


def test_scipy_wraps_with_transparency_as_without():
    pixels = np.full((9, 9, 1), 200, np.uint8)
    alpha = np.full((9, 9), 255, np.uint8)
    alpha[0, 0] = 0
    plan = FilterPlan(parse_steps(["2"]), convention="scipy")
    result, _ = filter_with_alpha(pixels, alpha, plan, filter_alpha=False)
    assert (result.pixels == 400 - 256).all()


def test_pools_see_what_is_visible():
    pixels = np.array([[10, 250], [30, 40]], np.uint8)[..., None]
    alpha = np.array([[255, 0], [255, 51]], np.uint8)
    for spec, colour, opacity in (("maxpool:2", 40, 255), ("avgpool:2", (10 + 30 + 0.2 * 40) / 2.2, 561 / 4)):
        result, shown = filter_with_alpha(pixels, alpha, FilterPlan(parse_steps([spec])), filter_alpha=False)
        assert (result.pixels.item(), shown.item()) == (round(colour), round(opacity))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("spec", ["sharpen", "gaussian:1", "sobel", "avgpool:3"])
def test_threads_and_batches_change_no_bit(spec, dtype):
    pixels = picture(dtype, (301, 257, 3))
    alpha = (RANDOM.integers(0, 256, pixels.shape[:2]) / 255 * WHITE[dtype]).astype(dtype)
    plan = FilterPlan(parse_steps([spec]))
    runs = [
        filter_with_alpha(pixels, alpha, plan, filter_alpha=spec != "sobel", threads=threads, compiled=compiled)
        for threads, compiled in ((1, None), (3, True))
    ]
    assert runs[0][0].pixels.tobytes() == runs[1][0].pixels.tobytes()
    assert runs[0][1].tobytes() == runs[1][1].tobytes()


@pytest.mark.parametrize("spec", ["sharpen", "gaussian:2", "sobel", "maxpool:2,s=1"])
def test_memory_is_that_of_the_result_and_some_strips(spec):
    pixels = np.zeros((3000, 2000, 3), np.uint8)
    alpha = np.arange(6_000_000, dtype=np.uint32).reshape(3000, 2000).astype(np.uint8)
    plan = FilterPlan(parse_steps([spec]))
    filter_with_alpha(pixels[:64], alpha[:64], plan, filter_alpha=False)
    tracemalloc.start()
    try:
        filter_with_alpha(pixels, alpha, plan, filter_alpha=False, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    result = pixels.nbytes + 2 * alpha.nbytes  # colours, opacity, and which of it is full
    assert peak < result + (24 << 20)


@pytest.mark.parametrize("specs", [["sobel-x"], ["box:3", "sobel"], ["1 -1"]], ids=" ".join)
@pytest.mark.parametrize("level", [255, 7])
def test_opacity_that_no_kernel_gives_is_refused(specs, level):
    pixels, alpha = np.zeros((9, 9, 1), np.uint8), np.full((9, 9), level, np.uint8)
    plan = FilterPlan(parse_steps(specs))
    with pytest.raises(UsageError, match="add up to 0") as error:
        filter_with_alpha(pixels, alpha, plan, filter_alpha=True)
    assert error.value.where == "--alpha filter"
    filter_with_alpha(pixels, alpha, plan, filter_alpha=False)


def test_banks_have_no_single_opacity():
    pixels, alpha = np.zeros((9, 9, 3), np.uint8), np.full((9, 9), 7, np.uint8)
    with pytest.raises(UsageError, match="bank has 2 filters"):
        filter_with_alpha(pixels, alpha, FilterPlan((KernelStep(BANK),)), filter_alpha=True)


def test_opacity_must_be_finite():
    pixels, alpha = np.zeros((3, 3, 1), np.float32), np.full((3, 3), np.nan, np.float32)
    with pytest.raises(InvalidInputError, match="opacity"):
        filter_with_alpha(pixels, alpha, FilterPlan(parse_steps(["box"])), filter_alpha=False)
