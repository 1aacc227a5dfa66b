"""Every named kernel, border, padding, stride and dilation against the slow oracle: NumPy and compiled code."""

import itertools

import numpy as np
import pytest
import reference

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import CATALOGUE, Border, named_kernel
from cnncli.filters.borders import KINDS
from cnncli.filters.steps import KernelStep

RANDOM = np.random.default_rng(20)
IMAGE = RANDOM.integers(0, 256, (19, 23, 3), dtype=np.uint8)
# the default arguments, and a small variant where the default is large
SMALL = {"gaussian": "gaussian:1,5", "log": "log:1,5", "unsharp": "unsharp:1,0.8,5", "gabor": "gabor:30,1.5,4,0.5,0,7",
         "motion": "motion:5,30"}  # fmt: skip
NAMES = [SMALL.get(name, name) for name in CATALOGUE] + ["sobel:45", "emboss:90", "kirsch:135", "box:4", "motion:6,0"]


def plan(kernel, **options):
    return FilterPlan((KernelStep(kernel),), **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_border_padding_stride_dilation(name, kind):
    kernel = named_kernel(name)
    border = Border(kind, 37.0 if kind == "constant" else 0.0)
    image = IMAGE[:, :, :2]
    for padding, stride, dilation in itertools.product(("valid", "same", "full"), (1, 2, 3), (1, 2)):
        options = {"padding": padding, "border": border, "stride": (stride, stride), "dilation": (dilation, dilation)}
        expected = reference.filter_image(
            image,
            kernel,
            padding=padding,
            border=kind,
            value=border.value,
            stride=(stride, stride),
            dilation=(dilation, dilation),
        )
        matrix = apply_filter(image.astype(np.float64), plan(kernel, **options)).pixels
        np.testing.assert_allclose(matrix, expected, rtol=1e-12, atol=1e-9, err_msg=f"{padding} {stride} {dilation}")
        numbers = apply_filter(image, plan(kernel, range="raw", **options), compiled=True).pixels
        assert numbers.dtype == np.float32
        np.testing.assert_allclose(numbers, expected, rtol=3e-6, atol=3e-4)
        pixels = apply_filter(image, plan(kernel, range="clip", **options), compiled=True, threads=1).pixels
        assert pixels.dtype == np.uint8
        exact = np.clip(np.rint(expected), 0, 255)
        if kernel.integral:
            np.testing.assert_array_equal(pixels, exact)
        else:
            near_half = np.abs(expected - np.floor(expected) - 0.5) < 1e-3
            assert not np.any((pixels != exact) & ~near_half)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (3, 3), (5, 4), (1, 31), (31, 1), (13, 17), (33, 33)])
@pytest.mark.parametrize("shape", [(40, 61, 1), (37, 300, 3), (35, 50, 4), (34, 1, 2), (1, 40, 3)])
def test_any_kernel_size_on_any_image_shape(dtype, size, shape):
    image = (RANDOM.integers(0, 65536, shape) / (257 if dtype == "uint8" else 1)).astype(dtype)
    weights = RANDOM.standard_normal((1, 1, *size)) / np.sqrt(size[0] * size[1])
    kernel = named_kernel("identity").__class__("random", weights)
    expected = reference.filter_image(image, kernel, border="mirror")
    result = apply_filter(image, plan(kernel, range="raw", border=Border("mirror")), compiled=True).pixels
    bound = 3e-7 * float(image.max()) * np.abs(weights).sum() + 1e-6
    assert np.abs(result - expected).max() <= bound


@pytest.mark.parametrize("name", ["sharpen", "gaussian:2", "sobel", "kirsch", "gabor:20", "box:31", "log"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_same_bits_for_one_and_two_threads(name, dtype):
    image = (RANDOM.integers(0, 65536, (301, 217, 3)) / (257 if dtype == "uint8" else 1)).astype(dtype)
    results = [apply_filter(image, plan(named_kernel(name)), threads=n, compiled=True).pixels for n in (1, 2, 3)]
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", [n for n in CATALOGUE if named_kernel(n).integral])
@pytest.mark.parametrize("kind", ["clip", "abs"])
def test_numpy_and_compiled_code_give_the_same_bits_for_whole_numbers(dtype, name, kind, monkeypatch):
    from cnncli.filtering import direct

    image = (RANDOM.integers(0, 65536, (64, 71, 3)) / (257 if dtype == "uint8" else 1)).astype(dtype)
    step = plan(named_kernel(name), range=kind)
    compiled = apply_filter(image, step, compiled=True)
    modules = {k: v for k, v in direct.sys.modules.items() if k != "cnncli.kernels.image_filter.strip"}
    monkeypatch.setattr(direct, "sys", type("Fresh", (), {"modules": modules}))
    plain = apply_filter(image, step)
    np.testing.assert_array_equal(plain.pixels, compiled.pixels)
    assert (plain.below, plain.above) == (compiled.below, compiled.above)
    assert plain.minimum == pytest.approx(compiled.minimum, rel=1e-6)
    assert plain.maximum == pytest.approx(compiled.maximum, rel=1e-6)


def test_quotients_are_rounded_half_to_even_exactly():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    for divisor in (2, 4, 6, 10, 14, 30, 1000):
        kernel = named_kernel("identity").__class__("part", np.full((1, 1, 1, 1), 5.0), float(divisor))
        result = apply_filter(image, plan(kernel), compiled=True).pixels
        sums = image.astype(int) * 5
        whole, rest = sums // divisor, sums % divisor
        up = (2 * rest > divisor) | ((2 * rest == divisor) & (whole % 2 == 1))
        np.testing.assert_array_equal(result, np.minimum(whole + up, 255))


def test_clip_counts_and_extremes():
    image = np.zeros((40, 50, 1), np.uint8)
    image[10:20, 10:20] = 255
    kernel = named_kernel("laplacian")
    expected = reference.filter_image(image, kernel)
    result = apply_filter(image, plan(kernel, range="clip"), compiled=True)
    assert result.below == np.count_nonzero(expected < 0)
    assert result.above == np.count_nonzero(expected > 255)
    assert (result.minimum, result.maximum) == (expected.min(), expected.max())
    assert "clipped" in result.clip_report
    assert "minmax" in result.clip_report


def test_a_constant_image_meets_kernels_of_sum_zero_with_zero():
    image = np.full((30, 30, 3), 201, np.uint8)
    for name in ("edge8", "highpass", "sobel", "laplacian", "kirsch"):
        assert not apply_filter(image, plan(named_kernel(name)), compiled=True).pixels.any()
    blurred = apply_filter(image, plan(named_kernel("gaussian:3")), compiled=True).pixels
    np.testing.assert_array_equal(blurred, image)
