"""Numbers of other programs, stored, so that they are checked where those programs are missing."""

import numpy as np
import pytest

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import named_kernel, parse_border, parse_steps, resolve
from cnncli.filters.borders import ALIASES, KINDS, source_index


def run(image, *specs, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options))


GABOR = [
    [-0.5770897871629287, 0.2533019319343152, 0.7858907200889482],
    [-0.26733649172897805, 0.8660254037844387, 0.5393856068463854],
    [0.32340274398342994, 0.8508634564131264, -0.02427104757079603],
]
# index of the pixel at -3..-1 and 5..7 of a row of five
BEYOND = {
    "replicate": [0, 0, 0, 4, 4, 4],
    "zero": [-1] * 6,
    "constant": [-1] * 6,
    "reflect": [2, 1, 0, 4, 3, 2],
    "mirror": [3, 2, 1, 3, 2, 1],
    "wrap": [2, 3, 4, 0, 1, 2],
}
WORDS = {
    "replicate": ["edge", "nearest", "copy", "border-replicate", "clamp", "extend", "duplicate"],
    "zero": ["zeros", "black"],
    "reflect": ["symmetric", "border-reflect", "grid-mirror", "half"],
    "mirror": ["reflect101", "reflect-101", "border-reflect-101", "border-default", "default", "whole"],
    "wrap": ["circular", "periodic", "grid-wrap", "repeat", "tile", "border-wrap"],
    "constant": ["border-constant:3", "grid-constant:3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_words_for_borders(kind):
    """NumPy's `symmetric` and OpenCV's BORDER_REFLECT repeat the pixel at the edge, `mirror` does not."""
    for word in [f"{kind}:3" if kind == "constant" else kind, *WORDS[kind]]:
        border = parse_border(word.upper().replace("-", "_"))
        assert border.kind == kind
        index = source_index(5, 3, 3, border).tolist()
        assert index[:3] + index[-3:] == BEYOND[kind]
    assert set(ALIASES) == {word.partition(":")[0] for words in WORDS.values() for word in words}


def test_gabor_has_its_phase_in_degrees_and_its_sign():
    """cv2.getGaborKernel((3, 3), 1.5, 0.5, 4, 0.7, numpy.deg2rad(30)) of OpenCV 5.0."""
    kernel = named_kernel("gabor:theta=28.64788975654116,sigma=1.5,lambda=4,gamma=0.7,psi=30,size=3")
    np.testing.assert_allclose(kernel.numerators[0, 0], GABOR, atol=1e-12)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "dilation", "pads", "size"),
    [
        (5, 2, 2, 1, (0, 1), 3),
        (6, 3, 2, 1, (0, 1), 3),
        (7, 3, 2, 1, (1, 1), 4),
        (7, 4, 3, 1, (1, 2), 3),
        (5, 3, 1, 2, (2, 2), 5),
        (6, 2, 1, 2, (1, 1), 6),
        (8, 1, 3, 1, (0, 0), 3),
        (4, 2, 4, 1, (0, 0), 1),
    ],
)
def test_same_padding_of_keras(length, kernel, stride, dilation, pads, size):
    """tensorflow.nn.conv2d(padding="SAME"): ceil(n / s) results, the odd pixel of padding at the end."""
    for axis in (0, 1):
        image = (length, 9) if axis == 0 else (9, length)
        sides, steps, gaps = ((n, n) for n in (kernel, stride, dilation))
        found = resolve(image, sides, "same", stride=steps, dilation=gaps, keras_same=True)
        assert (found.pads[2 * axis : 2 * axis + 2], found.size[axis]) == (pads, size)


def test_same_padding_of_keras_in_a_filter():
    image = np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1)
    options = {"convention": "keras", "padding": "same"}
    np.testing.assert_array_equal(run(image, "1 10 100", stride=(1, 2), **options).pixels.ravel(), [321, 543, 65])
    np.testing.assert_array_equal(run(image, "1 10", stride=(1, 5), **options).pixels.ravel(), [21, 6])


@pytest.mark.parametrize("compiled", [False, True])
def test_same_padding_of_torch_with_a_dilated_even_kernel(compiled):
    """torch.nn.functional.conv2d(x, k, padding="same", dilation=2): half of d*(k-1) comes first."""
    image = np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1)
    plan = FilterPlan(parse_steps(["1 10"]), convention="torch", padding="same", dilation=(1, 2))
    result = apply_filter(image, plan, compiled=compiled).pixels.ravel()
    np.testing.assert_array_equal(result, [20, 31, 42, 53, 64, 5])
    longer = FilterPlan(parse_steps(["1 10 100 1000"]), convention="torch", padding="same", dilation=(1, 3))
    result = apply_filter(image, longer, compiled=compiled).pixels.ravel()
    np.testing.assert_array_equal(result, [6300, 410, 520, 630, 41, 52])


@pytest.mark.parametrize("compiled", [False, True])
def test_equalisation_is_that_of_opencv(compiled):
    """cv2.equalizeHist: round((cdf - cdf_min) / (n - cdf_min) * 255)."""
    image = np.array([52, 55, 55, 61, 61, 61, 70, 90], np.uint8).reshape(2, 4, 1)
    result = apply_filter(image, FilterPlan(parse_steps(["identity"]), range="equalize"), compiled=compiled)
    expected = [0, 73, 73, 182, 182, 182, 219, 255]  # (0, 2, 5, 6, 7) / 7 * 255
    assert result.pixels.ravel().tolist() == expected
    deep = apply_filter(image.astype(np.uint16), FilterPlan(parse_steps(["identity"]), range="equalize"))
    assert deep.pixels.ravel().tolist() == [round(n / 7 * 65535) for n in (0, 2, 2, 5, 5, 5, 6, 7)]
    two = np.concatenate([image, image[::-1] * 2], axis=2)
    both = run(two, "identity", range="equalize").pixels
    np.testing.assert_array_equal(both[..., 0].ravel(), expected)  # each channel by itself
    np.testing.assert_array_equal(both[::-1, :, 1].ravel(), expected)
    assert run(np.full((3, 3, 1), 7, np.uint8), "identity", range="equalize").pixels.ravel().tolist() == [7] * 9


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("dtype", "middle"), [("uint8", 128), ("uint16", 32768), ("float32", 0.5)])
def test_shift_puts_zero_at_mid_gray(dtype, middle, compiled):
    unit = 1 if dtype != "float32" else 1 / 64
    image = (np.array([[10, 30, 5, 5]]) * unit)[..., None].astype(dtype)
    result = apply_filter(image, FilterPlan(parse_steps(["-1 1"]), range="shift"), compiled=compiled).pixels.ravel()
    np.testing.assert_array_equal(result, np.array([20, -25, 0, 0]) * unit + middle)
    chain = apply_filter(image, FilterPlan(parse_steps(["-1 1", "relu"]), range="shift"), compiled=compiled)
    np.testing.assert_array_equal(chain.pixels.ravel(), np.array([20, 0, 0, 0]) * unit + middle)
