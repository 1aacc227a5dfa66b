"""Median, minimum and maximum of a window: against SciPy and a slow loop, with transparency, and in the command."""

import itertools

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image
from scipy import ndimage

from cnncli.errors import ShapeError, UsageError
from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_border, parse_padding, parse_steps
from cnncli.filters.borders import source_index
from cnncli.kernels.simd.networks import middle_of_sorted_columns

RNG = np.random.default_rng(5)
SCIPY = {
    "median": ndimage.median_filter,
    "minimum": ndimage.minimum_filter,
    "maximum": ndimage.maximum_filter,
}
MODES = {"replicate": "nearest", "reflect": "reflect", "mirror": "mirror", "wrap": "wrap", "zero": "constant"}
IMAGES = {
    "uint8": RNG.integers(0, 256, (37, 41, 3), np.uint8),
    "uint16": RNG.integers(0, 65536, (23, 31, 1), np.uint16),
    "float32": RNG.normal(size=(19, 29, 2)).astype(np.float32),
    "float64": RNG.normal(size=(17, 13, 1)),
}


def run(image, *specs, compiled=None, threads=2, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options), threads=threads, compiled=compiled).pixels


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", IMAGES)
@pytest.mark.parametrize("kind", SCIPY)
@pytest.mark.parametrize("border", [*MODES, "constant:0.25"])
def test_every_border_is_that_of_scipy(kind, dtype, border, compiled):
    image = IMAGES[dtype]
    value = 0.25 if ":" in border and dtype.startswith("float") else 0
    border = border if value else border.partition(":")[0].replace("constant", "zero")
    for size in ((3, 3), (5, 5), (1, 7), (9, 3)):
        mode = MODES.get(border, "constant")
        expected = SCIPY[kind](image, size=(*size, 1), mode=mode, cval=value)
        found = run(image, f"{kind}:{size[0]}x{size[1]}", border=parse_border(border), compiled=compiled)
        assert found.dtype == image.dtype
        assert np.array_equal(found, expected), size


@pytest.mark.parametrize("kind", SCIPY)
@pytest.mark.parametrize("size", ["2", "4x3", "6x5"])
def test_even_sides_with_as_scipy_are_those_of_ndimage(kind, size):
    shape = tuple(int(n) for n in size.split("x"))
    shape = shape if len(shape) == 2 else shape * 2
    for image in IMAGES.values():
        found = run(image, f"{kind}:{size}", convention="scipy", range="raw" if image.dtype.kind == "f" else "auto")
        assert np.array_equal(found, SCIPY[kind](image, size=(*shape, 1), mode="reflect"))


def by_hand(image, kind, size, pads, stride, dilation, border):
    rows = source_index(image.shape[0], *pads[:2], border)
    columns = source_index(image.shape[1], *pads[2:], border)
    padded = np.where((rows[:, None] >= 0) & (columns >= 0), image[rows][:, columns, 0], border.value)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
    heights = range(0, padded.shape[0] - reach[0] + 1, stride[0])
    widths = range(0, padded.shape[1] - reach[1] + 1, stride[1])
    pick = {"minimum": lambda w: w[0], "maximum": lambda w: w[-1], "median": lambda w: w[len(w) // 2]}[kind]
    return np.array(
        [
            [
                pick(sorted(padded[y : y + reach[0] : dilation[0], x : x + reach[1] : dilation[1]].ravel()))
                for x in widths
            ]
            for y in heights
        ]
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", SCIPY)
@pytest.mark.parametrize("size", [(3, 3), (2, 5), (7, 6)])
@pytest.mark.parametrize(("padding", "stride", "dilation"), [("1,2,0,3", (1, 1), (1, 1)), ("4", (2, 3), (3, 2))])
def test_padding_stride_and_dilation(kind, size, padding, stride, dilation, compiled):
    border = parse_border("constant:77")
    image = IMAGES["uint8"][..., :1]
    pads = parse_padding(padding)
    options = {"padding": pads, "stride": stride, "dilation": dilation, "border": border, "compiled": compiled}
    expected = by_hand(image, kind, size, pads, stride, dilation, border)
    assert np.array_equal(run(image, f"{kind}:{size[0]}x{size[1]}", **options)[..., 0], expected)


@pytest.mark.parametrize("spec", ["median:3", "median:9", "minimum:5", "maximum:4x70"])
def test_strips_and_threads_do_not_show(spec):
    image = RNG.integers(0, 65536, (700, 900, 1), np.uint16)
    kind, _, size = spec.partition(":")
    shape = tuple(int(n) for n in size.split("x"))
    shape = shape if len(shape) == 2 else shape * 2
    # of an even side the centre is the earlier pixel
    origin = [-1 if n % 2 == 0 else 0 for n in shape]
    expected = SCIPY[kind](image, size=(*shape, 1), mode="nearest", origin=(*origin, 0))
    one, two = run(image, spec, threads=1), run(image, spec, threads=2)
    assert np.array_equal(one, expected)
    assert np.array_equal(two, expected)


def test_in_a_chain_the_values_may_be_any_numbers():
    image = IMAGES["uint8"]
    blurred = run(image.astype(float), "gaussian:1")
    expected = ndimage.median_filter(blurred, size=(7, 7, 1), mode="nearest")
    for compiled in (False, True):
        found = run(image, "gaussian:1", "median:7", range="raw", compiled=compiled)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    opened = ndimage.grey_opening(image, size=(3, 3, 1), mode="nearest")
    inside = (slice(3, -3), slice(3, -3))
    assert np.array_equal(run(image, "erode", "dilate")[inside], opened[inside])


def weighted_median(values, weights):
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, reached[-1] / 2, side="right")]


def test_hidden_colours_never_show_and_the_median_counts_by_opacity():
    image, alpha = IMAGES["uint8"], RNG.choice(np.array([0, 0, 51, 204, 255], np.uint8), (37, 41))
    other = np.where(alpha[..., None] == 0, 255 - image, image)
    for spec in ("median:3", "median:7", "minimum:3", "maximum:5"):
        plan = FilterPlan(parse_steps([spec]))
        first, shown = filter_with_alpha(image, alpha, plan, filter_alpha=False)
        second, _ = filter_with_alpha(other, alpha, plan, filter_alpha=False)
        assert np.array_equal(shown, alpha)
        side = int(spec[-1]) // 2
        seen = ndimage.maximum_filter(alpha, size=2 * side + 1, mode="nearest") > 0
        assert np.array_equal(first.pixels[seen], second.pixels[seen])
        for y, x in ((8, 9), (20, 30), (15, 15)):
            window = np.s_[y - side : y + side + 1, x - side : x + side + 1]
            weights, values = alpha[window].ravel().astype(int), image[window][..., 1].ravel()
            visible = values[weights > 0]
            expected = {"minimum": visible.min, "maximum": visible.max}.get(
                spec[:-2], lambda values=values, weights=weights: weighted_median(values, weights)
            )()
            assert first.pixels[y, x, 1] == expected


@pytest.mark.parametrize("spec", ["median:3", "median:4", "minimum:3", "maximum:3"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_one_pixel_that_is_not_opaque_changes_nothing_far_away(spec, dtype):
    image = IMAGES[dtype]
    white = 1 if dtype == "float32" else np.iinfo(dtype).max
    alpha = np.full(image.shape[:2], white, dtype)
    plan = FilterPlan(parse_steps([spec]), border=parse_border("constant:0.5"))
    opaque = apply_filter(image, plan).pixels
    whole, _ = filter_with_alpha(image, alpha, plan, filter_alpha=True)
    alpha[9, 9] = 0
    touched, shown = filter_with_alpha(image, alpha, plan, filter_alpha=True)
    assert np.array_equal(whole.pixels, opaque)
    far = np.ones(image.shape[:2], bool)
    far[6:13, 6:13] = False
    assert np.array_equal(touched.pixels[far], opaque[far])
    assert (shown[far] == white).all()


def test_in_the_command(tmp_path):
    picture = tmp_path / "a.png"
    Image.fromarray(IMAGES["uint8"]).save(picture)
    done = run_cnn("filter", picture, "-k", "median", "-o", tmp_path / "b.png")
    assert done.code == 0
    assert "median:3 · same, border=replicate · range=clip" in done.err
    expected = ndimage.median_filter(IMAGES["uint8"], size=(3, 3, 1), mode="nearest")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), expected)
    matrix = run_cnn("filter", "-", "-k", "erode:1x3", "-p", "valid", stdin="5 3 4 9\n1 2 3 4\n")
    assert matrix.out.split() == ["3", "3", "1", "2"]
    for words, wanted in (
        (["-k", "median", "--flip"], ["--flip", "median:3"]),
        (["-k", "median", "--bias", "1"], ["--bias", "median:3"]),
        (["-k", "maximum", "--as", "opencv"], ["--as", "maximum:3"]),
        (["-k", "median:257"], ["255x255"]),
        (["-k", "median:0"], ["from 1 on"]),
        (["-k", "median:3,s=2"], ["median:3"]),
        (["-k", "minimum:99", "-p", "valid"], ["window is larger than the image"]),
    ):
        assert run_cnn("filter", picture, *words, "-o", tmp_path / "c.png").code in (2, 3)
        expect_error(
            run_cnn("filter", picture, *words, "-o", tmp_path / "c.png"), 3 if "valid" in words else 2, *wanted
        )


def test_windows_larger_than_the_image_need_padding():
    with pytest.raises(ShapeError, match="window"):
        run(IMAGES["float64"], "median:19", padding="valid")
    with pytest.raises(UsageError, match="--scale"):
        run(IMAGES["float64"], "median:3", scale="sum")


@pytest.mark.peers
def test_opencv_agrees():
    cv2 = pytest.importorskip("cv2")
    image = IMAGES["uint8"]
    for n in (3, 5, 7, 11):
        assert np.array_equal(run(image, f"median:{n}"), cv2.medianBlur(image, n))
        ones = np.ones((n, n), np.uint8)
        assert np.array_equal(run(image, f"minimum:{n}"), cv2.erode(image, ones))
        assert np.array_equal(run(image, f"maximum:{n}"), cv2.dilate(image, ones))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("border", ["replicate", "reflect", "mirror", "wrap", "zero", "constant:7", "constant:0.5"])
def test_wide_pictures_in_their_own_type(dtype, border):
    """Rows of several vectors are read where they are; ends of rows and windows across the border are the hard part."""
    image = (RNG.normal(120, 60, (21, 67, 3)).clip(0, 255)).astype(dtype)
    value = float(border.partition(":")[2] or 0)
    mode = MODES.get(border, "constant")
    for spec in ("median:3", "median:5", "minimum:3", "maximum:5x9"):
        kind, _, size = spec.partition(":")
        shape = tuple(int(n) for n in size.split("x")) * (1 if "x" in size else 2)
        expected = SCIPY[kind](image.astype(float), size=(*shape, 1), mode=mode, cval=value)
        found = run(image, spec, border=parse_border(border), range="raw", dtype="float32", compiled=True)
        assert np.array_equal(found, expected), spec
        own = run(image, spec, border=parse_border(border), compiled=True)
        assert np.array_equal(own, np.rint(expected) if dtype != "float32" else expected), spec


def test_dilated_windows_and_strides_of_wide_pictures():
    image = RNG.integers(0, 256, (30, 90, 1), np.uint8)
    border = parse_border("reflect")
    for spec, size in (("median:3", (3, 3)), ("maximum:2x4", (2, 4))):
        options = {"padding": parse_padding("3,2,1,4"), "stride": (2, 3), "dilation": (2, 3), "border": border}
        expected = by_hand(image, spec.partition(":")[0], size, options["padding"], (2, 3), (2, 3), border)
        assert np.array_equal(run(image, spec, compiled=True, **options)[..., 0], expected)


@pytest.mark.parametrize("rows", range(1, 8))
def test_networks_pick_the_middle_of_sorted_columns(rows):
    """All inputs of 0 and 1 (Knuth 5.3.4, theorem Z): as many of each column as are 1."""
    for columns in range(1, 8 if rows < 5 else 5):
        network = middle_of_sorted_columns(rows, columns)
        for ones in itertools.islice(itertools.product(range(rows + 1), repeat=columns), 5000):
            values = [int(i >= rows - count) for count in ones for i in range(rows)]
            expected = sorted(values)[rows * columns // 2]
            for i, j, _, _ in network.exchanges:
                values[i], values[j] = sorted((values[i], values[j]))
            assert [values[place] for place in network.outputs] == [expected]
