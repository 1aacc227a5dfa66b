"""8-bit images summed in integers: whole numbers exactly, other weights to the pixel that float64 gives."""

import numpy as np
import pytest
import reference
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cnncli.errors import ShapeError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep
from cnncli.filters.borders import KINDS
from cnncli.kernels.image_filter import arguments as code
from cnncli.kernels.image_filter.fused_weights import weights_of


def arithmetic(matrix, divisor=1.0, start=0.0):
    matrix = np.asarray(matrix, np.float64)
    return weights_of(matrix.tobytes(), matrix.shape, divisor, start, 1, 1, True, True).arithmetic


@st.composite
def jobs(draw):
    """A kernel of whole numbers, small ones or large ones, on an image a few tiles wide."""
    size = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    shape = draw(st.integers(1, 29)), draw(st.integers(1, 200)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    image = random.choice([0, 255, 254, 1, 128], shape).astype(np.uint8)
    largest = draw(st.sampled_from([1, 3, 8, 127, 128, 9000]))
    weights = random.integers(-largest, largest + 1, (1, 1, *size)).astype(float)
    weights *= random.random(weights.shape) < draw(st.sampled_from([0.2, 1.0]))
    kind = draw(st.sampled_from(list(KINDS)))
    options = {
        "padding": draw(st.sampled_from(["same", "valid", "full"])),
        "border": Border(kind, 11.0 if kind == "constant" else 0.0),
        "stride": (draw(st.integers(1, 3)), 1),
        "dilation": (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "bias": float(draw(st.integers(-300, 300))),
    }
    return image, Kernel("drawn", weights), options


def expected_sums(image, kernel, options):
    return reference.filter_image(
        image,
        Kernel("drawn", kernel.numerators, 1.0, np.array([options["bias"]])),
        padding=options["padding"],
        border=options["border"].kind,
        value=options["border"].value,
        stride=options["stride"],
        dilation=options["dilation"],
    )


@given(jobs(), st.sampled_from(["clip", "abs", "shift"]), st.integers(1, 2))
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_whole_numbers_are_exact(job, kind, threads):
    image, kernel, options = job
    plan = FilterPlan((KernelStep(kernel),), range=kind, **options)
    try:
        result = apply_filter(image, plan, threads=threads, compiled=True)
    except ShapeError:
        return  # the kernel does not fit the image: tests/kernels/test_image_filter_properties.py
    expected = expected_sums(image, kernel, options)
    expected = {"clip": expected, "abs": np.abs(expected), "shift": expected + 128}[kind]
    np.testing.assert_array_equal(result.pixels, np.clip(expected, 0, 255))
    assert (result.minimum, result.maximum) == (expected.min(), expected.max())
    assert (result.below, result.above) == (np.count_nonzero(expected < 0), np.count_nonzero(expected > 255))


@pytest.mark.parametrize("shape", [(67, 211, 3), (40, 700, 1), (9, 90, 4)])
@pytest.mark.parametrize("size", [(15, 15), (31, 31), (10, 13)])
@pytest.mark.parametrize("sign", [False, True])
def test_other_weights_give_the_pixel_of_float64(shape, size, sign):
    random = np.random.default_rng(sum(shape) + sum(size))
    image = random.integers(0, 256, shape, dtype=np.uint8)
    image[:5] = 255
    weights = random.random((1, 1, *size)) - (0.5 if sign else 0)
    weights /= np.abs(weights).sum() / (3 if sign else 1.01)
    assert arithmetic(weights[0, 0]) == code.WIDE
    kernel = Kernel("drawn", weights, 1.0, np.array([0.3]))
    expected = reference.filter_image(image, kernel, border="mirror")
    plan = FilterPlan((KernelStep(kernel),), range="clip", border=Border("mirror"))
    result = apply_filter(image, plan, compiled=True)
    sure = np.abs(expected - np.floor(expected) - 0.5) > 1e-5
    assert np.array_equal(result.pixels[sure], np.clip(np.rint(expected), 0, 255)[sure])
    assert sure.mean() > 0.99
    assert result.below == pytest.approx(int(np.count_nonzero(expected < -0.5)), abs=int(np.count_nonzero(~sure)))
    assert result.above == pytest.approx(int(np.count_nonzero(expected >= 255.5)), abs=int(np.count_nonzero(~sure)))
    assert (result.minimum, result.maximum) == pytest.approx((expected.min(), expected.max()), abs=1e-5)


def test_every_sum_near_the_middle_is_settled():
    """On a flat image every value is 0.5001 or 0.4999 above a whole number: 16-bit weights alone cannot tell."""
    image = np.full((21, 150, 3), 101, np.uint8)
    for part, pixel in ((0.5001, 102), (0.4999, 101)):
        weights = np.random.default_rng(2).random((1, 1, 13, 13))
        weights *= (101 + part) / 101 / weights.sum()
        kernel = Kernel("drawn", weights)
        assert arithmetic(weights[0, 0]) == code.WIDE
        result = apply_filter(image, FilterPlan((KernelStep(kernel),), range="clip"), compiled=True)
        assert np.all(result.pixels == pixel)


@pytest.mark.parametrize("value", [0, 37, 255])
def test_extremes_of_flat_parts_are_exact(value):
    """Most sums are equal to the extreme one, or so close to it that 16-bit weights cannot tell."""
    random = np.random.default_rng(value)
    image = np.full((90, 211, 3), value, np.uint8)
    image[60:, 100:] = random.integers(0, 256, (30, 111, 3))
    for size in (11, 16):
        kernel = Kernel("drawn", random.random((1, 1, size, size)) / 130, 1.0, np.array([0.3]))
        assert arithmetic(kernel.numerators[0, 0]) == code.WIDE
        expected = reference.filter_image(image, kernel)
        results = [apply_filter(image, FilterPlan((KernelStep(kernel),), range="clip"), threads=n, compiled=True)
                   for n in (1, 2)]  # fmt: skip
        for result in results:
            assert (result.minimum, result.maximum) == pytest.approx((expected.min(), expected.max()), abs=1e-5)
        assert results[0].minimum == results[1].minimum


def test_which_arithmetic_is_used():
    assert arithmetic(np.full((3, 3), 14)) == code.NARROW
    assert arithmetic(np.full((3, 3), 15)) == code.FLOATS  # 9*15*255 does not fit 16 bits
    assert arithmetic([[128]]) == code.FLOATS  # nor does 128 fit 8 bits
    assert arithmetic([[127, 1]]) == code.NARROW
    assert arithmetic([[5]], start=0.5) == code.FLOATS
    assert arithmetic(np.ones((3, 3)), divisor=9.0) == code.FLOATS
    assert arithmetic(np.full((10, 10), 300)) == code.WIDE
    assert arithmetic(np.full((10, 10), 300), divisor=4.0) == code.FLOATS
    assert arithmetic(np.full((10, 10), 2**20)) == code.FLOATS
    assert arithmetic(np.full((10, 10), 0.25)) == code.FLOATS  # every other sum would be settled
    assert arithmetic(np.full((10, 10), np.inf)) == code.FLOATS
    assert arithmetic(np.full((10, 10), np.nan)) == code.FLOATS


def test_bytes_after_the_image_are_not_read_into_it_nor_written():
    random = np.random.default_rng(5)
    image = random.integers(0, 256, (37, 131, 3), dtype=np.uint8)
    for weights in (np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], float), random.random((13, 13)) / 80):
        place = np.full(image.size + 256, 77, np.uint8)
        out = place[128:-128].reshape(image.shape)
        kernel = Kernel("drawn", weights[None, None])
        apply_filter(image, FilterPlan((KernelStep(kernel),), range="clip"), compiled=True, out=out)
        assert np.all(place[:128] == 77)
        assert np.all(place[-128:] == 77)
