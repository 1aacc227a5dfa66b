"""TIFF pages that Pillow does not hold as they are: beyond 8 bits, floats, signed, extra or premultiplied samples."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.images.colours import rgb_of_inks, straight
from cnncli.io.images.image import DecodeOptions, Image, check_size, frame_notes, no_frame
from cnncli.io.images.tiff import exif as tiff_exif
from cnncli.io.images.tiff.libtiff import codec_is_there
from cnncli.io.images.tiff.samples import read_samples, readable

# TIFF 6.0: tags
_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _EXTRA, _FORMAT = 258, 259, 262, 284, 338, 339
_X_RESOLUTION, _Y_RESOLUTION, _UNIT, _COLORMAP, _XMP, ICC = 282, 283, 296, 320, 700, 34675
_MAX_CHANNELS = 64
_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 2, 3, 5
# black is zero, RGB, palette, mask, colour filter array, linear raw: what needs no other formula
_PLAIN = {0: 1, 1: 1, _RGB: 3, _PALETTE: 1, 4: 1, _CMYK: 4, 32803: 1, 34892: 3}
_COLOUR_SPACES = {6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32844: "LogL", 32845: "LogLuv"}
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples
_INCH, _CENTIMETRE = 2, 3  # ResolutionUnit; 1 is a ratio of width and height
_ALPHA_ONLY = ((), (_STRAIGHT,), (999,))  # 999 is how Corel Draw writes alpha

# tifffile reports what it repairs through logging, which would reach the terminal
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def pillow_keeps_all(picture: Any) -> bool:
    """Whether Pillow holds an opened TIFF bit for bit: this alone decides which decoder is used.

    Pillow where nothing is lost, `read_tiff` elsewhere: Pillow halves 16-bit colours, leaves 16-bit negatives negative,
    takes signed samples for unsigned ones, drops unspecified channels, rounds premultiplied colours down, and mixes
    up planes that lie in tiles.
    """
    tags = picture.tag_v2
    if max(tags.get(_BITS, (1,))) > 8 or any(k not in (_UNSIGNED, _VOID) for k in tags.get(_FORMAT, (_UNSIGNED,))):
        return False
    doubtful = tuple(tags.get(_EXTRA, ())) not in _ALPHA_ONLY or tags.get(_PLANES, 1) == 2
    # only Pillow decodes JPEG inside TIFF and YCbCr: `lossy_notes` lists what is lost
    return not (doubtful and tags.get(_PHOTOMETRIC, 0) in _PLAIN and readable(compression_of(picture)))


def lossy_notes(picture: Any) -> tuple[str, ...]:
    """Return what Pillow changes in a TIFF that no other decoder reads."""
    extra = tuple(picture.tag_v2.get(_EXTRA, ()))
    if extra in _ALPHA_ONLY:
        return ()
    notes = ("colours were stored premultiplied and were divided by alpha",) if _PREMULTIPLIED in extra else ()
    dropped = len(extra) - (extra[0] in (_PREMULTIPLIED, _STRAIGHT))
    return notes + ((f"{dropped} extra channels dropped",) if dropped else ())


def compression_of(picture: Any) -> int:
    """Return the number of the compression of an opened TIFF."""
    return int(picture.tag_v2.get(_COMPRESSION, 1))


def density_of(picture: Any) -> tuple[float, float] | None:
    """Return the pixels per inch of the page at which an opened TIFF stands."""
    tags = picture.tag_v2
    per_inch = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(tags.get(_UNIT, _INCH))
    x, y = (tags.get(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    return None if per_inch is None or x is None or y is None else (float(x) * per_inch, float(y) * per_inch)


def read_tiff(data: bytes, options: DecodeOptions) -> Image:
    """Decode one page of a TIFF; its `orientation` is as stored.

    Raises
    ------
    InvalidInputError
        Damaged, too large, or a kind that is not read: complex samples, a colour space or a compression without a
        decoder.
    """
    where, frame = options.where, options.frame
    file = _opened(data, options)
    count = len(file.pages)
    if not count:
        message = f"truncated or damaged TIFF (no directory in {len(data)} B)"
        raise InvalidInputError(message, where=where, hint="delete it or fetch it again")
    if (frame or 0) >= count:
        raise no_frame(frame or 0, count, where)
    page = file.pages[frame or 0].aspage()
    check_size(page.imagewidth, page.imagelength, where, options.max_pixels)
    _check_kind(page, where)
    stored = read_samples(page, data, where)
    samples, more = _numbers(page, stored, where)
    pixels, alpha, colour_notes = _colours(page, samples, where)
    icc = page.tags.get(ICC)
    orientation = tiff_exif.orientation_of(*(page.tags.valueof(tag) for tag in (tiff_exif.ORIENTATION, _XMP)))
    has_density = _X_RESOLUTION in page.tags and page.tags.valueof(_UNIT, default=_INCH) in (_INCH, _CENTIMETRE)
    resolution = page.get_resolution("inch") if has_density else (0.0, 0.0)
    return Image(
        pixels,
        mode=f"TIFF {page.dtype} x {page.samplesperpixel}",
        alpha=alpha,
        icc=bytes(icc.value) if icc is not None and page.photometric != _CMYK else None,
        density=resolution if min(resolution) > 0 else None,
        notes=frame_notes(frame, count) + more + colour_notes,
        orientation=orientation,
    )


def count_pages(data: bytes, options: DecodeOptions) -> int:
    """Return how many pages a TIFF holds, of any kind."""
    return len(_opened(data, options).pages)


def _opened(data: bytes, options: DecodeOptions) -> Any:
    """Return the file with the table of its pages, which holds no system resource."""
    from tifffile import TiffFile

    if options.opened is None:
        return TiffFile(io.BytesIO(data))
    if "tifffile" not in options.opened:
        options.opened["tifffile"] = TiffFile(io.BytesIO(data))
    return options.opened["tifffile"]


def unsupported(what: str, where: str, hint: str) -> InvalidInputError:
    """Return the error for a valid TIFF of a kind that is not read."""
    return InvalidInputError(f"this kind of TIFF is not supported: {what}", where=where, hint=hint)


def check_compression(compression: int, where: str) -> None:
    """Refuse a compression that no decoder here knows, by its name.

    Raises
    ------
    InvalidInputError
        No decoder for it.
    """
    if compression == 1 or codec_is_there(compression):
        return
    raise unsupported(f"{_compression_name(compression)} compression", where, "store it with deflate, LZW or none")


def _compression_name(compression: int) -> str:
    from tifffile import COMPRESSION

    try:
        return COMPRESSION(compression).name
    except ValueError:
        return f"unknown ({compression})"


def _check_kind(page: Any, where: str) -> None:
    """Refuse what `read_samples` and `_colours` have no rule for."""
    compression, photometric = int(page.compression), int(page.photometric)
    bits, kind = page.bitspersample, page.sampleformat
    if page.samplesperpixel > _MAX_CHANNELS:
        what, hint = f"{page.samplesperpixel} channels", f"store at most {_MAX_CHANNELS}"
    elif not isinstance(bits, int) or not isinstance(kind, int):
        what, hint = f"channels of different depth ({bits} bits)", "store the same number of bits in every channel"
    elif int(kind) not in (_UNSIGNED, _SIGNED, _FLOAT, _VOID):
        what, hint = "complex samples", "store real and imaginary part as two channels of float32"
    elif int(kind) == _FLOAT and bits not in (16, 32, 64):
        what, hint = f"{bits}-bit floats", "store float32"
    elif not (1 <= bits <= 16 or bits in (24, 32, 64)):
        what, hint = f"{bits}-bit samples", "store 8, 16 or 32 bits"
    elif not readable(compression):
        name = _compression_name(compression)
        what = f"{name} compression of {page.samplesperpixel} channels of {bits} bits"
        hint = "store it with deflate, LZW or none"
    elif photometric not in _PLAIN:
        what, hint = f"colour space {_COLOUR_SPACES.get(photometric, photometric)}", "convert it to RGB or gray"
    elif page.imagedepth > 1:
        what, hint = f"a volume of {page.imagedepth} slices", "store each slice as a page"
    elif int(page.predictor) not in (1, 2, 3) or (int(page.predictor) == 3 and int(kind) != _FLOAT):
        what, hint = f"predictor {int(page.predictor)} of {bits}-bit samples", "store it without a predictor"
    else:
        return
    raise unsupported(what, where, hint)


def _numbers(page: Any, stored: NDArray, where: str) -> tuple[NDArray, tuple[str, ...]]:
    """Return uint8, uint16 or float32 of the stored bits, and what was converted."""
    bits, kind = page.bitspersample, int(page.sampleformat)
    if kind == _FLOAT:
        values = stored.view(f"f{bits // 8}")
        if bits == 32:
            return values, ()
        with np.errstate(over="ignore"):  # beyond float32: infinity, which is refused with its place
            return values.astype(np.float32), (f"float{bits} became float32",)
    if kind == _SIGNED:
        if bits not in (8, 16, 32, 64):
            raise unsupported(f"{bits}-bit signed samples", where, "store 8, 16 or 32 bits")
        return stored.view(f"i{bits // 8}").astype(np.float32), (f"int{bits} became float32",)
    if bits > 16:
        return stored.astype(np.float32), (f"uint{bits} became float32",)
    if page.photometric == _PALETTE or bits in (8, 16):
        return stored, ()
    top = (1 << bits) - 1
    if bits > 8:
        return stored, (f"samples run from 0 to {top} and are kept so",)
    scaled = (stored.astype(np.uint16) * 255 + top // 2) // top
    return scaled.astype(np.uint8), (f"{bits}-bit samples were scaled from 0..{top} to 0..255",)


def _colours(page: Any, samples: NDArray, where: str) -> tuple[NDArray, NDArray | None, tuple[str, ...]]:
    """Return (pixels, alpha, notes): colours by the photometric interpretation, and the channel that is opacity."""
    photometric = int(page.photometric)
    base = _PLAIN[photometric]
    if page.samplesperpixel < base:
        raise unsupported(f"{page.samplesperpixel} channels of colour space {photometric}", where, "convert it to RGB")
    extra = [int(kind) for kind in page.extrasamples]
    notes: tuple[str, ...] = ()
    if photometric == _RGB and page.samplesperpixel == 4 and not extra:
        extra, notes = [_STRAIGHT], ("the fourth channel has no description and was taken for alpha",)
    extra += [0] * (page.samplesperpixel - base - len(extra))
    place = next((base + n for n, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _STRAIGHT)), None)
    alpha = None
    if place is not None and place < page.samplesperpixel:
        alpha = np.ascontiguousarray(samples[..., place])
        samples = np.delete(samples, place, axis=2)
        if extra[place - base] == _PREMULTIPLIED:
            samples = straight(samples, alpha)
            notes += ("colours were stored premultiplied and were divided by alpha",)
    if photometric == _WHITE_IS_ZERO:
        samples = _inverted(page, samples)
    elif photometric == _PALETTE:
        samples = _looked_up(page, samples, where)
        notes += ("palette became RGB",)
    elif photometric == _CMYK:
        if samples.dtype.kind != "u":
            raise unsupported("CMYK of floats", where, "convert it to RGB")
        rgb = rgb_of_inks(samples[..., :4])
        samples = np.concatenate([rgb, samples[..., 4:]], axis=2) if samples.shape[2] > 4 else rgb
        top = np.iinfo(samples.dtype).max
        notes += (f"CMYK became RGB by ({top} - ink)({top} - K) / {top}",)
        notes += ("CMYK colour profile dropped",) if ICC in page.tags else ()
    return np.ascontiguousarray(samples), alpha, notes


def _inverted(page: Any, samples: NDArray) -> NDArray:
    """Return the first channel with black at 0; floats have no largest number and stay."""
    if samples.dtype.kind != "u":
        return samples
    top = (1 << page.bitspersample) - 1 if page.bitspersample > 8 else 255
    out = samples.copy()
    out[..., 0] = top - samples[..., 0]
    return out


def _looked_up(page: Any, samples: NDArray, where: str) -> NDArray:
    """Return RGB of indices: uint8 for up to 8 bits, as everywhere else, and uint16 for 16."""
    tag = page.tags.get(_COLORMAP)
    table: NDArray = np.zeros(0, np.uint16) if tag is None else np.asarray(tag.value, np.uint16)
    if samples.dtype.kind != "u" or table.size != 3 << page.bitspersample:
        message = f"damaged TIFF (palette of {table.size} numbers for {page.bitspersample} bits)"
        raise InvalidInputError(message, where=where, hint="write it again")
    if page.bitspersample <= 8:
        table = (table >> 8).astype(np.uint8) if table.max() > 255 else table.astype(np.uint8)
    rgb = table.reshape(3, -1).T[samples[..., 0]]
    return np.concatenate([rgb, samples[..., 1:].astype(rgb.dtype)], axis=2) if samples.shape[2] > 1 else rgb
