"""Samples out of an opened Pillow picture: every mode to gray or RGB and an optional alpha plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.colours import rgb_of_inks

_STRIP = 64  # [rows] copied at once: stays in cache, and no second copy of the whole picture is ever made
_SMALL = 1_000_000  # [px] not worth strips
_NATIVE_16 = ("I;16", "I;16L", "I;16B", "I;16N")


def pillow_array(picture: Any) -> NDArray:
    """Return the samples of a loaded 8-bit picture as (H, W, C) of uint8, copied once; they may be read-only."""
    width, height = picture.size
    if width * height < _SMALL:
        return np.asarray(picture).reshape(height, width, -1)
    out = np.empty((height, width, len(picture.getbands())), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        strip = np.asarray(picture.crop((0, top, width, bottom)))
        out[top:bottom] = strip.reshape(bottom - top, width, -1)
    return out


def pillow_planes(picture: Any, where: str) -> tuple[NDArray, NDArray | None, tuple[str, ...]]:
    """Return (pixels (H, W, C), alpha (H, W) or None, notes) of a picture by the table of `decode`.

    Raises
    ------
    InvalidInputError
        A colour space without a documented conversion (LAB, HSV).
    """
    picture.load()
    mode = picture.mode
    transparent = picture.info.get("transparency")
    if mode in ("L", "RGB"):
        return _keyed(pillow_array(picture), transparent)
    if mode in ("LA", "RGBA"):
        both = pillow_array(picture)
        return np.ascontiguousarray(both[..., :-1]), np.ascontiguousarray(both[..., -1]), ()
    if mode == "1":
        return pillow_array(picture.convert("L")), None, ("1 bit became gray 0 and 255",)
    if mode in ("P", "PA"):
        return _from_palette(picture, transparent)
    if mode == "CMYK":
        note = "CMYK became RGB by (255 - ink)(255 - K) / 255"
        return rgb_of_inks(pillow_array(picture)), None, (note,)
    if mode in _NATIVE_16:
        return _keyed(np.asarray(picture).astype(np.uint16)[..., None], transparent)
    if mode in ("F", "I"):
        notes = () if mode == "F" else ("32-bit integers became float32",)
        return np.asarray(picture).astype(np.float32)[..., None], None, notes
    if mode in ("YCbCr", "RGBX"):
        return pillow_array(picture.convert("RGB")), None, (f"{mode} became RGB",)
    raise InvalidInputError(
        f"colour space {mode} is not supported", where=where, hint="convert the file to RGB or gray"
    )


def split_16_bit(
    picture: Any, reopen: Callable[[], Any], frame: int
) -> tuple[NDArray, NDArray | None, tuple[str, ...]]:
    """Return (pixels, alpha, notes) of a 16-bit PNG, whose decoder would drop the low byte of each colour sample.

    Pillow keeps 16-bit gray but reads 16-bit colour with unpackers that take one byte of each pair: naming the
    unpacker of the other byte order takes the other byte. Decoding twice gives both, exactly.

    Parameters
    ----------
    picture : PIL.PngImagePlugin.PngImageFile
        Opened, positioned at its frame, not loaded.
    reopen : callable
        Opens it again.
    frame : int
        Which picture of the file.
    """
    (tile,) = picture.tile
    rawmode = tile.args if isinstance(tile.args, str) else tile.args[0]
    if picture.mode in _NATIVE_16:
        picture.load()
        return _keyed(np.asarray(picture).astype(np.uint16)[..., None], picture.info.get("transparency"))
    if rawmode == "LA;16B":  # four bytes per pixel, big-endian: read them as they are
        _read_as(picture, "RGBA", "RGBA")
        both = pillow_array(picture).view(">u2").astype(np.uint16)
        return both[..., :1].copy(), both[..., 1].copy(), ()
    colours, order = rawmode.split(";16")
    other = reopen()
    if frame:
        other.seek(frame)
    _read_as(other, colours, f"{colours};16{'L' if order == 'B' else 'B'}")
    picture.load()
    pixels = pillow_array(picture).astype(np.uint16)
    pixels <<= 8
    pixels |= pillow_array(other)
    if colours == "RGBA":
        return pixels[..., :3].copy(), pixels[..., 3].copy(), ()
    return _keyed(pixels, picture.info.get("transparency"))


def _read_as(picture: Any, mode: str, rawmode: str) -> None:
    (tile,) = picture.tile
    arguments = rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:])
    picture.tile = [tile._replace(args=arguments)]
    picture._mode = mode
    picture.load()


def _from_palette(picture: Any, transparent: Any) -> tuple[NDArray, NDArray | None, tuple[str, ...]]:
    if transparent is None and picture.mode == "P" and picture.palette.mode != "RGBA":
        table = np.frombuffer(picture.palette.tobytes(), np.uint8).reshape(-1, 3)
        if (table == table[:, :1]).all():
            return pillow_array(picture.convert("L")), None, ("gray palette became gray",)
        return pillow_array(picture.convert("RGB")), None, ("palette became RGB",)
    both = pillow_array(picture.convert("RGBA"))
    pixels, alpha = np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])
    return pixels, alpha, ("palette with transparency became RGB and alpha",)


def _keyed(pixels: NDArray, transparent: Any) -> tuple[NDArray, NDArray | None, tuple[str, ...]]:
    """Return the pixels, and alpha for a PNG whose tRNS names one colour as transparent."""
    if transparent is None or isinstance(transparent, bytes):
        return pixels, None, ()
    top = np.iinfo(pixels.dtype).max
    match = (pixels == np.asarray(transparent, pixels.dtype)).all(axis=-1)
    alpha = np.where(match, 0, top).astype(pixels.dtype)
    colour = ", ".join(map(str, np.atleast_1d(transparent)))
    return pixels, alpha, (f"the transparent colour ({colour}) became alpha",)
