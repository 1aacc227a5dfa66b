"""Pictures of any kind become the network's input; what has the right form already is not touched."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnncli.errors import InvalidInputError
from cnncli.io.datasets import Placement, load_dataset
from cnncli.io.images.image import Image
from cnncli.io.preprocessing import Preprocessing
from cnncli.io.resample import fit_inside, resample
from cnncli.tasks.predict.fit_picture import fit_picture
from cnncli.tasks.predict.ink import connected_components, find_ink, frame_is_light, otsu_threshold

DIGITS = Preprocessing((1, 28, 28), (0.13,), (0.3,), True, Placement(20, "mass"))
COLOUR = Preprocessing((3, 32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def digit(height=28, width=28, top=3, left=12, tall=20, wide=8):
    """A bright bar with a foot, as an MNIST picture: its mass in the middle."""
    picture = np.zeros((height, width), np.uint8)
    picture[top : top + tall, left : left + wide // 2] = 255
    picture[top + tall - 4 : top + tall, left : left + wide] = 255
    return picture


def image(pixels, **more):
    return Image(pixels if pixels.ndim == 3 else pixels[..., None], **more)


def test_a_training_image_passes_unchanged():
    fitted = fit_picture(image(digit()), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], digit())
    assert fitted.notes == ()


def test_the_clean_negative_gives_the_training_image_back():
    fitted = fit_picture(image(255 - digit()), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], digit())
    assert fitted.notes == ("dark ink on a light ground: inverted",)


def test_invert_can_be_asked_for_and_forbidden():
    assert np.array_equal(fit_picture(image(255 - digit()), DIGITS, "no").pixels[..., 0], 255 - digit())
    assert not np.array_equal(fit_picture(image(digit()), DIGITS, "yes").pixels[..., 0], digit())


def test_gray_stored_as_rgb_is_the_same_gray():
    fitted = fit_picture(image(np.repeat(digit()[..., None], 3, axis=2)), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], digit())
    assert fitted.notes == ("colour turned to gray",)


@given(st.integers(0, 255))
def test_equal_channels_keep_their_value(value):
    pixels = np.full((28, 28, 3), value, np.uint8)
    assert (fit_picture(image(pixels), DIGITS, "no").pixels == value).all()


def test_sixteen_bit_and_float_samples_keep_their_meaning():
    assert np.array_equal(fit_picture(image(digit().astype(np.uint16) * 257), DIGITS).pixels[..., 0], digit())
    assert np.array_equal(fit_picture(image((digit() / 255).astype(np.float32)), DIGITS).pixels[..., 0], digit())
    assert np.array_equal(fit_picture(image(digit().astype(np.float32)), DIGITS).pixels[..., 0], digit())


def test_sixteen_bits_are_rounded_to_the_nearest_byte():
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    grey = Preprocessing((1, 256, 256), (0.5,), (0.2,))
    assert np.array_equal(fit_picture(image(samples), grey).pixels[..., 0], np.rint(samples / 257))


@pytest.mark.parametrize(("most", "full"), [(255.5, 511), (256, 511), (4095, 4095), (4096, 8191), (65535, 65535)])
def test_samples_above_a_byte_are_scaled_and_said(most, full):
    grey = Preprocessing((1, 16, 16), (0.5,), (0.2,))
    samples = np.linspace(0, most, 256, dtype=np.float32).reshape(16, 16)
    fitted = fit_picture(image(samples), grey)
    assert np.array_equal(fitted.pixels[..., 0], np.rint(samples.astype(float) * 255 / full))
    assert fitted.notes == (f"samples up to {most:.6g}: 0..{full} scaled to 0..255",)


def test_samples_below_zero_are_cut_and_said():
    grey = Preprocessing((1, 2, 2), (0.5,), (0.2,))
    fitted = fit_picture(image(np.array([[-3, 0], [7, 200]], np.float32)), grey)
    assert fitted.pixels[..., 0].tolist() == [[0, 0], [7, 200]]
    assert fitted.notes == ("samples below 0 (down to -3) cut to 0",)


def test_what_decoding_changed_is_said_too():
    assert fit_picture(image(digit(), notes=("CMYK became RGB",)), DIGITS).notes == ("CMYK became RGB",)


@pytest.mark.parametrize("invert", ["auto", "yes", "no"])
def test_colour_networks_see_the_picture_as_it_is_unless_told_to_invert(invert):
    """No search for ink, whatever the picture looks like: here a dark digit on white paper."""
    pixels = np.repeat((255 - digit(32, 32))[..., None], 3, axis=2)
    fitted = fit_picture(image(pixels), COLOUR, invert)
    assert np.array_equal(fitted.pixels, 255 - pixels if invert == "yes" else pixels)
    assert fitted.notes == (("inverted",) if invert == "yes" else ())


@pytest.mark.parametrize("placed", [(-3, -4), (2, 0), (0, 4), (3, -2)])
def test_a_digit_off_the_middle_is_moved_by_whole_pixels(placed):
    fitted = fit_picture(image(np.roll(digit(), placed, (0, 1))), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], digit())
    assert fitted.notes == (f"moved by ({-placed[1]}, {-placed[0]}) to the middle",)


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(InvalidInputError, match=r"a\.tif: holds samples that are not finite"):
        fit_picture(image(np.full((28, 28), np.nan, np.float32)), DIGITS, where="a.tif")


def test_other_channel_counts_are_refused():
    with pytest.raises(InvalidInputError, match="5 channels, the network takes 1"):
        fit_picture(image(np.zeros((28, 28, 5), np.uint8)), DIGITS)


def test_dark_ink_on_nothing_is_laid_on_white():
    ink = digit()
    fitted = fit_picture(image(np.zeros((28, 28), np.uint8), alpha=ink), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], ink)
    assert fitted.notes[0] == "transparent parts laid on white"


def test_light_ink_on_nothing_is_laid_on_black():
    ink = digit()
    fitted = fit_picture(image(np.full((28, 28), 255, np.uint8), alpha=ink), DIGITS)
    assert np.array_equal(fitted.pixels[..., 0], ink)
    assert fitted.notes[0] == "transparent parts laid on black"


def photograph(seed=0, dark=True):
    """A pen stroke on unevenly lit paper, 300 high and 200 wide, with noise and a speck."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :200]
    ink = np.zeros((300, 200))
    ink[100:220, 60:78] = 1  # stem
    ink[202:220, 60:120] = 1  # foot
    ink[20:23, 180:183] = 1  # speck
    ground = 190 + 40 * x / 200 - 60 * y / 300
    picture = ground * (1 - 0.7 * ink) + random.normal(0, 4, ink.shape)
    return np.clip(picture if dark else 255 - picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_photographed_digit_is_found_scaled_and_centred(dark, seed):
    fitted = fit_picture(image(photograph(seed, dark)), DIGITS)
    pixels = fitted.pixels[..., 0].astype(float)
    rows, columns = np.flatnonzero(pixels.max(1) > 40), np.flatnonzero(pixels.max(0) > 40)
    assert 19 <= rows[-1] - rows[0] + 1 <= 20
    assert 9 <= columns[-1] - columns[0] + 1 <= 11  # 60 of 120, the speck is gone
    assert pixels.max() == 255
    assert np.median(pixels) == 0
    mass = pixels.sum()
    assert abs((pixels.sum(1) @ (np.arange(28) + 0.5)) / mass - 14.5) <= 0.6
    assert abs((pixels.sum(0) @ (np.arange(28) + 0.5)) / mass - 14.5) <= 0.6
    assert any("picture of 200x300: ink of " in note and "scaled into 20x20" in note for note in fitted.notes)
    assert any("inverted" in note for note in fitted.notes) == dark


def test_an_enlarged_digit_is_brought_back():
    large = resample(digit().astype(float), 280, 280)
    fitted = fit_picture(image(np.rint(large).astype(np.uint8)), DIGITS)
    shifted = [np.roll(np.roll(digit(), dy, 0), dx, 1) for dy in (-1, 0, 1) for dx in (-2, -1, 0, 1, 2, 3)]
    assert min(np.abs(fitted.pixels[..., 0].astype(float) - other).mean() for other in shifted) < 12


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_is_scaled_as_a_whole_and_said(level):
    fitted = fit_picture(image(np.full((50, 60), level, np.uint8)), DIGITS)
    assert fitted.pixels.shape == (28, 28, 1)
    assert any("no ink found" in note for note in fitted.notes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2), (3, 3), (3, 900)])
def test_pictures_of_any_shape_have_a_result(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert fit_picture(image(pixels), DIGITS).pixels.shape == (28, 28, 1)
    assert fit_picture(image(pixels), COLOUR).pixels.shape == (32, 32, 3)


def test_colour_pictures_keep_their_aspect_and_are_padded_with_the_mean():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[...] = (10, 20, 30)
    fitted = fit_picture(image(pixels), COLOUR)
    assert np.array_equal(fitted.pixels[16, 16], [10, 20, 30])
    assert np.array_equal(fitted.pixels[0, 0], np.rint(np.array(COLOUR.mean) * 255).astype(np.uint8))
    assert np.flatnonzero((fitted.pixels == (10, 20, 30)).all((1, 2))).tolist() == list(range(8, 24))
    assert fitted.notes == ("scaled from 80x40 to 32x16 and padded",)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 255)),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_resampling_stays_within_the_values_and_keeps_constants(picture, height, width):
    result = resample(picture, height, width)
    assert result.shape == (height, width)
    assert result.min() >= picture.min() - 1e-4
    assert result.max() <= picture.max() + 1e-4
    assert np.allclose(resample(np.full_like(picture, 7.0), height, width), 7.0)
    assert np.allclose(resample(picture, *picture.shape), picture, atol=1e-4)


def test_halving_a_picture_keeps_its_mean():
    picture = np.random.default_rng(1).random((64, 64))
    assert resample(picture, 8, 8).mean() == pytest.approx(picture.mean(), rel=0.01)


def test_fit_inside():
    assert fit_inside(200, 300, 28) == (19, 28)
    assert fit_inside(1, 1000, 28) == (1, 28)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_connected_components_agree_with_scipy(mask):
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, count = connected_components(mask)
    expected, number = ndimage.label(mask, np.ones((3, 3)))
    assert count == number
    pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert np.array_equal(labels > 0, mask)


def test_otsu_separates_two_levels():
    values = np.array([10] * 90 + [200] * 10, np.uint8)
    assert 10 <= otsu_threshold(values) < 200
    assert otsu_threshold(np.full(9, 40, np.uint8)) == 127


def test_find_ink_returns_nothing_for_noise():
    noise = np.random.default_rng(0).normal(128, 4, (90, 90))
    assert find_ink(noise, dark_on_light=True) is None


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_polarity_of_every_image_of_the_data_sets(name):
    if name == "mnist" and "CNN_DATA_DIR" not in os.environ:
        pytest.skip("CNN_DATA_DIR (folder with mnist/) is not set")
    folder = Path(os.environ["CNN_DATA_DIR"]) if name == "mnist" else None
    images = load_dataset(name, folder).test.images[:2000, ..., 0]
    assert not any(frame_is_light(picture) for picture in images)
    assert all(frame_is_light(255 - picture) for picture in images)
