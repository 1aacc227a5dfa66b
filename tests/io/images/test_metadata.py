"""What goes along with the samples: EXIF and orientation from every place, and notes of what was converted."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from cnncli.errors import InvalidInputError
from cnncli.io.images.decode import decode_image
from cnncli.io.images.encode import encode_image
from cnncli.io.images.image import Image

RNG = np.random.default_rng(20261122)
ORIENTATION = 0x0112


def saved(picture: Pillow.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def lying() -> np.ndarray:
    """Return the stored picture of a camera held upright, orientation 6: its top is at the right."""
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)
    return np.ascontiguousarray(np.rot90(upright))


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def png_with(kind: bytes, body: bytes) -> bytes:
    """Return a PNG of `lying` with one more chunk behind its header."""
    data = saved(Pillow.fromarray(lying()), "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def raw_profile() -> bytes:
    exif = Pillow.Exif()
    exif[ORIENTATION] = 6
    block = exif.tobytes()
    return b"Raw profile type exif\0" + f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()


def tiff_with_xmp(dtype: type) -> bytes:
    stream = io.BytesIO()
    extra = [(700, "B", len(xmp(6)), xmp(6), True)]
    tifffile.imwrite(stream, lying().astype(dtype) * dtype(1), photometric="rgb", extratags=extra, metadata=None)
    return stream.getvalue()


@pytest.mark.parametrize("data", [
    pytest.param(lambda: png_with(b"tEXt", raw_profile()), id="raw-profile"),
    pytest.param(lambda: png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)), id="png-xmp"),
    pytest.param(lambda: saved(Pillow.fromarray(lying()), "JPEG", quality=100, xmp=xmp(6)), id="jpeg-xmp"),
    pytest.param(lambda: saved(Pillow.fromarray(lying()), "WEBP", lossless=True, xmp=xmp(6)), id="webp-xmp"),
    pytest.param(lambda: tiff_with_xmp(np.uint8), id="tiff-xmp-8"),
    pytest.param(lambda: tiff_with_xmp(np.uint16), id="tiff-xmp-16"),
])  # fmt: skip
def test_orientation_that_is_not_in_an_exif_block(data) -> None:
    image = decode_image(data(), "x")
    assert image.pixels.shape == (32, 16, 3)
    np.testing.assert_allclose(image.pixels[4, 4].astype(int), (255, 0, 0), atol=6)
    assert image.orientation == 1
    assert image.notes == ("turned upright (EXIF orientation 6)",)
    again = decode_image(bytes(encode_image(image, "PNG")), "x")
    assert again.pixels.shape == (32, 16, 3)
    assert again.notes == ()


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "TIFF16", "WEBP", "raw-profile", "xmp"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_picture_left_as_stored_says_so_in_its_copy(source: str, target: str) -> None:
    exif = Pillow.Exif()
    exif[ORIENTATION] = 6
    if source == "TIFF16":
        stream = io.BytesIO()
        tag = [(ORIENTATION, "H", 1, 6, True)]
        tifffile.imwrite(stream, lying().astype(np.uint16), photometric="rgb", extratags=tag, metadata=None)
        data = stream.getvalue()
    elif source == "raw-profile":
        data = png_with(b"tEXt", raw_profile())
    elif source == "xmp":
        data = saved(Pillow.fromarray(lying()), "JPEG", quality=100, xmp=xmp(6))
    else:
        data = saved(Pillow.fromarray(lying()), source, exif=exif)
    image = decode_image(data, "x", exif=False)
    assert image.pixels.shape == (16, 32, 3)
    assert image.orientation == 6
    image = Image(image.pixels.astype(np.uint8), exif=image.exif)
    copy = bytes(encode_image(image, target))
    with Pillow.open(io.BytesIO(copy)) as picture:
        assert picture.getexif()[ORIENTATION] == 6
    assert decode_image(copy, "x").pixels.shape == (32, 16, 3)


@pytest.mark.parametrize("source", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("target", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("size", [(16, 32), (15, 31)], ids=str)
def test_what_a_camera_said_is_kept(source: str, target: str, size: tuple[int, int]) -> None:
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Maker", "Model with a long name", "2026:11:21 10:11:12"
    exif[ORIENTATION] = 8
    exif.get_ifd(0x8769).update({0x829A: 0.005, 0x9003: "2026:11:21 10:11:12", 0x8827: 400, 0x927C: b"note" * 9})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 14.5)})
    block = exif.tobytes()
    exif = Pillow.Exif()  # Pillow writes directories into TIFF only from a block that it has read
    exif.load(block)
    picture = Pillow.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8))
    image = decode_image(saved(picture, source, exif=exif), "x")
    written = bytes(encode_image(image, target))
    with Pillow.open(io.BytesIO(written)) as back:
        found = back.getexif()
        back.load()
        if target not in ("JPEG", "WEBP"):
            np.testing.assert_array_equal(np.asarray(back), image.pixels)
    assert [found[tag] for tag in (0x010F, 0x0110, 0x0132)] == [
        "Maker",
        "Model with a long name",
        "2026:11:21 10:11:12",
    ]
    assert found.get(ORIENTATION, 1) == 1
    inside, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    assert (float(inside[0x829A]), inside[0x8827], inside[0x9003]) == (0.005, 400, "2026:11:21 10:11:12")
    assert inside[0x927C] == b"note" * 9
    assert [float(value) for value in place[2]] == [48, 8, 14.5]
    assert place[1] == "N"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_exif_in_tiff_leaves_the_samples_and_other_tags_alone(dtype: str, channels: int) -> None:
    exif = Pillow.Exif()
    exif[0x010F] = "Maker"
    pixels = (RNG.random((13, 11, channels)) * 200).astype(dtype)
    image = Image(pixels, exif=exif.tobytes(), density=(300.0, 150.0))
    data = bytes(encode_image(image, "TIFF"))
    back = decode_image(data, "x")
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.density == pytest.approx((300, 150))
    assert back.exif is not None
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert file.pages[0].tags[0x010F].value == "Maker"
        np.testing.assert_array_equal(file.pages[0].asarray().reshape(pixels.shape), pixels)


def test_exif_that_cannot_be_read_does_not_cost_the_picture() -> None:
    image = decode_image(png_with(b"tEXt", b"Raw profile type exif\0\nexif\n 4\nnot hex\n"), "x")
    assert image.pixels.shape == (16, 32, 3)
    assert image.notes == ("EXIF cannot be read and was dropped",)
    assert image.exif is None


@pytest.mark.parametrize(("mode", "colour", "depth"), [("L", 7, 8), ("RGB", (9, 8, 7), 8), ("I;16", 300, 16)])
def test_a_transparent_colour_is_said(mode: str, colour: object, depth: int) -> None:
    picture = Pillow.new(mode, (2, 1), 0)
    picture.putpixel((1, 0), colour)
    image = decode_image(saved(picture, "PNG", transparency=colour), "x")
    shown = ", ".join(map(str, np.atleast_1d(colour)))
    assert image.notes == (f"the transparent colour ({shown}) became alpha",)
    assert image.alpha is not None
    assert image.alpha.tolist() == [[(1 << depth) - 1, 0]]


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_gray_of_few_bits_is_scaled_and_said(bits: int, format: str) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(2, 8) % (1 << bits)
    step = 8 // bits
    rows = [bytes(sum(int(v) << (8 - bits * (n + 1)) for n, v in enumerate(row[i : i + step]))
                  for i in range(0, 8, step)) for row in values]  # fmt: skip
    if format == "PNG":
        chunks = (
            (b"IHDR", struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            (b"IEND", b""),
        )
        data = b"\x89PNG\r\n\x1a\n"
        for kind, body in chunks:
            data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    else:
        tags = ((256, 8), (257, 2), (258, bits), (259, 1), (262, 1), (273, 110), (278, 2), (279, len(b"".join(rows))))
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        data = struct.pack("<2sHIH", b"II", 42, 8, 8) + entries + bytes(4) + b"".join(rows)
    image = decode_image(data, "x")
    np.testing.assert_array_equal(image.pixels[..., 0], values * (255 // ((1 << bits) - 1)))
    assert image.notes == (f"{bits}-bit samples were scaled from 0..{(1 << bits) - 1} to 0..255",)


# -- options of the encoders


def photo() -> np.ndarray:
    y, x = np.mgrid[0:96, 0:128]
    colours = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x * y) % 256], axis=-1)
    return np.clip(colours + RNG.normal(scale=8, size=colours.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_quality_makes_files_larger_and_nearer(format: str) -> None:
    pixels = photo()
    sizes, errors = [], []
    for quality in (20, 60, 92, 100):
        data = bytes(encode_image(Image(pixels), format, quality=quality))
        sizes.append(len(data))
        errors.append(float(np.abs(decode_image(data, "x").pixels.astype(int) - pixels).mean()))
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)
    if format == "WEBP":
        assert errors[-1] == 0


@pytest.mark.parametrize(("quality", "sampling"), [(100, 0), (92, 0), (90, 0), (89, 2), (50, 2)])
def test_colours_of_a_fine_jpeg_are_not_made_coarse(quality: int, sampling: int) -> None:
    data = bytes(encode_image(Image(photo()), "JPEG", quality=quality))
    assert decode_image(data, "x").sampling == sampling


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_colours_that_came_in_coarse_stay_so(sampling: int) -> None:
    image = decode_image(saved(Pillow.fromarray(photo()), "JPEG", subsampling=sampling), "x")
    assert image.sampling == sampling
    assert decode_image(bytes(encode_image(image, "JPEG", quality=95)), "x").sampling == sampling


def test_the_level_of_tiff() -> None:
    pixels = photo()
    sizes = {level: len(encode_image(Image(pixels), "TIFF", level=level)) for level in (0, 1, 9)}
    assert sizes[0] > pixels.nbytes > sizes[1] > sizes[9]
    for level, number in ((0, 1), (1, 8), (9, 8)):
        with tifffile.TiffFile(io.BytesIO(bytes(encode_image(Image(pixels), "TIFF", level=level)))) as file:
            assert int(file.pages[0].compression) == number


# -- npy


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint64", "float16"])
def test_npy_of_other_numbers_becomes_float64_and_says_so(dtype: str) -> None:
    array = RNG.integers(0, 2, (3, 4, 2)).astype(dtype)
    image = decode_image(npy(array), "x")
    assert image.pixels.dtype == np.float64
    np.testing.assert_array_equal(image.pixels, array)
    assert image.notes == (f"{dtype} became float64",)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">u2", "<f8", "|u1"])
def test_npy_in_any_order_of_bytes_and_axes(dtype: str, order: str) -> None:
    array = np.asarray(RNG.integers(0, 200, (3, 4, 5)), dtype, order=order)
    image = decode_image(npy(array), "x")
    np.testing.assert_array_equal(image.pixels, array)
    assert image.pixels.dtype.isnative
    assert image.pixels.flags.c_contiguous
    assert image.notes == ()


@pytest.mark.parametrize(("data", "what"), [
    (npy(np.zeros(())), r"shape \(\) is no image"),
    (npy(np.zeros(3)), "shape 3 is no image"),
    (npy(np.zeros((1, 2, 3, 4))), "shape 1x2x3x4 is no image"),
    (npy(np.zeros((2, 3, 0))), "without channels"),
    (npy(np.zeros((0, 3))), "zero height"),
    (npy(np.zeros((2, 2), complex)), "complex128 is not supported"),
    (npy(np.zeros((2, 2), "U3")), "<U3 is not supported"),
    (npy(np.zeros((2, 2), "M8[s]")), "not supported"),
    (npy(np.zeros((2, 2), np.longdouble)), "not supported"),
    (npy(np.zeros((2, 2)))[:-1], "= 32 B, the file has 31 B after it"),
    (npy(np.zeros((2, 2))) + b"x", "= 32 B, the file has 33 B after it"),
    (npy(np.zeros((2, 2)))[:40], "npy header: "),
    (b"\x93NUMPY\x03\x00" + bytes(20), "npy header: "),
    (npy(np.zeros((2, 2))).replace(b"(2, 2)", b"(2,-2)"), "npy "),
])  # fmt: skip
def test_npy_that_is_no_image(data: bytes, what: str) -> None:
    with pytest.raises(InvalidInputError, match=what) as caught:
        decode_image(data, "x")
    assert caught.value.hint


def test_only_one_picture_in_npy_and_pnm() -> None:
    for data in (npy(np.zeros((2, 2), np.uint8)), b"P5 1 1 255\nx"):
        assert decode_image(data, "x", frame=0).pixels.size
        with pytest.raises(InvalidInputError, match="there is no picture 1: the file holds 1"):
            decode_image(data, "x", frame=1)
