"""Extremes and counts of clipped values of 8-bit images: found from rounded sums first, exact all the same."""

import numpy as np
import pytest
import reference
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep
from cnncli.filters.borders import KINDS


def picture(kind, shape, random):
    """A picture whose extremes come early, late, often or everywhere."""
    height, width, channels = shape
    if kind == "noise":
        return random.integers(0, 256, shape, dtype=np.uint8)
    if kind == "two":
        return random.choice([0, 255], shape).astype(np.uint8)
    if kind == "flat":
        return np.full(shape, 255, np.uint8)
    ramp = np.linspace(0, 255, height * width * channels).reshape(shape)
    return (ramp if kind == "rising" else ramp[::-1, ::-1]).astype(np.uint8)


@st.composite
def jobs(draw):
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    size = draw(st.sampled_from([(3, 3), (5, 5), (3, 3), (5, 5), (4, 3), (1, 7), (7, 6)]))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 150)), draw(st.integers(1, 4))
    image = picture(draw(st.sampled_from(["noise", "two", "flat", "rising", "falling"])), shape, random)
    weights = random.standard_normal((1, 1, *size)) + draw(st.sampled_from([0.0, 1.0]))
    weights *= draw(st.sampled_from([1.0, 1.0, 0.01, 300.0, 1e9, 1e30])) / np.abs(weights).sum()
    kind = draw(st.sampled_from(list(KINDS)))
    options = {
        "border": Border(kind, 11.0 if kind == "constant" else 0.0),
        "stride": (draw(st.sampled_from([1, 1, 1, 2])), 1),
        "dilation": (draw(st.sampled_from([1, 1, 1, 2])), draw(st.integers(1, 2))),
    }
    start = float(draw(st.sampled_from([0.0, 0.0, 100.3, -1000.0])))
    return image, Kernel("drawn", weights, 1.0, np.array([start])), options


@given(jobs(), st.sampled_from(["clip", "abs", "shift"]), st.integers(1, 2))
@settings(max_examples=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_extremes_and_counts_are_those_of_every_value(job, kind, threads):
    image, kernel, options = job
    border = options["border"]
    values = reference.filter_image(
        image, kernel, border=border.kind, value=border.value, stride=options["stride"], dilation=options["dilation"]
    )
    values = {"clip": values, "abs": np.abs(values), "shift": values + 128}[kind]
    plan = FilterPlan((KernelStep(kernel),), range=kind, **options)
    result = apply_filter(image, plan, threads=threads, compiled=True)
    room = 2e-6 * (256 * np.abs(kernel.numerators).sum() + np.abs(kernel.biases).max() + 128)
    assert (result.minimum, result.maximum) == pytest.approx((values.min(), values.max()), abs=room)
    unsure = np.abs(values - np.floor(values) - 0.5) <= room
    assert not np.any((result.pixels != np.clip(np.rint(values), 0, 255)) & ~unsure & (np.abs(values) < 1e6))
    near_black, near_white = (np.count_nonzero(np.abs(values - edge) <= room) for edge in (-0.5, 255.5))
    assert abs(result.below - np.count_nonzero(values < -0.5)) <= near_black
    assert abs(result.above - np.count_nonzero(values >= 255.5)) <= near_white


def test_the_extremes_do_not_depend_on_the_threads():
    image = picture("noise", (301, 217, 3), np.random.default_rng(3))
    for size in (3, 5, 7, 11):
        kernel = Kernel("drawn", np.random.default_rng(size).random((1, 1, size, size)) / size**2)
        plan = FilterPlan((KernelStep(kernel),), range="clip")
        results = [apply_filter(image, plan, threads=n, compiled=True) for n in (1, 2, 3)]
        assert len({(one.minimum, one.maximum) for one in results}) == 1
