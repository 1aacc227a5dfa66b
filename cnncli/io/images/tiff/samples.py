"""Strips and tiles of a TIFF -> one array: every depth, layout, byte order and predictor.

Pillow holds 8 bits per sample and drops what is beyond them, so wider samples are put together here. Compressions that
work on bytes go through libtiff as if the bytes were a gray picture; its own conversions never see the samples.

Adobe, TIFF revision 6.0, sections 7, 8, 14, 15; Adobe, TIFF Technical Note 3 (floating-point predictor), 2005.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.tiff.libtiff import codec_is_there

_STORED, _DEFLATE = (1,), (8, 32946)
# LZW, PackBits, LZMA, Zstandard
_BY_LIBTIFF = (5, 32773, 34925, 50000)
_PREDICTED = (5, 8, 32946, 34925, 50000)  # the others ignore the tag, as libtiff does
# what one byte can become at most; stored files may leave pieces out, the others have no useful bound
_EXPANSION = {1: 1100, 8: 1100, 32946: 1100, 5: 3000, 32773: 65}
_ROWS_OF_BITS = 1 << 20  # samples unpacked at once: each takes a byte for every bit
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(256, 8)[:, ::-1])


@dataclass(frozen=True)
class _Layout:
    """How the samples of one page lie in its file."""

    shape: tuple[int, int, int]  # height, width, channels
    piece: tuple[int, int]  # rows and columns of a strip or tile
    tiled: bool
    planar: bool
    bits: int
    order: str
    compression: int
    predictor: int
    reversed: bool
    where: str


def readable(compression: int) -> bool:
    """Whether `read_samples` decodes a compression, by its number in the file."""
    return compression in _STORED + _DEFLATE or (compression in _BY_LIBTIFF and codec_is_there(compression))


def read_samples(page: Any, data: bytes, where: str) -> NDArray:
    """Decode the samples of one page.

    Parameters
    ----------
    page : tifffile.TiffPage
        Its tags, checked: one number of bits for all channels, a size that was allowed.
    data : bytes
        The complete file.

    Returns
    -------
    array (H, W, C)
        Unsigned integers of 8, 16, 32 or 64 bits as stored, the smallest type that holds them; floats and signed
        integers are not yet distinguished.

    Raises
    ------
    InvalidInputError
        Truncated, or or declaring more samples than its data can fill.
    """
    layout = _layout(page, where)
    _check_size(layout, len(data))
    height, width, _ = layout.shape
    rows, columns = layout.piece
    out = np.zeros(layout.shape, _holder(layout.bits))  # pieces that were never written are 0 (GDAL's sparse files)
    places = list(_places(layout))
    if min(len(page.dataoffsets), len(page.databytecounts)) < len(places):
        raise _truncated(f"{len(places)} strips or tiles expected, {len(page.dataoffsets)} listed", where)
    for number, (plane, top, left) in enumerate(places):
        offset, count = int(page.dataoffsets[number]), int(page.databytecounts[number])
        if count == 0:
            continue
        if offset + count > len(data) and offset >= len(data):
            raise _truncated(f"strip or tile {number} at byte {offset}, file has {len(data)} B", where)
        kept = min(rows, height - top), min(columns, width - left)
        samples = _piece(data[offset : offset + count], layout, kept)
        out[top : top + kept[0], left : left + kept[1], plane] = samples[: kept[0], : kept[1]]
    return out


def _layout(page: Any, where: str) -> _Layout:
    tiled = bool(page.is_tiled)
    size = (page.imagelength, page.imagewidth)
    piece = (page.tilelength, page.tilewidth) if tiled else (min(page.rowsperstrip or size[0], size[0]), size[1])
    if min(piece) < 1 or piece[0] * piece[1] > 16 * max(size[0] * size[1], 1 << 20):
        raise InvalidInputError(
            f"damaged TIFF (strips or tiles of {piece[1]}x{piece[0]})", where=where, hint="write it again"
        )
    return _Layout(
        shape=(*size, page.samplesperpixel),
        piece=piece,
        tiled=tiled,
        planar=page.planarconfig == 2 and page.samplesperpixel > 1,
        bits=page.bitspersample,
        order=page.parent.byteorder,
        compression=int(page.compression),
        predictor=int(page.predictor) if int(page.compression) in _PREDICTED else 1,
        reversed=page.fillorder == 2,
        where=where,
    )


def _check_size(layout: _Layout, size: int) -> None:
    """Refuse a size that the data cannot fill, before anything is allocated for it."""
    height, width, channels = layout.shape
    declared = ceil(height * width * channels * layout.bits / 8)
    if layout.compression in _EXPANSION and declared > _EXPANSION[layout.compression] * size:
        message = f"TIFF header declares {declared} B of samples, the file has {size} B"
        raise InvalidInputError(message, where=layout.where, hint="delete it or fetch it again")


def _places(layout: _Layout) -> Iterator[tuple[slice, int, int]]:
    """Yield (channels, top row, left column) of every strip or tile in the order of the file."""
    height, width, channels = layout.shape
    planes = [slice(plane, plane + 1) for plane in range(channels)] if layout.planar else [slice(0, channels)]
    for plane in planes:
        for top in range(0, height, layout.piece[0]):
            for left in range(0, width, layout.piece[1]):
                yield plane, top, left


def _piece(raw: bytes, layout: _Layout, kept: tuple[int, int]) -> NDArray:
    """Return the samples (rows, columns, channels) of one strip or tile; `kept` of them lie inside the picture."""
    channels = 1 if layout.planar else layout.shape[2]
    rows = layout.piece[0] if layout.tiled else kept[0]
    columns = layout.piece[1]
    stride = ceil(columns * channels * layout.bits / 8)
    if layout.reversed:
        raw = _REVERSED[np.frombuffer(raw, np.uint8)].tobytes()
    unpacked = _decompressed(raw, layout.compression, rows, stride)
    # what is missing outside the picture is not missed
    needed = (kept[0] - 1) * stride + ceil(kept[1] * channels * layout.bits / 8)
    if len(unpacked) < needed:
        raise _truncated(f"a strip or tile has {len(unpacked)} B of {needed} B", layout.where)
    unpacked = unpacked[: rows * stride].ljust(rows * stride, b"\0")
    packed = np.frombuffer(unpacked, np.uint8).reshape(rows, stride)
    if layout.predictor == 3:
        return _float_predicted(packed, channels, layout.bits).reshape(rows, columns, channels)
    samples = _unpacked(packed, columns * channels, layout).reshape(rows, columns, channels)
    if layout.predictor == 2:  # differences to the pixel on the left, modulo the type
        samples = np.cumsum(samples, axis=1, dtype=samples.dtype)
    return samples


def _decompressed(raw: bytes, compression: int, rows: int, stride: int) -> bytes:
    if compression in _STORED:
        return raw
    if compression in _DEFLATE:
        return zlib.decompressobj().decompress(raw, rows * stride)
    from PIL.TiffImagePlugin import TiffImageFile

    # 8-bit gray, one strip: TIFF 6.0, section 4
    tags = ((256, stride), (257, rows), (258, 8), (259, compression), (262, 1), (273, 122), (277, 1), (278, rows))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags, (279, len(raw))))
    picture = TiffImageFile(io.BytesIO(struct.pack("<2sHIH", b"II", 42, 8, 9) + entries + bytes(4) + raw))
    picture.load()
    return picture.tobytes()


def _unpacked(packed: NDArray, count: int, layout: _Layout) -> NDArray:
    """Return (rows, count) unsigned integers from rows of bytes."""
    bits = layout.bits
    if bits in (8, 16, 32, 64):
        return packed.view(f"{layout.order}u{bits // 8}").astype(_holder(bits), copy=False)
    if bits == 24:
        low = packed.reshape(len(packed), count, 3).astype(np.uint32)
        if layout.order == "<":
            low = low[..., ::-1]
        return low[..., 0] << 16 | low[..., 1] << 8 | low[..., 2]
    out = np.empty((len(packed), count), _holder(bits))
    step = max(_ROWS_OF_BITS // count, 1)
    for top in range(0, len(packed), step):  # the highest bit comes first, whatever the byte order
        planes = np.unpackbits(packed[top : top + step], axis=1, count=count * bits).reshape(-1, count, bits)
        part = out[top : top + step]
        part[...] = 0
        for bit in range(bits):
            part <<= 1
            part |= planes[..., bit]
    return out


def _float_predicted(packed: NDArray, channels: int, bits: int) -> NDArray:
    """Undo predictor 3: the bytes of a row are sorted by significance, then stored as differences."""
    rows, stride = packed.shape
    plain = np.cumsum(packed.reshape(rows, -1, channels), axis=1, dtype=np.uint8)
    size = bits // 8
    sorted_back = np.ascontiguousarray(plain.reshape(rows, size, stride // size).swapaxes(1, 2))
    return sorted_back.reshape(rows, stride).view(f">u{size}").astype(_holder(bits))


def _holder(bits: int) -> np.dtype:
    """Return the smallest unsigned type of `bits`."""
    return np.dtype(next(f"u{size}" for size in (1, 2, 4, 8) if 8 * size >= bits))


def _truncated(found: str, where: str) -> InvalidInputError:
    return InvalidInputError(f"truncated TIFF ({found})", where=where, hint="delete it or fetch it again")
