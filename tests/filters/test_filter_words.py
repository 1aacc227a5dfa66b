"""Texts about a filter match what it does: names of steps, summaries, limits, and options it has no use for."""

from fractions import Fraction

import numpy as np
import pytest

from cnncli.errors import ShapeError, UsageError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_border, parse_steps

RANDOM = np.random.default_rng(3)


def run(image, *specs, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options))


@pytest.mark.parametrize(("dtype", "level", "white"), [("uint8", 128, 255), ("uint16", 32768, 65535),
                                                       ("float32", 0.5, 1), ("float64", 128, 255)])  # fmt: skip
def test_threshold_starts_in_the_middle_of_the_scale(dtype, level, white):
    step = 1 if white > 1 else 2**-24
    image = np.array([[[0], [level - step], [level], [white]]], dtype)
    np.testing.assert_array_equal(run(image, "threshold").pixels.ravel(), [0, 0, white, white])
    np.testing.assert_array_equal(run(image, "threshold:high=7").pixels.ravel(), [0, 0, 7, 7])
    np.testing.assert_array_equal(run(image, f"threshold:{level - step}").pixels.ravel(), [0, white, white, white])


@pytest.mark.parametrize(
    "text",
    ["threshold", "threshold:9", "threshold:high=9", "threshold:1,9", "clip:0", "clip:1,2", "leaky_relu:0.2", "relu",
     "prelu:0.25", "elu:2", "gelu", "silu", "hard_swish", "softmax",
     "maxpool:2,s=2", "avgpool:2x3,s=1,p=1", "maxpool:5x3,s=2x1,p=2x0"],
)  # fmt: skip
def test_the_name_of_a_step_reads_as_the_step(text):
    (step,) = parse_steps([text])
    assert step.name == text
    assert parse_steps([step.name]) == (step,)


def test_limit_and_maximum_are_in_the_scale_of_the_picture():
    image = RANDOM.integers(0, 256, (20, 30, 1), dtype=np.uint8)
    for dtype in ("same", "uint16", "float32"):
        result = run(image, "sharpen", dtype=dtype, range="clip")
        assert "above 255 clipped" in result.clip_report
        assert result.maximum > 255
    deep = run(image.astype(np.uint16) * 257, "sharpen", dtype="uint8")
    assert "above 65535 clipped" in deep.clip_report
    assert deep.maximum > 65535


def test_summaries_tell_of_kernels_only_where_there_are_some():
    image = np.zeros((9, 9, 1), np.uint8)
    for specs in (["relu"], ["maxpool:2"], ["avgpool:2,s=1,p=1"], ["gray", "threshold"]):
        assert run(image, *specs).summary == "range=clip"
    expected = "cross-correlation · same, border=replicate · range=clip"
    assert run(image, "maxpool:2", "box").summary == expected


@pytest.mark.parametrize(
    ("option", "value"),
    [("flip", True), ("padding", "same"), ("padding", (1, 1, 1, 1)), ("border", parse_border("wrap")),
     ("stride", (2, 1)), ("dilation", (1, 2)), ("scale", Fraction(2)), ("bias", 1.0), ("bias", (0.0, 1.0))],
    ids=str,
)  # fmt: skip
def test_options_of_kernels_are_refused_without_a_kernel(option, value):
    image = np.zeros((9, 9, 1), np.uint8)
    with pytest.raises(UsageError, match="for kernels, and relu and maxpool:2,s=2 is none") as error:
        run(image, "relu", "maxpool:2", **{option: value})
    assert error.value.where == f"--{option}"
    run(image, "identity", "relu", **{option: value if option != "bias" else 1.0})


def test_a_mean_does_not_count_padding():
    """As the layer avgpool of a network, and as Keras."""
    image = np.ones((4, 5, 2), np.float32)
    np.testing.assert_array_equal(run(image, "avgpool:2,s=1,p=1").pixels, np.ones((5, 6, 2)))
    image = np.arange(12, dtype=np.float64).reshape(3, 4, 1)
    expected = [[0, 1.5, 3], [6, 7.5, 9]]
    np.testing.assert_array_equal(run(image, "avgpool:2,s=2,p=1").pixels[..., 0], expected)


def test_a_pool_that_does_not_fit_does_not_name_an_option_of_kernels():
    with pytest.raises(ShapeError, match="3x3 image, 4x4 window: output would be 0x0; use a smaller window"):
        run(np.zeros((3, 3, 1), np.uint8), "maxpool:4")
