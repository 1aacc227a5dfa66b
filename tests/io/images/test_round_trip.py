"""Every format and depth, out and back in; and what other programs write, in."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images.decode import decode_image
from cnncli.io.images.encode import check_holds, encode_image
from cnncli.io.images.formats import FORMATS, format_of
from cnncli.io.images.image import Image

RNG = np.random.default_rng(20261120)


def samples(height: int, width: int, channels: int, dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=(height, width, channels)).astype(dtype)
    top = np.iinfo(dtype).max
    noise = RNG.integers(0, top, (height, width, channels), dtype, endpoint=True)
    noise[: height // 2] = np.linspace(0, top, width).astype(dtype)[None, :, None]  # smooth rows prefer other filters
    return noise


LOSSLESS = [format for format in FORMATS.values() if format.name not in ("JPEG", "TEXT")]
ROUND_TRIPS = [
    (format.name, dtype, channels, alpha)
    for format in LOSSLESS
    for dtype in format.depths
    for channels in sorted({1, 3, 7} & set(format.channels))
    for alpha in (False, True)[: 1 + (format.alpha and format.name != "NPY")]  # in an array it is one more channel
]


@pytest.mark.parametrize(("format", "dtype", "channels", "alpha"), ROUND_TRIPS)
@pytest.mark.parametrize("size", [(1, 1), (61, 40)], ids=str)
def test_round_trip(format: str, dtype: str, channels: int, alpha: bool, size: tuple[int, int]) -> None:
    pixels = samples(*size, channels, dtype)
    opacity = samples(*size, 1, dtype)[..., 0] if alpha else None
    data = bytes(encode_image(Image(pixels, alpha=opacity), format, quality=100, threads=2))
    back = decode_image(data, "x")
    assert back.pixels.dtype == dtype
    if format == "WEBP":  # has no gray
        pixels = np.broadcast_to(pixels, (*size, 3))
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (opacity is None)
    if opacity is not None:
        np.testing.assert_array_equal(back.alpha, opacity)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close(channels: int) -> None:
    y, x = np.mgrid[0:64, 0:96]
    pixels = np.stack([(x + y) % 256, (2 * y) % 256, 255 - x], axis=-1)[..., :channels].astype(np.uint8)
    back = decode_image(bytes(encode_image(Image(pixels), "JPEG", quality=95)), "x")
    assert back.pixels.shape == pixels.shape
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 2


@pytest.mark.parametrize("level", [0, 1, 2, 6, 9])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_png_is_read_by_pillow_and_does_not_depend_on_threads(level: int, threads: int) -> None:
    pixels = samples(1100, 700, 3, "uint8")  # several strips
    data = bytes(encode_image(Image(pixels), "PNG", level=level, threads=threads))
    with Pillow.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    assert data == bytes(encode_image(Image(pixels), "PNG", level=level, threads=1))


@pytest.mark.peers
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_agrees_with_opencv(channels: int) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = samples(33, 29, channels, "uint16")
    order = [0] if channels == 1 else [2, 1, 0, 3][:channels]
    found, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))
    assert found
    image = decode_image(encoded.tobytes(), "x")
    np.testing.assert_array_equal(image.pixels, pixels[..., : min(channels, 3)])
    ours = encode_image(Image(pixels[..., :3].copy(), alpha=pixels[..., 3].copy() if channels == 4 else None), "PNG")
    theirs = cv2.imdecode(np.frombuffer(bytes(ours), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(theirs.reshape(pixels.shape)[..., order], pixels)


def interlaced(pixels: np.ndarray) -> bytes:
    """Return an Adam7 PNG of (H, W, 3) uint16, every row with filter type 0: the standard, written slowly."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    raw = b""
    for top, left, down, right in passes:
        for row in pixels[top::down, left::right].astype(">u2"):
            raw += b"\0" + row.tobytes() if row.size else b""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_interlaced_16_bit_png() -> None:
    pixels = samples(19, 23, 3, "uint16")
    np.testing.assert_array_equal(decode_image(interlaced(pixels), "x").pixels, pixels)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 3), ("uint16", 1), ("float32", 3), ("uint8", 3)])
def test_tiff_of_tifffile(dtype: str, channels: int, order: str, compression: str | None) -> None:
    pixels = samples(20, 30, channels, dtype)
    stream = io.BytesIO()
    shaped = pixels if channels > 1 else pixels[..., 0]
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(stream, shaped, byteorder=order, compression=compression, photometric=photometric)
    image = decode_image(stream.getvalue(), "x")
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
def test_compressed_8_bit_tiff_of_pillow(compression: str) -> None:
    stream = io.BytesIO()
    pixels = np.zeros((32, 32, 3), np.uint8) + np.arange(32, dtype=np.uint8)[:, None, None]
    Pillow.fromarray(pixels).save(stream, "TIFF", compression=compression)
    back = decode_image(stream.getvalue(), "x").pixels
    np.testing.assert_allclose(back.astype(int), pixels, atol=3 if compression == "jpeg" else 0)


def test_planar_tiff() -> None:
    pixels = samples(9, 8, 3, "uint16")
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode_image(stream.getvalue(), "x").pixels, pixels)


def saved(picture: Pillow.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def test_palette_with_transparency() -> None:
    picture = Pillow.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for x in range(3):
        picture.putpixel((x, 0), x)
    image = decode_image(saved(picture, "PNG", transparency=bytes([255, 0, 128])), "x")
    assert image.pixels[0].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert image.alpha is not None
    assert image.alpha[0].tolist() == [255, 0, 128]
    assert "palette with transparency" in image.notes[0]


def test_palette_without_transparency_and_gray_palette() -> None:
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([1, 2, 3, 9, 9, 9])
    picture.putpixel((1, 0), 1)
    assert decode_image(saved(picture, "PNG"), "x").pixels.tolist() == [[[1, 2, 3], [9, 9, 9]]]
    picture.putpalette([5, 5, 5, 9, 9, 9])
    assert decode_image(saved(picture, "PNG"), "x").pixels.tolist() == [[[5], [9]]]


def test_one_bit() -> None:
    picture = Pillow.new("1", (9, 1))
    picture.putpixel((4, 0), 1)
    for format in ("PNG", "TIFF", "BMP", "PPM"):
        image = decode_image(saved(picture, format), "x")
        assert image.pixels[0, :, 0].tolist() == [0, 0, 0, 0, 255, 0, 0, 0, 0], format


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_modes(mode: str) -> None:
    values = samples(4, 5, len(mode), "uint8")
    for format in ("PNG", "TIFF"):
        image = decode_image(saved(Pillow.fromarray(values, mode), format), "x")
        np.testing.assert_array_equal(image.pixels, values[..., :-1])
        np.testing.assert_array_equal(image.alpha, values[..., -1])


def test_transparent_colour_of_rgb_png() -> None:
    picture = Pillow.new("RGB", (2, 1), (1, 2, 3))
    picture.putpixel((1, 0), (9, 8, 7))
    image = decode_image(saved(picture, "PNG", transparency=(9, 8, 7)), "x")
    assert image.alpha is not None
    assert image.alpha.tolist() == [[255, 0]]


def test_cmyk_jpeg_and_tiff_by_the_documented_formula() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[...] = (200, 100, 0, 55)
    want = [round((255 - ink) * 200 / 255) for ink in (200, 100, 0)]
    for format, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        image = decode_image(saved(Pillow.fromarray(inks, "CMYK"), format, **options), "x")
        assert image.mode == "CMYK"
        np.testing.assert_allclose(image.pixels[8, 8].astype(int), want, atol=3 if format == "JPEG" else 0)
        assert "CMYK" in image.notes[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(orientation: int, format: str) -> None:
    """The stored picture is what a camera held this way would store; upright it is always the same."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)
    upright[8:, 24:] = (0, 0, 255)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    data = saved(Pillow.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    image = decode_image(data, "x")
    assert image.pixels.shape == (16, 32, 3)
    np.testing.assert_allclose(image.pixels[4, 4].astype(int), (255, 0, 0), atol=6)
    np.testing.assert_allclose(image.pixels[12, 28].astype(int), (0, 0, 255), atol=6)
    assert decode_image(data, "x", exif=False).pixels.shape == stored.shape
    again = decode_image(bytes(encode_image(image, "PNG")), "x")  # the tag went along, reset
    np.testing.assert_array_equal(again.pixels, image.pixels)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_profile_and_density_are_kept(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image(samples(6, 6, 3, "uint8"), icc=profile, density=(300.0, 150.0))
    back = decode_image(bytes(encode_image(image, format)), "x")
    assert back.icc == profile
    if format != "WEBP":  # it has no place for a density
        assert back.density == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize(("header", "body", "want"), [
    (b"P2 # gray\n3 1\n# top\n100\n", b"0 50 100\n", [[[0], [50], [100]]]),
    (b"P3 1 2 255\n", b"1 2 3 4 5 6", [[[1, 2, 3]], [[4, 5, 6]]]),
    (b"P1 4 1\n", b"0110", [[[255], [0], [0], [255]]]),
    (b"P4 9 1\n", b"\x80\x80", [[[0], [255], [255], [255], [255], [255], [255], [255], [0]]]),
    (b"P5 2 1 1000\n", b"\x03\xe8\x00\x01", [[[1000], [1]]]),
])  # fmt: skip
def test_pnm_by_hand(header: bytes, body: bytes, want: list[object]) -> None:
    assert decode_image(header + body, "x").pixels.tolist() == want


@pytest.mark.parametrize("data", [
    b"P5 2 2 255\n\0\0\0", b"P5 2 2 0\n\0\0\0\0", b"P5 2 2 70000\n", b"P5 -2 2 255\n", b"P2 1 1 9\n10", b"P2 1 1 9\nx",
    b"P6 99999999999 1 255\n", b"P7 \n",
])  # fmt: skip
def test_bad_pnm(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_image(data, "x")


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize("data", [
    npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", b"cos\nsystem\n."),
    npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
    npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 16), }"),
    npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }", b"\0" * 32),
    npy("{'descr': '<c16', 'fortran_order': False, 'shape': (1, 1), }", b"\0" * 16),
    npy("__import__('os').system('id')"),
    b"\x93NUMPY\x09\x00",
])  # fmt: skip
def test_bad_npy(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_image(data, "x")


def test_nothing_is_converted_silently() -> None:
    wide, floats = np.dtype("uint16"), np.dtype("float32")
    for format, dtype, channels, alpha in (
        ("JPEG", wide, 3, False), ("BMP", wide, 3, False), ("WEBP", wide, 3, False), ("GIF", wide, 1, False),
        ("PNG", floats, 3, False), ("JPEG", floats, 1, False), ("PNG", wide, 5, False),
        ("JPEG", np.dtype("uint8"), 3, True),
        ("GIF", np.dtype("uint8"), 3, False), ("PGM", np.dtype("uint8"), 3, False),
    ):  # fmt: skip
        with pytest.raises(CnnError, match="holds") as caught:
            check_holds(format, dtype, channels, alpha, "out")
        assert "write ." in caught.value.hint
        named = caught.value.hint.removeprefix("write ").split(",")[0].split(" or ")
        for extension in named:  # and what it names does hold it
            check_holds(format_of("x" + extension.strip()), dtype, channels, alpha, "out")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM"])
def test_any_damage_is_one_error_or_a_picture(format: str) -> None:
    """Truncations and changed bytes give our error or an image, never anything else."""
    whole = saved(Pillow.fromarray(samples(24, 31, 3, "uint8")), format)
    rng = np.random.default_rng(5)
    cuts = [whole[:n] for n in (1, 8, 20, len(whole) // 2, len(whole) - 1)]
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(0, 256)
        cuts.append(bytes(damaged))
    refused, refusals = 0, []
    for data in cuts:
        try:
            image = decode_image(data, "x", max_pixels=10**6)
        except InvalidInputError as error:
            refused += 1
            refusals.append(str(error))
        else:
            assert image.pixels.size
    assert refused >= 3
    assert all(text.isprintable() for text in refusals)


def test_all_pairs_of_filters_and_depths_in_png() -> None:
    """Rows that are flat, smooth across and smooth down: each filter type is chosen somewhere and read back."""
    for dtype, channels in itertools.product(("uint8", "uint16"), (1, 2, 3, 4)):
        flat = np.zeros((64, 64, channels), dtype)
        across = np.broadcast_to(np.arange(64, dtype=dtype)[None, :, None] * 3, flat.shape)
        down = np.broadcast_to(np.arange(64, dtype=dtype)[:, None, None] * 3, flat.shape)
        for pixels in (flat, across, down):
            image = Image(np.ascontiguousarray(pixels[..., : 1 if channels < 3 else 3]))
            if channels in (2, 4):
                image = Image(image.pixels, alpha=np.ascontiguousarray(pixels[..., -1]))
            back = decode_image(bytes(encode_image(image, "PNG")), "x")
            np.testing.assert_array_equal(back.pixels, image.pixels)
