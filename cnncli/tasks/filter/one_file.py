"""One file through the filter: load, apply, encode, write. Loading and writing may run on other threads."""

from __future__ import annotations

# ruff: noqa: PTH108, PTH112, PTH120, PTH122
# names are taken apart as text, whatever bytes they hold
import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InvalidInputError, ShapeError, UsageError
from cnncli.filtering.plan import FilterPlan
from cnncli.filters.kernel_text import parse_matrix
from cnncli.io.atomic import ensure_writable, make_directory, read_regular_file, write_atomically
from cnncli.io.images.decode import decode_image
from cnncli.io.images.encode import encode_image
from cnncli.io.images.formats import format_of, looks_like_image, named_content
from cnncli.io.images.frames import (
    ONE_PICTURE,
    Timing,
    alike,
    check_total,
    count_pictures,
    encode_animation,
    repetitions,
    time_shown,
)
from cnncli.io.images.image import MAX_FILE_BYTES, MAX_PIXELS, DecodeOptions, EncodeOptions, Header, Image, frame_notes
from cnncli.io.matrix_text import MATRIX_EXTENSIONS, matrix_bytes, matrix_lines
from cnncli.io.standard_output import write_standard_output
from cnncli.tasks.filter.events import Outcome
from cnncli.tasks.filter.memory import check_memory
from cnncli.tasks.filter.names import Job
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.target import Destination

if TYPE_CHECKING:
    from cnncli.filtering.apply import FilterResult

_LARGE = 1 << 22  # samples; less needs no question about memory unless it is padded or dilated


@dataclass(frozen=True)
class Loaded:
    """A decoded input and the fingerprint of its file; of an animation or stack the other pictures, too."""

    image: Image
    sha256: str = ""
    further: list[Image] = field(default_factory=list)
    timing: Timing = ONE_PICTURE


@dataclass(frozen=True)
class Filtered:
    """A result that waits to be written."""

    image: Image
    result: FilterResult
    source: Image
    sha256: str
    further: tuple[Image, ...] = ()
    timing: Timing = ONE_PICTURE


def load(
    job: Job, plan: FilterPlan, options: FileOptions, *, fingerprint: bool = False, standard_input: bytes | None = None
) -> Loaded:
    """Read and decode the input of a job; `plan` is what comes next, and memory is asked for both.

    Raises
    ------
    CnnError
        Anything that is wrong with the file, located; not enough memory, before anything is decoded.
    """

    def admit(header: Header) -> None:
        size, dtype, threads = header.shape, np.dtype(header.dtype), options.threads
        try:
            check_memory(size, plan, dtype, alpha=header.alpha, threads=threads, decoded=False)
        except (ShapeError, UsageError):  # the pixels decide, they may be gray
            return
        except CnnError as error:
            raise error.located(where) from None

    # a higher --max-pixels also allows a larger file
    limit = MAX_FILE_BYTES if options.max_pixels <= MAX_PIXELS else 8 * options.max_pixels
    if job.source == "-":
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if standard_input is None else standard_input
        if len(data) > MAX_FILE_BYTES:
            raise InvalidInputError(f"more than {MAX_FILE_BYTES} B", where="stdin", hint="filter it in parts")
        where = "stdin"
    else:
        data = read_regular_file(job.source, limit)
        where = job.source
    digest = hashlib.sha256(data).hexdigest() if fingerprint else ""
    named_so = job.source == "-" or os.path.splitext(job.source)[1].lower() in MATRIX_EXTENSIONS
    if named_so and is_text_matrix(data):
        values = parse_matrix(data, where).astype(np.float64)
        return Loaded(finite(Image(values, mode="matrix", format="MATRIX"), options, where), digest)
    decoding = DecodeOptions(where, options.exif, options.frame, options.max_pixels, admit)
    image, further, timing = _decoded_all(data, plan, options, decoding)
    if job.source != "-" and image.format not in ("NPY", named_content(job.source)):
        image = image.noted(f"{job.source} holds {image.format}, whatever its name says")
    if further:
        image = image.noted(f"{len(timing)} pictures, each filtered by itself")
    return Loaded(image, digest, further, timing)


def _decoded_all(
    data: bytes, plan: FilterPlan, options: FileOptions, decoding: DecodeOptions
) -> tuple[Image, list[Image], Timing]:
    """Return the picture of a file, or with `all_frames` the first and the others, decoded in one pass."""
    if options.all_frames:
        decoding = replace(decoding, opened={})
    count = count_pictures(data, decoding) if options.all_frames else 1
    images: list[Image] = []
    times: list[float] = []
    for number in range(count) if count > 1 else [options.frame]:
        image = decode_image(data, decoding.where, exif=decoding.upright, frame=number,
                             max_pixels=decoding.max_pixels, admit=decoding.admit, opened=decoding.opened)  # fmt: skip
        if count > 1:
            image = replace(image, notes=tuple(n for n in image.notes if n not in frame_notes(number, count)))
            times.append(time_shown(image.format, number or 0, decoding))
        if number == 0 and count > 1:
            check_total(count, image, options.max_pixels, decoding.where)
            height, width, channels = image.pixels.shape
            check_memory((count * height, width, channels), plan, image.pixels.dtype, alpha=image.alpha is not None,
                         threads=options.threads, decoded=False)  # fmt: skip
        if options.alpha == "drop" and image.alpha is not None:
            image = replace(image, alpha=None).noted("transparency dropped")
        images.append(finite(image, options, decoding.where))
    image, *further = alike(images)
    timing = Timing(tuple(times), repetitions(image.format, decoding)) if further else ONE_PICTURE
    return image, further, timing


def apply(loaded: Loaded, plan: FilterPlan, options: FileOptions, *, compiled: bool | None = None) -> Filtered:
    """Filter a decoded picture; `compiled` as in `apply_filter`.

    Raises
    ------
    CnnError
        The plan does not fit the picture.
    """
    from cnncli.filtering.alpha import filter_with_alpha
    from cnncli.filtering.apply import apply_filter

    source = loaded.image
    if source.pixels.size > _LARGE or isinstance(plan.padding, tuple) or plan.dilation != (1, 1):
        alpha_too = source.alpha is not None
        check_memory(source.pixels.shape, plan, source.pixels.dtype, alpha=alpha_too, threads=options.threads)
    alpha = None
    if source.alpha is None:
        result = apply_filter(source.pixels, plan, threads=options.threads, compiled=compiled)
    else:
        whole = options.alpha == "filter"
        result, alpha = filter_with_alpha(
            source.pixels, source.alpha, plan, filter_alpha=whole, threads=options.threads, compiled=compiled
        )
        if alpha.dtype != result.pixels.dtype:
            alpha = _rescaled(alpha, result.pixels.dtype)
    image = replace(source, pixels=result.pixels, alpha=alpha)
    if source.icc and result.pixels.shape[2] != source.pixels.shape[2]:
        image = replace(image, icc=None).noted("colour profile dropped: it is for another number of channels")
    if options.compare:
        from cnncli.tasks.filter.pictures.compare import comparison

        image = Image(comparison(source, result, alpha, plan, options), density=source.density)
    if options.grid:
        from cnncli.tasks.filter.pictures.tiles import channel_grid

        title = f"{source.size} · {' + '.join(step.name for step in plan.steps) or 'no kernel'} · range {result.range}"
        picture, note = channel_grid(source, result, alpha, title)
        image = Image(picture, density=source.density).noted(*([note] if note else []))
    others = []
    while loaded.further:  # each is let go of when its result is there
        others.append(apply(Loaded(loaded.further.pop(0)), plan, options, compiled=compiled))
    if others:
        result = _over_all([result, *(other.result for other in others)])
    return Filtered(image, result, source, loaded.sha256, tuple(other.image for other in others), loaded.timing)


def _over_all(results: Sequence[FilterResult]) -> FilterResult:
    """Return the first result with the extremes of all, and the mean counts of what was clipped."""
    below, above = (round(sum(getattr(r, name) for r in results) / len(results)) for name in ("below", "above"))
    least, most = min(r.minimum for r in results), max(r.maximum for r in results)
    return replace(results[0], minimum=least, maximum=most, below=below, above=above)


@dataclass(frozen=True)
class Encoded:
    """A result as the bytes of its files, and what is to be said once they are written."""

    files: tuple[tuple[str, bytes | bytearray], ...]
    outcome: Outcome


def encode(index: int, job: Job, where: Destination, filtered: Filtered, options: FileOptions) -> Encoded:
    """Encode a result; nothing is written yet.

    Raises
    ------
    CnnError
        The format cannot hold the result.
    """
    image, text = filtered.image, []
    files: tuple[tuple[str, bytes | bytearray], ...] = ()
    if not where.paths:
        text = matrix_lines(_with_alpha(image), precision=options.precision, align=options.align)
    elif where.paths == ("-",) or filtered.further:
        data, more = _encoded_all(filtered, where.paths[0], options)
        files = ((where.paths[0], data),)
        image = image.noted(*more)
    else:
        files = _encoded_files(image, where.paths, options)
    result, source = filtered.result, filtered.source
    outcome = Outcome(
        index=index,
        source=job.source,
        target=where.paths[0] if len(where.paths) == 1 else None,
        status="written" if where.paths else "printed",
        shape=_shape(source),
        dtype=source.pixels.dtype.name,
        result_shape=_shape(image),
        result_dtype=image.pixels.dtype.name,
        clipped=result.clipped,
        lowest=float(result.minimum),
        highest=float(result.maximum),
        summary=result.summary,
        clip_report=result.clip_report,
        notes=[*result.notes, *image.notes, *([where.note] if where.note else [])],
        text=text,
        pictures=1 + len(filtered.further),
        channels=list(result.channels) if any(result.channels) else [],
        sha256=filtered.sha256,
        outputs={path: len(data) for path, data in files},
    )
    return Encoded(files, outcome)


def write(encoded: Encoded, options: FileOptions) -> Outcome:
    """Write what `encode` returned, to the end; return what became of the input.

    Raises
    ------
    CnnError
        It cannot be written.
    """
    if encoded.files and encoded.files[0][0] == "-":
        write_standard_output(encoded.files[0][1])
    elif encoded.files:
        _write_files(encoded.files, options)
    return encoded.outcome


def finite(image: Image, options: FileOptions, where: str) -> Image:
    """Return an image whose samples are finite, others replaced by ``--nan-to``.

    Raises
    ------
    InvalidInputError
        There are others, and nothing is given to replace them.
    """
    pixels = image.pixels
    if pixels.dtype.kind != "f":
        return image
    bad = ~np.isfinite(pixels)
    count = int(bad.sum())
    if not count:
        return image
    if options.nan_to is None:
        row, column, _ = np.argwhere(bad)[0]
        message = f"{count} of {pixels.size} samples are not finite (first: row {row + 1}, column {column + 1})"
        raise InvalidInputError(message, where=where, hint="use --nan-to NUMBER to replace them")
    return replace(image, pixels=np.where(bad, pixels.dtype.type(options.nan_to), pixels)).noted(
        f"{count} samples that were not finite became {options.nan_to:g}"
    )


def is_text_matrix(data: bytes) -> bool:
    """Whether bytes are text to be read as numbers; an npy array is an image of its own type."""
    return not looks_like_image(data)


def check_target(job: Job, options: FileOptions) -> None:
    """Refuse an output that cannot be written, before any work.

    Raises
    ------
    CnnError
        It exists, its folder is missing or cannot be written.
    """
    if job.target in (None, "-"):
        return
    if not options.make_folders or os.path.isdir(os.path.dirname(str(job.target)) or "."):
        ensure_writable(str(job.target), overwrite=options.overwrite)


def _encoded_files(
    image: Image, paths: Sequence[str], options: FileOptions
) -> tuple[tuple[str, bytes | bytearray], ...]:
    """Encode an image for one file, or each of its channels for its own."""
    planes = [image]
    if options.split_channels:
        planes = [
            replace(image, pixels=np.ascontiguousarray(image.pixels[..., channel : channel + 1]), icc=None)
            for channel in range(len(paths))
        ]
    return tuple((path, _encoded(one, path, options)) for path, one in zip(paths, planes, strict=True))


def _write_files(encoded: Sequence[tuple[str, bytes | bytearray]], options: FileOptions) -> None:
    """Write files, all of them or none."""
    folder = os.path.dirname(encoded[0][0])
    if options.make_folders and folder and not os.path.isdir(folder):
        make_directory(folder)
    written: list[str] = []
    try:
        for path, data in encoded:
            view = memoryview(data)
            write_atomically(path, view, overwrite=options.overwrite, sync_folder=options.sync_folders)
            written.append(path)
    except BaseException:
        if not options.overwrite:  # written by this call: the next attempt would refuse to overwrite them
            for path in written:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        raise


def _encoded(image: Image, target: str, options: FileOptions) -> bytes | bytearray:
    name, where = (options.stream_name, "stdout") if target == "-" else (target, target)
    kind = format_of(name)
    if kind == "TEXT":
        return matrix_bytes(_with_alpha(image), name, precision=options.precision)
    return encode_image(image, kind, where=where, level=options.level, quality=options.quality, threads=options.threads)


def _encoded_all(filtered: Filtered, target: str, options: FileOptions) -> tuple[bytes | bytearray, tuple[str, ...]]:
    """Return the bytes of one picture, or of all of an animation or stack, and notes."""
    images = [filtered.image, *filtered.further]
    if len(images) == 1:
        return _encoded(images[0], target, options), ()
    name, where = (options.stream_name, "stdout") if target == "-" else (target, target)
    kind = format_of(name)
    if kind != "TIFF" and len({one.size for one in images}) > 1:
        message = f"its pictures have {len({one.size for one in images})} sizes, a {kind} has one"
        raise InvalidInputError(message, where=where, hint="write .tif")
    settings = EncodeOptions(options.level, options.quality, options.threads)
    return encode_animation(images, kind, filtered.timing, settings)


def _with_alpha(image: Image) -> NDArray:
    """Return the channels with the opacity as the last of them, where there is one."""
    return image.pixels if image.alpha is None else np.concatenate([image.pixels, image.alpha[..., None]], axis=2)


def _rescaled(alpha: NDArray, dtype: np.dtype) -> NDArray:
    """Return the opacity in the type of the result."""
    share = alpha / (np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1)
    return np.rint(share * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else share.astype(dtype)


def _shape(image: Image) -> list[int]:
    height, width, channels = image.pixels.shape
    return [height, width, channels + (image.alpha is not None)]
