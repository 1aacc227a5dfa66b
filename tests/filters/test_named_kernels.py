"""The catalogue: the numbers of the lecture and of the field, arguments, relations between kernels."""

import numpy as np
import pytest

from cnncli.errors import UsageError
from cnncli.filters import CATALOGUE, named_kernel
from cnncli.filters.kernel import separate


def numbers(text):
    return named_kernel(text).weights[:, 0].squeeze().tolist()


def test_the_kernels_of_the_lecture_digit_by_digit():
    assert numbers("sharpen") == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert numbers("edge8") == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert numbers("sobel-x") == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert numbers("sobel-y") == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    assert numbers("prewitt-x") == [[-1, 0, 1]] * 3
    assert numbers("prewitt-y") == [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]
    assert np.allclose(numbers("highpass"), np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 9)


def test_relations_between_kernels():
    identity, box = named_kernel("identity").weights, named_kernel("box").weights
    assert np.allclose(named_kernel("highpass").weights, identity - box)
    assert np.allclose(named_kernel("edge8").weights, 9 * named_kernel("highpass").weights)
    assert np.array_equal(named_kernel("sharpen").weights, identity + named_kernel("edge4").weights)
    assert np.array_equal(named_kernel("laplacian").weights, -named_kernel("edge4").weights)
    gaussian = named_kernel("gaussian:1").weights
    unsharp = named_kernel("unsharp:2,1").weights
    wide = np.zeros_like(gaussian)
    wide[0, 0, 3, 3] = 1
    assert np.allclose(unsharp, wide + 2 * (wide - gaussian))


def test_gradients_turned_to_an_angle():
    assert np.allclose(named_kernel("sobel:0").weights, named_kernel("sobel-x").weights)
    assert np.allclose(named_kernel("sobel:90").weights, named_kernel("sobel-y").weights)
    diagonal = (named_kernel("scharr-x").weights + named_kernel("scharr-y").weights) / np.sqrt(2)
    assert np.allclose(named_kernel("scharr:45").weights, diagonal)


def test_compass_and_relief_turn_in_steps_of_45_degrees():
    assert numbers("kirsch:0") == [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]]
    assert numbers("kirsch:45") == [[5, 5, -3], [5, 0, -3], [-3, -3, -3]]
    assert numbers("emboss:180") == [[2, 1, 0], [1, 1, -1], [0, -1, -2]]
    assert named_kernel("kirsch").filters == 8
    with pytest.raises(UsageError, match="steps of 45"):
        named_kernel("emboss:30")


def test_gaussian_is_normalised_separable_and_as_wide_as_three_sigmas():
    kernel = named_kernel("gaussian:2.5")
    assert kernel.size == (17, 17)
    assert kernel.total == pytest.approx(1, abs=1e-12)
    profile = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2.5**2))
    assert np.allclose(kernel.weights[0, 0], np.outer(profile, profile) / profile.sum() ** 2)
    assert named_kernel("gaussian:sigma=1,size=5").size == (5, 5)
    assert named_kernel("gaussian:1,4").size == (4, 4)


def test_log_has_sum_zero_and_gabor_follows_opencv():
    assert named_kernel("log").is_zero_sum
    gabor = named_kernel("gabor:45,2,4,0.5,0,5").weights[0, 0]
    assert gabor[2, 2] == 1
    assert gabor[0, 4] == pytest.approx(np.exp(-2 * 4 * 0.25 / 8))


def test_motion_lines():
    assert numbers("motion:3,90") == pytest.approx([1 / 3] * 3)
    assert np.allclose(numbers("motion:3,45"), np.fliplr(np.eye(3)) / 3)  # counter-clockwise: up to the right
    assert np.allclose(numbers("motion:4,0"), [0.25] * 4)
    for angle in range(0, 180, 7):
        assert named_kernel(f"motion:9,{angle}").total == pytest.approx(1)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_entry_has_a_purpose_and_a_kernel_of_its_name(name):
    kernel = named_kernel(name)
    assert kernel.name.startswith(name)
    assert CATALOGUE[name].purpose
    assert np.isfinite(kernel.numerators).all()
    assert max(kernel.size) <= 13


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sobol", "did you mean sobel?"),
        ("gausian:2", "did you mean gaussian?"),
        ("zzz", "`cnn kernels` lists all"),
        ("sharpen:3", "takes no arguments"),
        ("box:0", "whole side from 1 to 255"),
        ("box:2.5", "whole side"),
        ("box:1000", "whole side"),
        ("gaussian:0", "sigma above 0"),
        ("gaussian:-1", "sigma above 0"),
        ("gaussian:1,2,3", "does not understand '3'"),
        ("gaussian:width=3", "it takes sigma, size"),
        ("gaussian:x", "'x' is not a number"),
        ("gaussian:1,sigma=2", "got sigma twice"),
        ("gabor:wavelength=1", "does not understand"),
        ("gabor:lambda=-1", "positive sigma and wavelength"),
    ],
)
def test_bad_names_and_arguments(text, message):
    with pytest.raises(UsageError) as caught:
        named_kernel(text)
    assert message in str(caught.value)


def test_aliases_and_spelling():
    for alias, name in {"edge": "edge8", "Sobel_X": "sobel-x", "outline": "edge8", "blur": "box",
                        "vertical-edge": "prewitt-x", "horizontal_edge": "prewitt-y"}.items():  # fmt: skip
        assert np.array_equal(named_kernel(alias).weights, named_kernel(name).weights)


def test_separate_finds_whole_factors_and_only_true_ones():
    column, row = separate(named_kernel("sobel-y").numerators[0, 0])
    assert np.outer(column, row).tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    assert separate(np.array([[1.0, 0], [0, 1]])) is None
    assert separate(np.zeros((3, 3))) is None


def test_scaling_keeps_fractions():
    from fractions import Fraction

    kernel = named_kernel("box:3").scaled(Fraction(1, 2))
    assert (kernel.divisor, kernel.numerators.max()) == (18, 1)
    assert named_kernel("sharpen").scaled(Fraction(3)).numerators.max() == 15
    assert named_kernel("emboss").normalised().total == 1
    doubled = named_kernel("gaussian:1").scaled(Fraction(2)).normalised()
    assert doubled.total == pytest.approx(1)
