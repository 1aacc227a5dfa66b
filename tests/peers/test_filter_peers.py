"""Every `--as TOOL` against the real tool: integers exactly, floats to 1e-5."""

import functools
import shutil
import subprocess

import numpy as np
import pytest

from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import Border, Kernel, KernelStep, named_kernel

pytestmark = pytest.mark.peers
RANDOM = np.random.default_rng(11)
SIZES = [(3, 3), (5, 5), (7, 7), (2, 2), (3, 4), (4, 3), (1, 3), (5, 1), (6, 2)]
WHOLE = [RANDOM.integers(-3, 6, size).astype(float) for size in SIZES]
REAL = [RANDOM.standard_normal(size) for size in SIZES]
IMAGES = {
    "uint8": RANDOM.integers(0, 256, (41, 57, 3), dtype=np.uint8),
    "uint16": RANDOM.integers(0, 65536, (41, 57, 3), dtype=np.uint16),
    "float32": RANDOM.random((41, 57, 3), dtype=np.float32),
}


def ours(image, weights, tool, **options):
    weights = np.asarray(weights, float)
    full = weights.reshape((1,) * (4 - weights.ndim) + weights.shape)
    kernel = Kernel("peer", full, per_channel=weights.ndim == 2)
    return apply_filter(image, FilterPlan((KernelStep(kernel),), convention=tool, **options)).pixels


def close(result, expected):
    assert result.dtype == expected.dtype
    scale = max(float(np.abs(expected).max()), 1e-30)
    assert np.abs(result.astype(np.float64) - expected).max() <= 1e-5 * scale


@pytest.mark.parametrize("weights", WHOLE + REAL, ids=str)
@pytest.mark.parametrize("dtype", IMAGES)
def test_opencv(weights, dtype):
    cv2 = pytest.importorskip("cv2")
    expected = cv2.filter2D(IMAGES[dtype], -1, weights)
    result = ours(IMAGES[dtype], weights, "opencv")
    if dtype == "float32":
        close(result, expected)
    else:
        is_open = halfway(IMAGES[dtype], weights)
        np.testing.assert_array_equal(result[~is_open], expected[~is_open])
        differences = np.abs(result.astype(int) - expected)
        assert differences.max() <= 1
        assert differences.mean() < 0.005


def halfway(image, weights):
    """Return where the sum in float64 is so near to a half that sums in float32 may be rounded up or down."""
    ndimage = pytest.importorskip("scipy.ndimage")
    channels = np.moveaxis(image.astype(np.float64), 2, 0)
    sums, sizes = (
        np.stack([ndimage.correlate(one, w, mode="mirror") for one in channels], axis=2)
        for w in (weights, np.abs(weights))
    )
    return np.abs(sums - np.floor(sums) - 0.5) <= 2.0**-24 * sizes


@pytest.mark.parametrize("weights", WHOLE + REAL, ids=str)
@pytest.mark.parametrize("dtype", [*IMAGES, "float64"])
def test_scipy(weights, dtype):
    ndimage = pytest.importorskip("scipy.ndimage")
    image = IMAGES[dtype] if dtype in IMAGES else IMAGES["float32"].astype(np.float64) * 255
    for flip, function in ((None, ndimage.convolve), (False, ndimage.correlate)):
        expected = np.stack([function(image[..., c], weights) for c in range(3)], axis=2)
        result = ours(image, weights, "scipy", flip=flip)
        if image.dtype.kind == "u":
            np.testing.assert_array_equal(result, expected)
        else:
            close(result, expected)


@pytest.mark.parametrize("word", ["reflect", "mirror", "nearest", "wrap", "constant"])
def test_scipy_borders_far_outside(word):
    ndimage = pytest.importorskip("scipy.ndimage")
    from cnncli.filters import parse_border

    image = RANDOM.random((5, 4, 1)) * 100
    weights = RANDOM.standard_normal((31, 29))
    expected = ndimage.convolve(image[..., 0], weights, mode=word, cval=7.0)
    border = parse_border("constant:7" if word == "constant" else word)
    close(ours(image, weights, "scipy", border=border)[..., 0], expected)


@pytest.mark.parametrize("weights", WHOLE + REAL, ids=str)
@pytest.mark.parametrize("dtype", IMAGES)
@pytest.mark.parametrize(("padding", "stride", "dilation"), [(None, 1, 1), ((2, 2, 1, 1), 2, 1), ((3, 3, 3, 3), 1, 2)])
def test_torch(weights, dtype, padding, stride, dilation):
    torch = pytest.importorskip("torch")
    image = torch.from_numpy(IMAGES[dtype].astype(np.float32)).permute(2, 0, 1)[:, None]
    pads = (0, 0) if padding is None else (padding[0], padding[2])
    expected = torch.nn.functional.conv2d(
        image, torch.from_numpy(weights.astype(np.float32))[None, None], padding=pads, stride=stride, dilation=dilation
    )
    expected = expected[:, 0].permute(1, 2, 0).numpy()
    options = {"padding": padding, "stride": (stride, stride), "dilation": (dilation, dilation)}
    close(ours(IMAGES[dtype], weights, "torch", **options), expected)


def test_torch_banks_of_filters_over_all_channels():
    torch = pytest.importorskip("torch")
    weights = RANDOM.standard_normal((5, 3, 3, 4))
    image = IMAGES["uint8"]
    tensor = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    expected = torch.nn.functional.conv2d(tensor[None], torch.from_numpy(weights.astype(np.float32)), stride=2)
    close(ours(image, weights, "torch", stride=(2, 2)), expected[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("length", [9, 10, 11, 12])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_keras_same_padding_follows_the_stride(length, stride, size):
    torch = pytest.importorskip("torch")
    image = IMAGES["float32"][:length, :length, :1]
    weights = RANDOM.standard_normal((size, size)).astype(np.float32)
    total = max((-(-length // stride) - 1) * stride + size - length, 0)  # the rule of TensorFlow's SAME
    pads = (total // 2, total - total // 2) * 2
    tensor = torch.nn.functional.pad(torch.from_numpy(image[..., 0])[None, None], pads)
    expected = torch.nn.functional.conv2d(tensor, torch.from_numpy(weights)[None, None], stride=stride)[0, 0].numpy()
    close(ours(image, weights, "keras", padding="same", stride=(stride, stride))[..., 0], expected)


@pytest.mark.parametrize("weights", [w for w in WHOLE + REAL if w.shape in ((3, 3), (5, 5))], ids=str)
@pytest.mark.parametrize("scale", [None, "sum"])
def test_pillow(weights, scale):
    from PIL import Image, ImageFilter

    if scale and abs(weights.sum()) < 0.5:
        pytest.skip("Pillow cannot divide by a sum of zero")
    image = IMAGES["uint8"]
    size = weights.shape[1], weights.shape[0]
    peer = ImageFilter.Kernel(size, weights.ravel().tolist(), scale=1 if scale is None else None)
    result = ours(image, weights, "pillow", scale=scale)
    np.testing.assert_array_equal(result, np.asarray(Image.fromarray(image).filter(peer)))


@pytest.mark.parametrize("weights", WHOLE + REAL, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_imagemagick(weights, dtype, tmp_path):
    convert = imagemagick()
    image = IMAGES[dtype]
    (tmp_path / "in.ppm").write_bytes(_ppm(image))
    text = f"{weights.shape[1]}x{weights.shape[0]}: " + ",".join(repr(float(w)) for w in weights.ravel())
    subprocess.run([convert, tmp_path / "in.ppm", "-convolve", text, tmp_path / "out.ppm"], check=True)
    expected = _read_ppm((tmp_path / "out.ppm").read_bytes())
    np.testing.assert_array_equal(ours(image, weights, "imagemagick"), expected)


@pytest.mark.parametrize("weights", WHOLE + REAL, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_vips(weights, dtype, tmp_path):
    if not shutil.which("vips"):
        pytest.skip("vips is not installed")
    image = IMAGES[dtype]
    (tmp_path / "in.ppm").write_bytes(_ppm(image))
    rows = "\n".join(" ".join(repr(float(w)) for w in row) for row in weights)
    (tmp_path / "k.mat").write_text(f"{weights.shape[1]} {weights.shape[0]} 1 0\n{rows}\n")
    subprocess.run(["vips", "conv", "in.ppm", "raw.v", "k.mat"], check=True, cwd=tmp_path)
    kind = "uchar" if dtype == "uint8" else "ushort"
    subprocess.run(["vips", "cast", "raw.v", "out.v", kind], check=True, cwd=tmp_path)
    subprocess.run(["vips", "rawsave", "out.v", "out.raw"], check=True, cwd=tmp_path)
    subprocess.run(["vips", "rawsave", "raw.v", "raw.raw"], check=True, cwd=tmp_path)
    expected = np.fromfile(tmp_path / "out.raw", dtype).reshape(image.shape)
    np.testing.assert_array_equal(ours(image, weights, "vips"), expected)
    close(ours(image, weights, "vips", range="raw"), np.fromfile(tmp_path / "raw.raw", np.float32).reshape(image.shape))


def test_the_lecture_and_the_peers_disagree_as_reported():
    """The same 3x3 matrices give 34, 26 or 22."""
    image = np.array([[1.0, 0, 0], [0, 2, 0], [1, 2, 0]])[..., None]
    weights = np.arange(1, 10).reshape(3, 3)
    answers = {tool: ours(image, weights, tool)[..., 0] for tool in ("lecture", "torch", "opencv", "scipy", "pillow")}
    centre = {tool: a[a.shape[0] // 2, a.shape[1] // 2] for tool, a in answers.items()}
    assert centre == {"lecture": 34, "torch": 34, "opencv": 34, "scipy": 26, "pillow": 22}


def test_the_corner_of_the_lecture_under_every_convention():
    image = np.array([[105, 102, 100, 97, 96], [103, 99, 103, 101, 102], [101, 98, 104, 102, 100],
                      [99, 101, 106, 104, 99], [104, 104, 104, 100, 98]], np.uint8)[..., None]  # fmt: skip
    sharpen = named_kernel("sharpen").weights[0, 0]
    corner = {
        tool: int(ours(image, sharpen, tool)[0, 0, 0]) for tool in ("lecture", "opencv", "scipy", "vips", "pillow")
    }
    assert corner == {"lecture": 320, "opencv": 115, "scipy": 110, "vips": 110, "pillow": 105}
    assert ours(image, sharpen, "scipy", border=Border("zero"))[0, 0, 0] == 64  # 320 wraps around


@functools.cache
def imagemagick():
    """Return the program whose arithmetic `--as imagemagick` repeats: 16 bits per channel, no floating-point pixels."""
    program = shutil.which("convert") or shutil.which("magick")
    if program is None:
        pytest.skip("ImageMagick is not installed")
    version = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    if "ImageMagick" not in version or "Q16" not in version or "HDRI" in version:
        pytest.skip(f"not an ImageMagick of 16 bits without HDRI: {version[:60]!r}")
    return program


def _ppm(image):
    height, width, _ = image.shape
    white = 255 if image.dtype == np.uint8 else 65535
    return f"P6 {width} {height} {white}\n".encode() + image.astype(">u2" if white > 255 else np.uint8).tobytes()


def _read_ppm(data):
    _, size, white, body = data.split(b"\n", 3)
    width, height = map(int, size.split())
    dtype = ">u2" if int(white) > 255 else np.uint8
    return np.frombuffer(body, dtype).reshape(height, width, 3).astype(np.uint16 if int(white) > 255 else np.uint8)
