"""All pictures of an animation or stack: how many there are, how long each is shown, and files of several pictures."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.images.decoders import open_picture
from cnncli.io.images.encode import obstacle
from cnncli.io.images.encoders import metadata_of
from cnncli.io.images.formats import sniff
from cnncli.io.images.image import DecodeOptions, EncodeOptions, Image
from cnncli.io.images.tiff.exif import with_exif
from cnncli.io.images.tiff.read import count_pages

ANIMATED = ("GIF", "PNG", "WEBP", "TIFF")  # formats of several pictures
_PLUGINS = {
    "GIF": "GifImagePlugin.GifImageFile",
    "PNG": "PngImagePlugin.PngImageFile",
    "WEBP": "WebPImagePlugin.WebPImageFile",
    "TIFF": "TiffImagePlugin.TiffImageFile",
}


@dataclass(frozen=True)
class Timing:
    """How an animation runs.

    Parameters
    ----------
    durations : tuple of float
        Of each picture [ms]; 0 where the file does not say.
    loop : int, optional
        How often it is repeated, 0 for ever; None where the file does not say.
    """

    durations: tuple[float, ...]
    loop: int | None = None

    def __len__(self) -> int:
        return len(self.durations)


def count_pictures(data: bytes, options: DecodeOptions) -> int:
    """Return how many pictures a file holds.

    Raises
    ------
    InvalidInputError
        Not an image, or damaged.
    """
    name = sniff(data, options.where)
    if name not in _PLUGINS:
        return 1
    try:
        return int(getattr(open_picture(_PLUGINS[name], data, options), "n_frames", 1))
    except (MemoryError, CnnError):
        raise
    except Exception as error:  # decoders raise many types
        if name == "TIFF":  # of a kind that Pillow does not open
            return count_pages(data, options)
        raise InvalidInputError(f"its pictures cannot be counted ({error})", where=options.where) from None


def time_shown(name: str, number: int, options: DecodeOptions) -> float:
    """Return how long a picture of an animation is shown [ms], 0 where the file does not say; it is decoded already."""
    picture = (options.opened or {}).get(_PLUGINS.get(name, ""))
    if picture is None or name == "TIFF":
        return 0.0
    picture.seek(number)  # of 16 bits: decoded by another reader
    return float(picture.info.get("duration", 0) or 0)


def repetitions(name: str, options: DecodeOptions) -> int | None:
    """Return how often an animation is repeated, 0 for ever; None where the file does not say."""
    picture = (options.opened or {}).get(_PLUGINS.get(name, ""))
    found = None if picture is None else picture.info.get("loop")
    return found if isinstance(found, int) else None


def alike(images: Sequence[Image]) -> list[Image]:
    """Return pictures of one animation with the same channels: decoders give the first one of a gray GIF as gray only.

    Gray where every colour of every picture is gray; with opacity where one of them has some that is not full.
    """
    tops = [np.iinfo(i.pixels.dtype).max if i.pixels.dtype.kind == "u" else 1 for i in images]
    opaque = all(i.alpha is None or bool((i.alpha >= top).all()) for i, top in zip(images, tops, strict=True))
    found = list(images)
    if len({image.pixels.shape[2] for image in images}) > 1 and {i.pixels.shape[2] for i in images} == {1, 3}:
        is_gray = all(bool((i.pixels == i.pixels[..., :1]).all()) for i in images)
        found = [
            replace(i, pixels=i.pixels[..., :1] if is_gray else i.pixels[..., [0, min(1, last), min(2, last)]])
            for i in images
            for last in [i.pixels.shape[2] - 1]
        ]
    if len({i.alpha is None for i in images}) > 1 and not opaque:
        return [
            i if i.alpha is not None else replace(i, alpha=np.full(i.pixels.shape[:2], top, i.pixels.dtype))
            for i, top in zip(found, tops, strict=True)
        ]
    return [replace(i, alpha=None) for i in found] if len({i.alpha is None for i in images}) > 1 else found


def animation_obstacle(format: str, dtype: np.dtype, channels: int, alpha: bool) -> str:
    """Return why a format cannot hold several such pictures, or an empty text; colours of a GIF become a palette."""
    if format not in ANIMATED:
        return f"{format} holds one picture"
    if format == "PNG" and dtype != np.uint8:
        return f"an animated PNG holds 8 bits, the result is {dtype.name}"
    return obstacle(format, dtype, 1 if format == "GIF" and channels == 3 else channels, alpha)


def encode_animation(
    images: Sequence[Image], format: str, timing: Timing, options: EncodeOptions
) -> tuple[bytes | bytearray, tuple[str, ...]]:
    """Return the bytes of a file with all pictures, and notes on what was narrowed.

    The pictures must have one size and `animation_obstacle` none. Profile, EXIF block and density of the first one go
    along where the format has a place for them; each page of a TIFF has its own.
    """
    if format == "TIFF":
        return _pages(images, options), ()
    importlib.import_module(f"PIL.{_PLUGINS[format].split('.')[0]}")  # registers the encoder
    settings: dict[str, Any] = {"duration": [round(duration) for duration in timing.durations]}
    if timing.loop is not None:
        settings["loop"] = timing.loop
    notes: tuple[str, ...] = ()
    is_reduced = format == "GIF" and images[0].pixels.shape[2] == 3
    if format == "GIF":
        settings |= {"disposal": 2, "optimize": False}
        notes += ("colours of a GIF: each picture has a palette of up to 256",) if is_reduced else ()
        notes += ("a GIF holds no colour profile",) if images[0].icc else ()
    elif format == "WEBP":
        settings |= {"lossless": options.quality == 100, "quality": options.quality, "exact": True}
        settings |= metadata_of(images[0])
    else:
        settings |= {"compress_level": options.level, "blend": 0, **metadata_of(images[0])}
    stream = io.BytesIO()
    first, others = _Pictures(images[:1], is_reduced)[0], _Pictures(images[1:], is_reduced)
    first.save(stream, format, save_all=True, append_images=others, **settings)
    return stream.getvalue(), notes


class _Pictures(Sequence[Any]):
    """Pictures of Pillow, each made when the encoder asks for it."""

    def __init__(self, images: Sequence[Image], is_reduced: bool) -> None:
        self.images, self.is_reduced = images, is_reduced

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Any) -> Any:
        from PIL.Image import fromarray

        picture = fromarray(_samples(self.images[place]))
        return picture.quantize(256) if self.is_reduced else picture


def _pages(images: Sequence[Image], options: EncodeOptions) -> bytes | bytearray:
    from tifffile import TiffWriter

    stream = io.BytesIO()
    with TiffWriter(stream) as writer:
        for image in images:
            colours = 3 if image.pixels.shape[2] == 3 else 1
            extra = ["unspecified"] * (image.pixels.shape[2] - colours) + ["unassalpha"] * (image.alpha is not None)
            writer.write(
                _samples(image),
                photometric="rgb" if colours == 3 else "minisblack",
                planarconfig="contig" if colours == 3 or extra else None,
                compression="zlib" if options.level else None,
                compressionargs={"level": options.level} if options.level else None,
                extrasamples=extra or None,
                iccprofile=image.icc,
                resolution=image.density,
                resolutionunit="INCH" if image.density else None,
                contiguous=False,
                metadata=None,
            )
    return with_exif(stream.getvalue(), [image.exif for image in images])


def _samples(image: Image) -> NDArray:
    samples = image.pixels
    if image.alpha is not None:
        samples = np.concatenate([samples, image.alpha[..., None]], axis=2)
    return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def check_total(count: int, image: Image, max_pixels: int, where: str) -> None:
    """Refuse more pixels in all pictures together than in one allowed picture.

    Raises
    ------
    InvalidInputError
        With both numbers.
    """
    total = count * image.pixels.shape[0] * image.pixels.shape[1]
    if total > max_pixels:
        message = f"{count} pictures have {total} pixels, the limit is {max_pixels}"
        raise InvalidInputError(message, where=where, hint=f"use --max-pixels {total} to allow it")


ONE_PICTURE = Timing((0.0,))
