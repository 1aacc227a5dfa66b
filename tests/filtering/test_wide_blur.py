"""Boxes and Gaussians wider than 255 pixels: along columns and rows in turn, against SciPy and OpenCV."""

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image
from scipy import ndimage

from cnncli.errors import UsageError
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_border, parse_padding, parse_steps
from cnncli.filters.formulas import WIDEST
from cnncli.filters.steps import WideStep

RNG = np.random.default_rng(3)
IMAGE = RNG.integers(0, 256, (150, 170, 2), np.uint8)
MODES = {"replicate": "nearest", "reflect": "reflect", "mirror": "mirror", "wrap": "wrap", "zero": "constant"}


def run(image, *specs, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options)).pixels


def expected(image, profile, mode, value=0.0):
    down = ndimage.correlate1d(image.astype(float), profile, axis=0, mode=mode, cval=value)
    return ndimage.correlate1d(down, profile, axis=1, mode=mode, cval=value)


def gaussian(sigma, side):
    x = np.arange(side) - side // 2
    profile = np.exp(-(x**2) / (2 * sigma**2))
    return profile / profile.sum()


@pytest.mark.parametrize("border", [*MODES, "constant:40"])
def test_every_border(border):
    mode, value = MODES.get(border, "constant"), 40.0 if ":" in border else 0.0
    for spec, profile in (("box:301", np.full(301, 1 / 301)), ("gaussian:60,401", gaussian(60, 401))):
        wanted = expected(IMAGE, profile, mode, value)
        found = run(IMAGE, spec, border=parse_border(border), range="raw")
        np.testing.assert_allclose(found, wanted, atol=2e-3)
        matrix = run(IMAGE.astype(float), spec, border=parse_border(border))
        np.testing.assert_allclose(matrix, wanted, atol=1e-9)
        eight = run(IMAGE, spec, border=parse_border(border))
        assert np.abs(eight - wanted).max() <= 0.51


def test_the_limit_of_kernels_is_not_seen():
    for name in ("box", "gaussian"):
        small, large = (f"{name}:{n}" if name == "box" else f"{name}:50,{n}" for n in (255, 257))
        assert not isinstance(parse_steps([small])[0], WideStep)
        assert isinstance(parse_steps([large])[0], WideStep)
        difference = run(IMAGE, small, range="raw") - run(IMAGE, large, range="raw")
        assert np.abs(difference).max() < 1.5
    assert parse_steps(["gaussian:50"])[0].name == "gaussian:50,301"


def test_padding_stride_and_dilation_go_to_their_axis():
    image = RNG.normal(size=(700, 640, 1))
    profile = np.full(257, 1 / 257)
    whole = expected(image[..., 0], profile, "constant")[..., None]
    valid = run(image, "box:257", padding="valid")
    np.testing.assert_allclose(valid, whole[128:-128, 128:-128], atol=1e-9)
    some = run(image, "box:257", padding=parse_padding("0,0,128,128"), stride=(3, 2))
    np.testing.assert_allclose(some, whole[128:-128:3, ::2], atol=1e-9)
    full = run(image, "box:257", padding="full")
    assert full.shape == (700 + 256, 640 + 256, 1)
    spread = np.zeros(513)
    spread[::2] = 1 / 257
    np.testing.assert_allclose(
        run(image, "box:257", dilation=(2, 2)), expected(image[..., 0], spread, "nearest")[..., None], atol=1e-9
    )


def test_scale_bias_banks_and_chains():
    plain = run(IMAGE, "box:301", range="raw")
    np.testing.assert_allclose(run(IMAGE, "box:301", range="raw", bias=7.0), plain + 7, atol=1e-3)
    both = run(IMAGE, "identity | box:301", range="raw", bias=(0.0, 7.0))
    np.testing.assert_allclose(both, np.concatenate([IMAGE, plain + 7], axis=2), atol=1e-3)
    chain = run(IMAGE.astype(float), "sobel-x", "box:301", "relu")
    np.testing.assert_allclose(chain, np.maximum(run(run(IMAGE.astype(float), "sobel-x"), "box:301"), 0), atol=1e-9)


def test_threads_and_strips_do_not_show():
    image = RNG.integers(0, 65536, (900, 700, 1), np.uint16)
    plan = FilterPlan(parse_steps(["gaussian:80"]))
    one, two = (apply_filter(image, plan, threads=n).pixels for n in (1, 2))
    assert np.array_equal(one, two)
    assert np.abs(one - expected(image, gaussian(80, 481), "nearest")[..., :1]).max() < 1.5


def test_what_is_refused(tmp_path):
    rgba = np.dstack([IMAGE[..., [0, 1, 0]], IMAGE[..., 0]])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    words = ["filter", tmp_path / "a.png", "-f", "-o", tmp_path / "b.png", "-k"]
    expect_error(run_cnn(*words, "gaussian:90"), 2, "no rule for transparent ones; use --alpha drop")
    assert run_cnn(*words, "gaussian:90", "--alpha", "drop").code == 0
    expect_error(run_cnn(*words, f"box:{WIDEST + 2}"), 2, f"the limit is {WIDEST}")
    expect_error(run_cnn(*words, "box:301", "--as", "pillow"), 2, "Pillow")
    expect_error(run_cnn("kernels", "gaussian:50"), 2, "the limit is 255x255")
    rgba[..., 3] = 255
    Image.fromarray(rgba).save(tmp_path / "c.png")
    assert run_cnn("filter", tmp_path / "c.png", "-o", tmp_path / "d.png", "-k", "box:333").code == 0
    with pytest.raises(UsageError):
        parse_steps(["box:256.5"])


@pytest.mark.peers
def test_opencv_agrees():
    cv2 = pytest.importorskip("cv2")
    image = RNG.integers(0, 256, (400, 500, 3), np.uint8)
    wanted = cv2.blur(image.astype(np.float64), (351, 351), borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(run(image, "box:351", border=parse_border("mirror"), range="raw"), wanted, atol=2e-3)
