"""A PNG writer for 8 and 16 bits whose strips are compressed by several threads.

Each strip of rows becomes a piece of one deflate stream, ended on a byte boundary so that the pieces can be
joined as they are (RFC 1951, section 3.2.4, as pigz does); the checksum of the whole is put together from those
of the strips (RFC 1950, section 9). zlib works without Python's lock, so the threads run at the same time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cnncli.io.images.png_chunks import SIGNATURE

_STRIP_BYTES = 1 << 20  # [B] raw: large enough that starting afresh costs under 1 % of size
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
_ADLER = 65_521
_INCH = 0.0254  # [m]
_NONE, _SUB, _UP = 0, 1, 2  # filter types, PNG chapter 9


def write_png(
    samples: NDArray,
    *,
    level: int,
    threads: int = 1,
    icc: bytes | None = None,
    density: tuple[float, float] | None = None,
    exif: bytes | None = None,
) -> bytearray:
    """Return a PNG file of (H, W, C) uint8 or uint16 samples.

    Parameters
    ----------
    samples : array (H, W, C)
        C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
    level : int
        zlib's 0 to 9, but 1 looks for runs of equal bytes only: the fastest, and after the row filters nearly as small.
    threads : int
        Strips compressed at the same time; the bytes do not depend on it.
    icc, exif : bytes, optional
        Kept as they are.
    density : (float, float), optional
        Pixels per inch.
    """
    height, width, channels = samples.shape
    out = bytearray(SIGNATURE)
    depth = 8 * samples.dtype.itemsize
    _chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0))
    if icc:
        _chunk(out, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if density:
        x, y = (max(round(value / _INCH), 1) for value in density)
        _chunk(out, b"pHYs", struct.pack(">IIB", x, y, 1))
    if exif:
        _chunk(out, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    checksum = 1
    first = struct.pack(">H", 0x7801)
    for piece, adler, length in _pieces(samples, level, threads):
        _chunk(out, b"IDAT", first, piece)
        first = b""
        checksum = _adler_join(checksum, adler, length)
    _chunk(out, b"IDAT", struct.pack(">I", checksum))
    _chunk(out, b"IEND")
    return out


def _pieces(samples: NDArray, level: int, threads: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (deflated bytes, Adler-32 of the raw bytes, raw length) of each strip, in order."""
    height = len(samples)
    rows = max(1, _STRIP_BYTES // (samples[0].nbytes + 1))
    tops = range(0, height, rows)

    def piece(top: int) -> tuple[bytes, int, int]:
        raw = _filtered(samples, top, min(top + rows, height))
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zlib.Z_RLE if level == 1 else zlib.Z_DEFAULT_STRATEGY)
        last = zlib.Z_FINISH if top + rows >= height else zlib.Z_SYNC_FLUSH
        return packer.compress(raw.data) + packer.flush(last), zlib.adler32(raw.data), raw.nbytes

    if threads == 1 or len(tops) == 1:
        yield from map(piece, tops)
        return
    with ThreadPoolExecutor(min(threads, len(tops))) as pool:
        yield from pool.map(piece, tops)


def _filtered(samples: NDArray, top: int, bottom: int) -> NDArray:
    """Return rows [top, bottom) as PNG wants them: a filter byte, then the bytes less their prediction.

    One filter type serves the strip: the one whose differences are smallest on every eighth row (the
    minimum-sum-of-absolutes rule of PNG section 12.8, over the strip instead of each row).
    """
    plain = _bytes(samples[top:bottom])
    above = np.empty_like(plain)
    above[0] = _bytes(samples[top - 1 : top])[0] if top else 0
    above[1:] = plain[:-1]
    step = samples.shape[2] * samples.dtype.itemsize
    out = np.empty((plain.shape[0], plain.shape[1] + 1), np.uint8)
    kind = _cheapest(plain, above, step)
    out[:, 0] = kind
    if kind == _UP:
        np.subtract(plain, above, out=out[:, 1:])
    elif kind == _SUB:
        out[:, 1 : 1 + step] = plain[:, :step]
        np.subtract(plain[:, step:], plain[:, :-step], out=out[:, 1 + step :])
    else:
        out[:, 1:] = plain
    return out.reshape(-1)


def _cheapest(plain: NDArray, above: NDArray, step: int) -> int:
    some, over = plain[::8], above[::8]
    left = some[:, step:] - some[:, :-step]
    costs = {_SUB: _cost(left) + _cost(some[:, :step]), _UP: _cost(some - over)}
    best = min(costs, key=lambda kind: costs[kind])
    # flat areas and line drawings compress better as they are: bytes repeat exactly
    return _NONE if _cost(some) <= costs[best] else best


def _cost(differences: NDArray) -> int:
    # the distance from 0 modulo 256
    return int(np.minimum(differences, np.uint8(0) - differences).sum(dtype=np.int64))


def _bytes(rows: NDArray) -> NDArray:
    """Return rows as (rows, bytes) with the high byte of 16-bit samples first."""
    big = np.ascontiguousarray(rows, rows.dtype.newbyteorder(">"))
    return big.view(np.uint8).reshape(len(rows), -1)


def _chunk(out: bytearray, kind: bytes, *bodies: bytes) -> None:
    out += struct.pack(">I", sum(map(len, bodies))) + kind
    checksum = zlib.crc32(kind)
    for body in bodies:
        out += body
        checksum = zlib.crc32(body, checksum)
    out += struct.pack(">I", checksum)


def _adler_join(first: int, second: int, length: int) -> int:
    """Return the Adler-32 of two runs of bytes from the Adler-32 of each; `length` is the second's."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return (high % _ADLER) << 16 | low % _ADLER
