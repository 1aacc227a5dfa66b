"""A decoder for each format: encoded bytes -> `Image`, not yet turned upright."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images.image import DecodeOptions, Header, Image, check_size, frame_notes, no_frame
from cnncli.io.images.npy import read_npy_image
from cnncli.io.images.pillow import pillow_planes, split_16_bit
from cnncli.io.images.png_chunks import check_png
from cnncli.io.images.pnm import read_pnm
from cnncli.io.images.tiff import exif as tiff_exif
from cnncli.io.images.tiff import read as tiff_read
from cnncli.io.images.tiff import samples as tiff_samples
from cnncli.io.images.tiff.libtiff import reported_errors

Decoder = Callable[[bytes, DecodeOptions], Image]


def unread(_data: bytes, options: DecodeOptions) -> Image:
    """Stand for the decoder of a format that is only written: no first bytes lead here."""
    raise InvalidInputError("is not read", where=options.where, hint="use another format")


def by_pillow(plugin: str) -> Decoder:
    """Return the decoder that is one of Pillow's classes, such as ``BmpImagePlugin.BmpImageFile``."""

    def decode(data: bytes, options: DecodeOptions) -> Image:
        picture = open_picture(plugin, data, options)
        notes = _seek(picture, options)
        pixels, alpha, more = pillow_planes(picture, options.where)
        return _described(picture, Image(pixels, alpha=alpha, notes=notes + more), options)

    return decode


def read_png(data: bytes, options: DecodeOptions) -> Image:
    """Decode a PNG; 16 bits per sample stay."""
    plugin = "PngImagePlugin.PngImageFile"
    opened = options.opened
    header = (opened or {}).get("header") or check_png(data, options.where, options.max_pixels)
    if opened is not None:
        opened["header"] = header
    if header.depth == 16:  # `split_16_bit` leaves a decoder that cannot go on
        options = replace(options, opened=None)
    picture = open_picture(plugin, data, options)
    notes = _seek(picture, options)
    if header.depth == 16:
        pixels, alpha, more = split_16_bit(picture, lambda: open_picture(plugin, data, options), options.frame or 0)
    else:
        pixels, alpha, more = pillow_planes(picture, options.where)
        if header.colour_type == 0:
            more += _scaling(header.depth)
    return _described(picture, Image(pixels, alpha=alpha, notes=notes + more), options)


def read_tiff(data: bytes, options: DecodeOptions) -> Image:
    """Decode a page of a TIFF by Pillow if that holds it bit for bit, else by tifffile."""
    with reported_errors() as damaged:
        image = _either_tiff(data, options)
    if damaged:
        image = image.noted(f"damaged data was met and repaired by libtiff ({damaged[0]}): parts may be wrong")
    return replace(image, exif=tiff_exif.exif_of(data, 1 if options.upright else image.orientation, options.frame or 0))


def read_one_pnm(data: bytes, options: DecodeOptions) -> Image:
    """Decode a PBM, PGM or PPM."""
    return _only_frame(read_pnm(data, options.where, options.max_pixels), options)


def read_one_npy(data: bytes, options: DecodeOptions) -> Image:
    """Decode an array (H, W) or (H, W, C) of NumPy."""
    return _only_frame(read_npy_image(data, options.where, options.max_pixels), options)


def _either_tiff(data: bytes, options: DecodeOptions) -> Image:
    image = None
    try:
        picture = open_picture("TiffImagePlugin.TiffImageFile", data, options)
        notes = _seek(picture, options)
        kept = tiff_read.pillow_keeps_all(picture)
    except CnnError:
        raise
    except Exception:  # a layout that Pillow does not know; what is really wrong, tifffile finds as well
        kept = False
    if kept:
        image = _pillow_tiff(picture, options.where, notes)
    if image is None:
        image = tiff_read.read_tiff(data, options)
    return image


def _pillow_tiff(picture: Any, where: str, notes: tuple[str, ...]) -> Image | None:
    """Return a TIFF as Pillow decodes it, not yet turned; None where it fails and there is another decoder."""
    tags = picture.tag_v2
    compression, bits = tiff_read.compression_of(picture), tags.get(258, (1,))
    tiff_read.check_compression(compression, where)
    orientation = tiff_exif.orientation_of(tags.get(tiff_exif.ORIENTATION), tags.get(700))
    # Pillow would turn the picture while it loads
    picture.load_end = lambda: None
    picture._size = picture._tile_size
    try:
        pixels, alpha, more = pillow_planes(picture, where)
    except CnnError:
        raise
    except Exception:
        if tiff_samples.readable(compression):
            return None
        raise
    if picture.mode == "L":
        more += _scaling(max(bits))
    image = Image(pixels, alpha=alpha, notes=notes + more + tiff_read.lossy_notes(picture), orientation=orientation)
    # Pillow keeps what other pages have named
    picture.info |= {"dpi": tiff_read.density_of(picture), "icc_profile": tags.get(tiff_read.ICC)}
    return _with_metadata(picture, image)


def _described(picture: Any, image: Image, options: DecodeOptions) -> Image:
    """Return `image` with all metadata that an opened picture names."""
    orientation, block, unread = _exif(picture, upright=options.upright)
    return replace(_with_metadata(picture, image), orientation=orientation, exif=block).noted(*unread)


def _with_metadata(picture: Any, image: Image) -> Image:
    """Return `image` with the profile, density and sampling that an opened picture names."""
    icc = picture.info.get("icc_profile") or None
    if picture.mode == "CMYK" and icc:
        icc = None
        image = image.noted("CMYK colour profile dropped")
    density = _density(picture.info.get("dpi"))
    return replace(image, mode=picture.mode, icc=icc, density=density, sampling=_sampling(picture))


def open_picture(plugin: str, data: bytes, options: DecodeOptions) -> Any:
    """Return the opened picture, its pixels not yet decoded.

    Raises
    ------
    InvalidInputError
        Too large; what `DecodeOptions.admit` refuses.
    """
    if options.opened is not None and plugin in options.opened:
        return options.opened[plugin]
    module, name = plugin.split(".")
    opener = getattr(importlib.import_module(f"PIL.{module}"), name)
    # `check_size` decides, and --max-pixels moves it
    setattr(importlib.import_module("PIL.Image"), "MAX_IMAGE_PIXELS", None)  # noqa: B010
    picture = opener(io.BytesIO(data))
    check_size(picture.width, picture.height, options.where, options.max_pixels)
    if options.admit is not None:
        options.admit(_header(picture))
    if options.opened is not None:
        options.opened[plugin] = picture
    return picture


def _header(picture: Any) -> Header:
    bands = picture.getbands()
    alpha = bands[-1] in ("A", "a") or "transparency" in picture.info
    channels = 3 if len(bands) >= 3 or picture.mode in ("P", "PA") else 1
    deep = picture.mode.startswith("I;16") or any(";16" in str(tile) for tile in picture.tile)
    dtype = "uint16" if deep else "float32" if picture.mode in ("F", "I") else "uint8"
    return Header((picture.height, picture.width, channels), dtype, alpha)


def _seek(picture: Any, options: DecodeOptions) -> tuple[str, ...]:
    frame = options.frame
    if not getattr(picture, "is_animated", False):
        if frame:
            raise no_frame(frame, 1, options.where)
        return ()
    count = picture.n_frames
    if frame is None:
        return frame_notes(None, count)
    if frame >= count:
        raise no_frame(frame, count, options.where)
    picture.seek(frame)
    check_size(picture.width, picture.height, options.where, options.max_pixels)
    return frame_notes(frame, count)


def _only_frame(image: Image, options: DecodeOptions) -> Image:
    if options.frame:
        raise no_frame(options.frame, 1, options.where)
    return image


def _scaling(depth: int) -> tuple[str, ...]:
    """Return what to say about gray of 2 or 4 bits, which every decoder spreads over 8."""
    return (f"{depth}-bit samples were scaled from 0..{(1 << depth) - 1} to 0..255",) if depth in (2, 4) else ()


def _exif(picture: Any, *, upright: bool) -> tuple[int, bytes | None, tuple[str, ...]]:
    """Return the stored orientation 1-8, the EXIF block to pass on, and notes.

    The block is the file's own, ImageMagick's text ("Raw profile type exif"), or made for an orientation that only XMP
    names. Where the picture will be turned upright its orientation is 1.
    """
    info = picture.info
    own = bool(info.get("exif") or info.get("Raw profile type exif"))
    if not own and not info.get("xmp") and not info.get("XML:com.adobe.xmp"):
        return 1, None, ()
    try:
        found = picture.getexif()
        value = found.get(tiff_exif.ORIENTATION, 1)
        if value not in range(2, 9):
            return 1, info.get("exif") or (found.tobytes() if own else None), ()
        if upright:
            found[tiff_exif.ORIENTATION] = 1
        block = found.tobytes() if own or not upright else None
        found[tiff_exif.ORIENTATION] = value  # the next picture of an animation is turned, too
        return value, block, ()
    except Exception:  # EXIF is written by many programs; the picture can be read without it
        return 1, None, ("EXIF cannot be read and was dropped",)


def _sampling(picture: Any) -> int | None:
    """Return 0, 1 or 2 for a JPEG of 4:4:4, 4:2:2 or 4:2:0; None for anything else."""
    if getattr(picture, "layers", 0) != 3 or [layer[1:3] for layer in picture.layer[1:]] != [(1, 1), (1, 1)]:
        return None
    return {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get(picture.layer[0][1:3])


def _density(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None
