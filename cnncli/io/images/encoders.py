"""An encoder for each format: samples (H, W, C), alpha the last channel -> bytes.

The colour profile, EXIF block and density of the image go along where the format has a place for them.
"""

from __future__ import annotations

# ruff: noqa: ARG001
# every encoder is called the same way
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError
from cnncli.io.images.image import EncodeOptions, Image
from cnncli.io.images.npy import write_npy
from cnncli.io.images.png_write import write_png
from cnncli.io.images.pnm import write_pnm
from cnncli.io.images.tiff import exif as tiff_exif

Encoder = Callable[[NDArray, Image, EncodeOptions], bytes | bytearray]


def unwritten(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Stand for the encoder of a format whose files are not written from samples alone.

    Raises
    ------
    CnnError
        Always.
    """
    raise CnnError("is not written", hint="use another format")


def png(samples: NDArray, image: Image, options: EncodeOptions) -> bytearray:
    """Encode a PNG, by several threads."""
    return write_png(
        samples, level=options.level, threads=options.threads, icc=image.icc, density=image.density, exif=image.exif
    )


def pnm(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode a PGM or PPM, which have no place for metadata."""
    return write_pnm(samples)


def npy(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode an array (H, W) or (H, W, C)."""
    return write_npy(_squeezed(samples))


def jpeg(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode a JPEG, its colours as coarse as they came in."""
    from PIL import JpegImagePlugin  # noqa: F401  registers the encoder; Pillow would import thirty others
    from PIL.Image import new

    height, width, channels = samples.shape
    picture = new("L" if channels == 1 else "RGB", (width, height), None)  # None: nothing is filled in first
    picture.frombytes(np.ascontiguousarray(samples).data)
    # colours that came in coarse stay so; elsewhere that would smear the sharp edges of a filter's result
    finest = 0 if options.quality >= 90 else 2
    sampling = finest if image.sampling is None else image.sampling
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=options.quality, subsampling=sampling, **metadata_of(image))
    return stream.getvalue()


def tiff(samples: NDArray, image: Image, options: EncodeOptions) -> bytes | bytearray:
    """Encode a TIFF of one page; alpha is straight."""
    import imageio.v3 as imageio

    tags: dict[str, Any] = {
        "photometric": "rgb" if image.pixels.shape[2] == 3 else "minisblack",
        "planarconfig": "contig",
        "compression": "zlib" if options.level else None,
        "compressionargs": {"level": options.level} if options.level else None,
    }
    colours = 3 if image.pixels.shape[2] == 3 else 1
    extra = ["unspecified"] * (image.pixels.shape[2] - colours) + ["unassalpha"] * (image.alpha is not None)
    if extra:
        tags["extrasamples"] = extra
    if image.icc:
        tags["iccprofile"] = image.icc
    if image.density:
        tags |= {"resolution": image.density, "resolutionunit": "INCH"}
    encoded: bytes = imageio.imwrite("<bytes>", _squeezed(samples), extension=".tif", plugin="tifffile", **tags)
    return tiff_exif.with_exif(encoded, [image.exif])


def webp(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode a WebP, lossless at quality 100."""
    settings = {"lossless": options.quality == 100, "quality": options.quality, "exact": True}
    return _by_pillow(samples, ".webp", **settings, **metadata_of(image))


def bmp(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode a BMP, which keeps the density alone."""
    return _by_pillow(samples, ".bmp", **{name: value for name, value in metadata_of(image).items() if name == "dpi"})


def gif(samples: NDArray, image: Image, options: EncodeOptions) -> bytes:
    """Encode a GIF of one gray picture."""
    return _by_pillow(samples, ".gif")


def _by_pillow(samples: NDArray, extension: str, **settings: Any) -> bytes:
    import imageio.v3 as imageio

    encoded: bytes = imageio.imwrite("<bytes>", _squeezed(samples), extension=extension, plugin="pillow", **settings)
    return encoded


def _squeezed(samples: NDArray) -> NDArray:
    """Return (H, W) of one channel, else the samples as they are."""
    return samples[..., 0] if samples.shape[2] == 1 else samples


def metadata_of(image: Image) -> dict[str, Any]:
    """Return the settings by which Pillow writes profile, EXIF block and density."""
    found: dict[str, Any] = {}
    if image.icc:
        found["icc_profile"] = image.icc
    if image.exif:
        found["exif"] = image.exif
    if image.density:
        found["dpi"] = tuple(image.density)
    return found
