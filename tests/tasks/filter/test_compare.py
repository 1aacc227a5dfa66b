"""`--compare`: three panels whose pixels are those of the input, the response and the equalised response."""

import numpy as np
import pytest

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Kernel, KernelStep, parse_steps
from cnncli.io.images.image import Image
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.pictures.compare import comparison

RANDOM = np.random.default_rng(5)
SIDE, GAP = 200, 12  # [px] a panel this wide is shown as it is; between panels


def panels(pixels, plan, alpha=None):
    """Return the three pictures on the sheet, (200, 200, 3) each."""
    result = apply_filter(pixels, plan)
    sheet = comparison(Image(pixels, alpha=alpha), result, alpha, plan, FileOptions())
    assert sheet.dtype == np.uint8
    return [sheet[GAP : GAP + SIDE, (i + 1) * GAP + i * SIDE :][:, :SIDE] for i in range(3)]


def test_16_bits_are_shown_by_their_high_part():
    pixels = RANDOM.integers(0, 65536, (SIDE, SIDE, 3)).astype(np.uint16)
    plan = FilterPlan(parse_steps(["box"]))
    first, second, _ = panels(pixels, plan)
    np.testing.assert_array_equal(first, np.rint(pixels / 257))
    np.testing.assert_array_equal(second, np.rint(apply_filter(pixels, plan).pixels / 257))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_stretched(dtype):
    pixels = (RANDOM.random((SIDE, SIDE, 1)) * 6 - 2).astype(dtype)
    pixels[0, :2, 0] = -2, 4
    first, second, third = panels(pixels, FilterPlan(parse_steps(["-1"])))
    np.testing.assert_array_equal(first, np.repeat(np.rint((pixels + 2) * (255 / 6)), 3, axis=2))
    assert np.abs(first.astype(int) + second - 255).max() <= 1
    shares = np.histogram(third, 4, (0, 256))[0] / third.size
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


def test_matrices_from_0_to_255_are_shown_as_they_are():
    pixels = RANDOM.integers(10, 200, (SIDE, SIDE, 1)).astype(np.float64)
    first, second, third = panels(pixels, FilterPlan(parse_steps(["identity"])))
    np.testing.assert_array_equal(first, np.repeat(pixels, 3, axis=2))
    np.testing.assert_array_equal(first, second)
    assert (third.min(), third.max()) == (0, 255)


def test_even_numbers_are_black():
    first, _, third = panels(np.full((SIDE, SIDE, 1), 3e5), FilterPlan(parse_steps(["identity"])))
    assert not first.any()
    assert not third.any()


def test_transparent_pixels_lie_on_white():
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:100], alpha[100:150] = 0, 51
    for panel in panels(pixels, FilterPlan(parse_steps(["identity"])), alpha):
        assert (panel[50, 50] == 255).all()
        assert (panel[120, 50] == 60 * 0.2 + 255 * 0.8).all()
        assert (panel[180, 50] == 60).all()


def test_captions_say_which_channel_of_a_bank_is_shown(monkeypatch):
    from cnncli.tasks.filter.pictures import compare

    shown = []
    monkeypatch.setattr(compare, "side_by_side", shown.extend)
    bank = Kernel("bank", np.array([1.0, 2, 3, 4]).reshape(4, 1, 1, 1), per_channel=False)
    plan = FilterPlan((KernelStep(bank),))
    pixels = np.full((3, 3, 1), 10, np.uint8)
    compare.comparison(Image(pixels), apply_filter(pixels, plan), None, plan, FileOptions())
    captions = [caption for caption, _ in shown]
    assert captions[0] == "input 3x3x1"
    assert captions[1] == "bank, range clip, channel 1 of 4"
    assert captions[2] == "bank, histogram equalised, channel 1 of 4"
    assert (shown[1][1] == 10).all()
