"""Large kernels summed for pairs of output rows: the same sums with fewer products."""

import numpy as np
import pytest
import reference
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cnncli.errors import NumericError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep
from cnncli.filters.borders import KINDS
from cnncli.kernels.image_filter import arguments as code
from cnncli.kernels.image_filter.fused_weights import weights_of


def form(matrix):
    return weights_of(matrix.tobytes(), matrix.shape, 1.0, 0.0, 1, 1, False, True).form


@st.composite
def jobs(draw):
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    size = draw(st.integers(7, 15)), draw(st.integers(7, 13))
    shape = draw(st.integers(1, 40)), draw(st.integers(20, 150)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["uint8", "float32"]))
    image = random.integers(0, 65536, shape) / (257 if dtype == "uint8" else 1)
    image[: shape[0] // 2] = image.max()
    kind = draw(st.sampled_from(list(KINDS)))
    options = {
        "padding": draw(st.sampled_from(["same", "valid", "full"])),
        "border": Border(kind, 11.0 if kind == "constant" else 0.0),
        "dilation": (1, draw(st.integers(1, 2))),
    }
    weights = random.random((1, 1, *size)) - draw(st.sampled_from([0.0, 0.5]))
    return image.astype(dtype), Kernel("drawn", weights, 1.0, np.array([draw(st.sampled_from([0.0, 3.5]))])), options


@given(jobs(), st.sampled_from(["raw", "clip"]), st.integers(1, 2))
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_sums_of_pairs_are_those_of_the_oracle(job, kind, threads):
    image, kernel, options = job
    height, width = image.shape[:2]
    reach = kernel.size[0], (kernel.size[1] - 1) * options["dilation"][1] + 1
    if options["padding"] == "valid" and (height < reach[0] or width < reach[1]):
        return
    assert form(kernel.numerators[0, 0]) == code.PAIRED
    border = options["border"]
    expected = reference.filter_image(
        image, kernel, padding=options["padding"], border=border.kind, value=border.value, dilation=options["dilation"]
    )
    kind = "raw" if image.dtype == np.float32 else kind  # white of floats is 1
    plan = FilterPlan((KernelStep(kernel),), range=kind, **options)
    result = apply_filter(image, plan, threads=threads, compiled=True)
    largest = max(float(image.max()), border.value) * np.abs(kernel.numerators).sum() + 3.5
    bound = kernel.numerators.size * 2.0**-24 * largest
    assert (result.minimum, result.maximum) == pytest.approx((expected.min(), expected.max()), abs=bound)
    if kind == "raw":
        assert np.abs(result.pixels - expected).max() <= bound
        return
    assert np.abs(result.pixels - np.clip(expected, 0, 255)).max() <= 0.5 + bound
    unsure = np.count_nonzero(np.abs(expected - 255.5) <= bound)
    assert abs(result.above - np.count_nonzero(expected >= 255.5)) <= unsure


def test_which_kernels_are_paired():
    random = np.random.default_rng(1)
    assert form(random.random((7, 7))) == code.PAIRED
    assert form(random.random((6, 8))) == code.ANY  # too small
    assert form(np.arange(99.0).reshape(9, 11)) == code.ANY  # whole numbers, whose sums are exact
    assert form(random.random((1, 99))) == code.ANY  # one row
    assert form(np.diag(random.random(60))) == code.ANY  # rows that have no columns in common
    assert form(np.full((9, 9), np.inf)) == code.ANY


def test_differences_that_are_not_finite_are_avoided():
    image = np.full((24, 70, 1), 3e38, np.float32)
    image[1::2] = -3e38
    weights = np.random.default_rng(1).random((1, 1, 11, 11)) / 121
    kernel = Kernel("drawn", weights)
    expected = reference.filter_image(image, kernel)
    result = apply_filter(image, FilterPlan((KernelStep(kernel),), range="raw"), compiled=True)
    assert np.abs(result.pixels / 3e38 - expected / 3e38).max() < 1e-5
    with pytest.raises(NumericError):
        apply_filter(image, FilterPlan((KernelStep(Kernel("drawn", weights * 1e3)),), range="raw"), compiled=True)


def test_a_strip_is_the_same_wherever_it_begins():
    """Rows are paired from the first row of the result on, whatever the threads and strips."""
    image = np.random.default_rng(3).random((301, 117, 3), dtype=np.float32)
    kernel = Kernel("drawn", np.random.default_rng(4).random((1, 1, 12, 11)) / 132)
    plan = FilterPlan((KernelStep(kernel),), range="raw")
    results = [apply_filter(image, plan, threads=n, compiled=True).pixels.tobytes() for n in (1, 2, 3)]
    assert len(set(results)) == 1
