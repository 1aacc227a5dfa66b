"""TIFF beyond 8-bit gray and RGB, from files written tag by tag: decoded as the standard requires."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images.decode import decode_image
from cnncli.io.images.encode import encode_image
from cnncli.io.images.image import Image

RNG = np.random.default_rng(20261121)
_TYPES = {"H": 3, "I": 4, "Q": 16}


def tiff(tags: dict[int, int | tuple[int, ...]], *pieces: bytes, order: str = "<", big: bool = False) -> bytes:
    """Return a TIFF with `tags` and strips (or tiles, where tag 322 is given), written slowly by sections 2 and 7."""
    tiled = 322 in tags
    word = "Q" if big else "I"
    size = struct.calcsize(word)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    start = len(head) + size
    offsets = tuple(start + sum(map(len, pieces[:n])) for n in range(len(pieces)))
    every = dict(tags) | {324 if tiled else 273: offsets, 325 if tiled else 279: tuple(map(len, pieces))}
    body = b"".join(pieces)
    values, entries = b"", b""
    directory = start + len(body)
    after = directory + (8 if big else 2) + len(every) * (20 if big else 12) + size
    for tag in sorted(every):
        numbers = every[tag] if isinstance(every[tag], tuple) else (every[tag],)
        kind = word if tag in (273, 279, 324, 325) else "I" if max(numbers) > 65535 else "H"
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(packed) > size:
            place = struct.pack(order + word, after + len(values))
            values += packed
        else:
            place = packed.ljust(size, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, _TYPES[kind], len(numbers)) + place
    listed = struct.pack(order + ("Q" if big else "H"), len(every)) + entries + bytes(size)
    return head + struct.pack(order + word, directory) + body + listed + values


def packed(samples: np.ndarray, bits: int) -> bytes:
    """Return rows of samples as bits, the highest first, each row filled to a byte: one sample at a time."""
    out = b""
    for row in samples.reshape(len(samples), -1).tolist():
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        out += int(text, 2).to_bytes(len(text) // 8, "big")
    return out


def header(height: int, width: int, bits: int, channels: int = 1, photometric: int = 1, **more: int) -> dict:
    named = {"compression": 259, "fill": 266, "planes": 284, "predictor": 317, "format": 339, "rows": 278}
    tags = {256: width, 257: height, 258: (bits,) * channels, 259: 1, 262: photometric, 277: channels, 278: height}
    return tags | {named[name]: value for name, value in more.items()}


@pytest.mark.parametrize("tile", [None, (16, 32)], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_keeps_both_bytes_everywhere(channels, order, compression, tile) -> None:
    samples = RNG.integers(0, 65536, (50, 70, channels), np.uint16)
    stream = io.BytesIO()
    layout = {"tile": tile} if tile else {"rowsperstrip": 7}
    tifffile.imwrite(stream, samples, byteorder=order, compression=compression, photometric="rgb", **layout)
    image = decode_image(stream.getvalue(), "x")
    np.testing.assert_array_equal(image.pixels, samples[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(image.alpha, samples[..., 3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("channels", "alpha"), [(1, True), (2, False), (3, True), (4, False), (5, True), (63, True), (64, False)]
)
def test_feature_maps_come_back(channels: int, dtype: str, alpha: bool) -> None:
    pixels = (RNG.random((9, 8, channels + alpha)) * 250).astype(dtype)
    opacity = pixels[..., -1].copy() if alpha else None
    written = bytes(encode_image(Image(pixels[..., :channels].copy(), alpha=opacity), "TIFF"))
    image = decode_image(written, "x")
    np.testing.assert_array_equal(image.pixels, pixels[..., :channels])
    assert image.pixels.dtype == dtype
    assert (image.alpha is not None) == alpha
    if alpha:
        np.testing.assert_array_equal(image.alpha, opacity)
    assert image.notes == ()


@pytest.mark.parametrize(("photometric", "channels"), [(1, 2), (2, 4), (2, 5)])
@pytest.mark.parametrize("bits", [8, 16])
def test_unspecified_samples_are_channels(photometric: int, channels: int, bits: int) -> None:
    samples = RNG.integers(0, 1 << bits, (5, 6, channels), f"u{bits // 8}")
    tags = header(5, 6, bits, channels, photometric) | {338: (0,) * (channels - (3 if photometric == 2 else 1))}
    image = decode_image(tiff(tags, samples.tobytes()), "x")
    np.testing.assert_array_equal(image.pixels, samples)
    assert image.alpha is None


@pytest.mark.parametrize("bits", [*range(1, 8), 10, 12, 14, 9, 13])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
def test_packed_samples(bits: int, channels: int, compression: int, order: str) -> None:
    samples = RNG.integers(0, 1 << bits, (7, 11, channels))
    body = packed(samples, bits)
    tags = header(7, 11, bits, channels, 2 if channels == 3 else 1, compression=compression)
    image = decode_image(tiff(tags, zlib.compress(body) if compression == 8 else body, order=order), "x")
    top = (1 << bits) - 1
    if bits <= 8:
        np.testing.assert_array_equal(image.pixels, np.floor(samples * 255 / top + 0.5))
        assert image.pixels.dtype == np.uint8
        assert any("1 bit" in note or f"{bits}-bit" in note for note in image.notes)
    else:
        np.testing.assert_array_equal(image.pixels, samples)
        assert image.pixels.dtype == np.uint16
        assert f"samples run from 0 to {top} and are kept so" in image.notes


@pytest.mark.parametrize("bits", [16, 24, 32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["", "bigtiff"])
def test_wide_integers(bits: int, order: str, big: bool) -> None:
    samples = RNG.integers(0, 1 << min(bits, 24), (6, 5))
    parts = [(samples >> shift & 255).astype(np.uint8) for shift in range(0, bits, 8)]
    stored = np.stack(parts if order == "<" else parts[::-1], axis=-1).tobytes()
    image = decode_image(tiff(header(6, 5, bits), stored, order=order, big=big), "x")
    np.testing.assert_array_equal(image.pixels[..., 0], samples)
    assert image.pixels.dtype == (np.uint16 if bits == 16 else np.float32)
    assert (f"uint{bits} became float32" in image.notes) == (bits != 16)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float16", "float64"])
def test_what_becomes_float32_is_said(dtype: str) -> None:
    samples = (RNG.integers(-100, 100, (6, 5))).astype(dtype)
    kind = 2 if dtype.startswith("i") else 3
    tags = header(6, 5, samples.itemsize * 8, format=kind)
    image = decode_image(tiff(tags, samples.tobytes()), "x")
    np.testing.assert_array_equal(image.pixels[..., 0], samples.astype(np.float32))
    assert image.notes == (f"{dtype} became float32",)


@pytest.mark.parametrize(("dtype", "channels"), [("float32", 1), ("float32", 3), ("float64", 1), ("float16", 3)])
@pytest.mark.parametrize("planes", [1, 2])
def test_float_predictor(dtype: str, channels: int, planes: int) -> None:
    """TIFF Technical Note 3, written slowly: bytes by significance, then differences of bytes `channels` apart."""
    samples = RNG.normal(size=(6, 9, channels)).astype(dtype)

    def strip(part: np.ndarray) -> bytes:
        out = b""
        for row in part.reshape(len(part), -1).astype(f">{part.dtype.str[1:]}"):
            pixels = np.frombuffer(row.tobytes(), np.uint8).reshape(row.size, -1).T.reshape(-1)
            step = part.shape[2]
            out += bytes((int(b) - (int(pixels[n - step]) if n >= step else 0)) % 256 for n, b in enumerate(pixels))
        return zlib.compress(out)

    parts = [samples] if planes == 1 else [samples[..., n : n + 1] for n in range(channels)]
    tags = header(
        6, 9, samples.itemsize * 8, channels, 2 if channels == 3 else 1,
        compression=8, predictor=3, format=3, planes=planes,
    )  # fmt: skip
    image = decode_image(tiff(tags, *map(strip, parts)), "x")
    np.testing.assert_array_equal(image.pixels, samples.astype(np.float32))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_compressions_of_libtiff(compression: str, predictor: int) -> None:
    """16-bit RGB in the bytes of an 8-bit picture: Pillow compresses, the tags say what the bytes are."""
    if compression == "packbits" and predictor == 2:
        return  # not defined
    samples = (RNG.integers(0, 40, (8, 10, 3)) + 1000 * np.arange(10)[:, None]).astype(np.uint16)
    stored = samples.copy()
    if predictor == 2:
        stored[:, 1:] = samples[:, 1:] - samples[:, :-1]
    stream = io.BytesIO()
    Pillow.fromarray(stored.view(np.uint8).reshape(8, -1)).save(stream, "TIFF", compression=compression)
    with Pillow.open(stream) as picture:
        tags = picture.tag_v2
        number, start, length = tags[259], tags[273][0], tags[279][0]
    piece = stream.getvalue()[start : start + length]
    image = decode_image(tiff(header(8, 10, 16, 3, 2, compression=number, predictor=predictor), piece), "x")
    np.testing.assert_array_equal(image.pixels, samples)


def test_16_bit_cmyk_becomes_rgb() -> None:
    inks = RNG.integers(0, 65536, (7, 9, 4), np.uint16)
    image = decode_image(tiff(header(7, 9, 16, 4, 5), inks.tobytes()), "x")
    want = [
        [[((65535 - ink) * (65535 - pixel[3]) + 32767) // 65535 for ink in pixel[:3]] for pixel in row]
        for row in inks.tolist()
    ]
    assert image.pixels.tolist() == want
    assert any("CMYK became RGB" in note for note in image.notes)


@pytest.mark.parametrize("bits", [3, 6, 8, 16])
def test_palettes(bits: int) -> None:
    table = RNG.integers(0, 65536, (3, 1 << bits))
    indices = RNG.integers(0, 1 << bits, (5, 7))
    body = indices.astype(np.uint16).tobytes() if bits == 16 else packed(indices, bits)
    tags = header(5, 7, bits, 1, 3) | {320: tuple(table.ravel().tolist())}
    image = decode_image(tiff(tags, body), "x")
    want = table.T[indices] if bits == 16 else table.T[indices] >> 8
    np.testing.assert_array_equal(image.pixels, want)
    assert "palette became RGB" in image.notes


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_white_is_zero(bits: int) -> None:
    samples = RNG.integers(0, 1 << bits, (5, 6))
    body = samples.astype(np.uint16).tobytes() if bits == 16 else packed(samples, bits)
    image = decode_image(tiff(header(5, 6, bits, 1, 0), body), "x")
    black_is_zero = (1 << bits) - 1 - samples
    np.testing.assert_array_equal(image.pixels[..., 0], black_is_zero * 17 if bits == 4 else black_is_zero)


@pytest.mark.parametrize(("dtype", "photometric"), [
    ("uint8", 2), ("uint8", 1), ("uint16", 2), ("uint16", 1), ("float32", 2), ("float32", 1)
])  # fmt: skip
def test_premultiplied_colours_are_divided_and_rounded(dtype: str, photometric: int) -> None:
    top = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    channels = 4 if photometric == 2 else 2
    opacity = np.round(np.array([0, 0.5, 1, 0.2]) * top) if top > 1 else np.array([0, 0.5, 1, 0.2])
    colour = np.array([0, 0.3, 0.7, 0.1]) * top
    colour = np.floor(colour) if top > 1 else colour
    samples = np.stack([colour] * (channels - 1) + [opacity], axis=-1).astype(dtype)[None]
    tags = header(1, 4, samples.itemsize * 8, channels, photometric, format=3 if top == 1 else 1) | {338: 1}
    image = decode_image(tiff(tags, samples.tobytes()), "x")
    straight = np.divide(colour * top, opacity, out=np.zeros(4), where=opacity > 0)
    want = np.floor(straight + 0.5) if top > 1 else straight
    np.testing.assert_allclose(image.pixels[0, :, 0], want, rtol=1e-6)
    np.testing.assert_array_equal(image.alpha[0], samples[0, :, -1])
    assert image.notes == ("colours were stored premultiplied and were divided by alpha",)


def test_a_tile_that_is_cut_off_outside_the_picture() -> None:
    tile = np.zeros((16, 16), np.uint16)
    tile[:5, :7] = RNG.integers(0, 65536, (5, 7))
    tags = header(5, 7, 16) | {322: 16, 323: 16}
    for length in (16 * 32, 4 * 32 + 14):
        image = decode_image(tiff(tags, tile.tobytes()[:length]), "x")
        np.testing.assert_array_equal(image.pixels[..., 0], tile[:5, :7])
    with pytest.raises(InvalidInputError, match="truncated TIFF"):
        decode_image(tiff(tags, tile.tobytes()[: 4 * 32 + 13]), "x")


def test_a_piece_that_was_never_written_is_zero() -> None:
    samples = RNG.integers(1, 65536, (4, 6), np.uint16)
    image = decode_image(tiff(header(8, 6, 16, rows=4), samples.tobytes(), b""), "x")
    np.testing.assert_array_equal(image.pixels[:4, :, 0], samples)
    assert not image.pixels[4:].any()


def test_reversed_bits_in_a_byte() -> None:
    samples = RNG.integers(0, 4096, (5, 6))
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in packed(samples, 12))
    image = decode_image(tiff(header(5, 6, 12, fill=2), turned), "x")
    np.testing.assert_array_equal(image.pixels[..., 0], samples)


@pytest.mark.parametrize(("tags", "what"), [
    (header(4, 4, 64, format=6), "complex"),
    (header(4, 4, 24, format=3), "24-bit floats"),
    (header(4, 4, 20), "20-bit"),
    (header(4, 4, 8, compression=34887), "LERC"),
    (header(4, 4, 8, 3, 2, compression=50001), "WEBP"),
    (header(4, 4, 8, 3, 2, compression=34712), "JPEG2000"),
    (header(4, 4, 16, 3, 8), "L*a*b*"),
    (header(4, 4, 32, 3, 32845, format=3), "LogLuv"),
    (header(4, 4, 8, 65), "65 channels"),
    (header(4, 4, 8, 3, 2) | {258: (5, 6, 5)}, "different depth"),
    (header(4, 4, 32, 4, 5, format=3), "CMYK"),
    (header(4, 4, 12, format=2), "12-bit signed"),
    (header(4, 4, 8, predictor=9, compression=8), "predictor 9"),
])  # fmt: skip
def test_valid_kinds_without_a_decoder_are_not_called_damaged(tags: dict, what: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_image(tiff(tags, bytes(4096) if tags[259] == 1 else zlib.compress(bytes(4096))), "x")
    assert "not supported" in str(caught.value)
    assert what in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert "delete" not in caught.value.hint


@pytest.mark.parametrize(("tags", "pieces", "what"), [
    (header(4, 4, 16), (bytes(31),), "truncated"),
    (header(4, 4, 16, 3, 2, compression=8), (zlib.compress(bytes(95)),), "truncated"),
    (header(4, 4, 16, compression=8), (b"no deflate",), "damaged"),
    (header(4, 4, 16, compression=5), (b"\xff" * 9,), "damaged"),
    (header(4, 4, 16, rows=1), (bytes(8),), "truncated"),
    (header(9000, 9000, 16), (bytes(32),), "declares"),
    (header(9000, 9000, 16, 3, 2, compression=5), (bytes(32),), "declares"),
    (header(4, 4, 16) | {322: 65535, 323: 65535}, (bytes(32),), "damaged"),
    (header(4, 4, 16, 1, 3), (bytes(32),), "palette"),
    (header(4, 4, 16) | {256: (4, 4)}, (bytes(32),), "its header contradicts itself"),
])  # fmt: skip
def test_damage(tags: dict, pieces: tuple[bytes, ...], what: str) -> None:
    with pytest.raises(InvalidInputError, match=what):
        decode_image(tiff(tags, *pieces), "x")


def test_a_file_that_ends_before_its_directory() -> None:
    data = tiff(header(4, 4, 16), bytes(32))
    with pytest.raises(InvalidInputError, match=f"truncated or damaged TIFF .no directory in {len(data) - 120} B"):
        decode_image(data[:-120], "x")


def test_a_page_that_is_not_there() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, RNG.integers(0, 65536, (3, 20, 30), np.uint16), photometric="minisblack")
    data = stream.getvalue()
    assert decode_image(data, "x", frame=2).notes == ("picture 2 of 3, counted from 0",)
    assert decode_image(data, "x").notes == ("first of 3 pictures (--frame N takes another)",)
    with pytest.raises(CnnError, match="there is no picture 3: the file holds 3"):
        decode_image(data, "x", frame=3)
