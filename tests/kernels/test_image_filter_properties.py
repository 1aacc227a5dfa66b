"""Whatever the sizes, pads, strides and dilations: whole numbers come out exactly, in compiled code and in NumPy."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import ShapeError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep
from cnncli.filters.borders import KINDS


@st.composite
def jobs(draw):
    size = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    shape = draw(st.integers(1, 37)), draw(st.integers(1, 70)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    image = random.integers(0, 256, shape, dtype=np.uint8)
    weights = random.integers(-9, 10, (1, 1, *size)).astype(float) * random.integers(0, 2, (1, 1, *size))
    kind = draw(st.sampled_from(list(KINDS)))
    pads = tuple(draw(st.integers(0, 8)) for _ in range(4))
    options = {
        "padding": draw(st.sampled_from(["same", "valid", "full", pads])),
        "border": Border(kind, 11.0 if kind == "constant" else 0.0),
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 4))),
        "dilation": (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "bias": float(draw(st.integers(-3, 3))),
    }
    divisor = draw(st.sampled_from([1.0, 2.0, 3.0, 10.0, 81.0]))
    return image, Kernel("drawn", weights, divisor), options


@given(jobs(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_any_job_against_the_oracle(job, threads):
    image, kernel, options = job
    plan = FilterPlan((KernelStep(kernel),), range="clip", **options)
    try:
        compiled = apply_filter(image, plan, threads=threads, compiled=True)
    except ShapeError:
        with pytest.raises(ShapeError):
            apply_filter(image.astype(float), plan)
        return
    expected = reference.filter_image(
        image,
        Kernel("drawn", kernel.numerators, kernel.divisor, np.array([options["bias"]])),
        padding=options["padding"],
        border=options["border"].kind,
        value=options["border"].value,
        stride=options["stride"],
        dilation=options["dilation"],
    )
    np.testing.assert_array_equal(compiled.pixels, np.clip(np.rint(expected), 0, 255))
    numbers = apply_filter(image.astype(float), FilterPlan(plan.steps, **{**options, "range": "raw"}), threads=threads)
    np.testing.assert_allclose(numbers.pixels, expected, rtol=1e-12, atol=1e-9)
    rounded = np.rint(expected)
    assert compiled.below == np.count_nonzero(rounded < 0)
    assert compiled.above == np.count_nonzero(rounded > 255)


@given(jobs())
@settings(max_examples=40, deadline=None)
def test_filtering_is_linear(job):
    image, kernel, _ = job
    plan = FilterPlan((KernelStep(kernel),), range="raw", border=Border("wrap"))
    x, y = image.astype(float), np.flip(image, axis=0).astype(float)
    both = apply_filter(2 * x + 3 * y, plan).pixels
    parts = 2 * apply_filter(x, plan).pixels + 3 * apply_filter(y, plan).pixels
    np.testing.assert_allclose(both, parts, rtol=1e-9, atol=1e-7)


@given(jobs(), st.integers(-50, 50), st.integers(-50, 50))
@settings(max_examples=40, deadline=None)
def test_filtering_commutes_with_shifts_under_wrap(job, down, right):
    image, kernel, _ = job
    plan = FilterPlan((KernelStep(kernel),), range="clip", border=Border("wrap"))
    moved = apply_filter(np.roll(image, (down, right), (0, 1)), plan, compiled=True).pixels
    assert np.array_equal(moved, np.roll(apply_filter(image, plan, compiled=True).pixels, (down, right), (0, 1)))
