"""Kernels from text and files: a literal on the command line, txt, csv, json, npy and vips matrices."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import PurePath
from typing import Any, NoReturn

import numpy as np

from cnncli.errors import CnnError, InvalidInputError, UsageError
from cnncli.filters.formulas import LIMIT
from cnncli.filters.kernel import Kernel, Numbers, from_fractions
from cnncli.filters.numbers_text import Rows, parse_blocks, to_float, to_fraction

MAX_BYTES = 1 << 20  # of kernel text
_EXAMPLE = 'example: "0 -1 0; -1 5 -1; 0 -1 0"'
_BANK_LIMIT = 4096  # filters of a bank, and channels of a filter


def parse_literal(text: str) -> Kernel:
    """Return the kernel of a literal such as ``"1/9 * 1 1 1; 1 1 1; 1 1 1"``.

    Raises
    ------
    UsageError
        Empty, ragged, not a number (with row and column), larger than 255 on a side.

    Examples
    --------
    >>> parse_literal("1/9 * 1 1 1; 1 1 1; 1 1 1").divisor
    9.0
    """
    try:
        return parse_kernel_text(text, "kernel", name="literal", inline=True)
    except InvalidInputError as error:
        raise UsageError(error.message, where=error.where, hint=error.hint or _EXAMPLE) from None


def parse_kernel_text(text: str, where: str, *, name: str, inline: bool = False) -> Kernel:
    """Return the kernel of a text of rows; several blocks are the channels of one three-dimensional kernel.

    Raises
    ------
    InvalidInputError
        Located by file, line and column, or with `inline` by row and column of the matrix.
    """
    if len(text) > MAX_BYTES:
        raise InvalidInputError(f"kernel text has {len(text)} characters, the limit is {MAX_BYTES}", where=where)
    factor = Fraction(1)
    text = "\n".join(line.partition("#")[0] for line in text.split("\n"))
    if "*" in text:
        head, _, text = text.partition("*")
        try:
            factor = to_fraction(head.strip())
        except ValueError as error:
            raise InvalidInputError(f"factor: {error}", where=where, hint="write it like 1/9 * 1 1 1; ...") from None
        text = "\n" * head.count("\n") + text
    blocks = parse_blocks(text, where, to_fraction, inline=inline)
    if not blocks:
        raise InvalidInputError("kernel is empty", where=where, hint=_EXAMPLE)
    return _from_blocks(blocks, factor, where, name)


def parse_kernel_file(data: bytes, where: str) -> Kernel:
    """Return the kernel of a file's content; the suffix of `where` says how to read it.

    Parameters
    ----------
    data : bytes
        Content of a ``.json``, ``.npy``, ``.mat`` (vips) file; anything else is text (txt, csv).
    where : str
        File name as the user typed it.

    Raises
    ------
    InvalidInputError
        Undecodable (with the byte offset), wrong grammar, sides over 255, not finite.
    """
    suffix = PurePath(where).suffix.lower()
    name = PurePath(where).name
    if suffix == ".npy":
        return kernel_from_array(_read_npy(data, where), where, name)
    text = decode_text(data, where)
    if suffix == ".json":
        return _from_json(text, where, name)
    if suffix == ".mat":
        return _from_vips(text, where, name)
    return parse_kernel_text(text, where, name=name)


def kernel_from_array(array: Numbers, where: str, name: str) -> Kernel:
    """Return the kernel of an array: (K,), (KH, KW), (C, KH, KW) summed over channels, or a bank (F, C, KH, KW)."""
    if array.ndim == 0 or array.ndim > 4:
        shape = "x".join(map(str, array.shape)) or "no"
        raise InvalidInputError(f"a kernel has 1 to 4 axes, this array has {shape} elements", where=where)
    full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    _check_size(full.shape, where)
    if not np.all(np.isfinite(full)):
        place = ", ".join(str(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InvalidInputError(f"element [{place}] is not a finite number", where=where)
    return Kernel(name, np.ascontiguousarray(full, dtype=np.float64), per_channel=array.ndim <= 2)


def decode_text(data: bytes, where: str) -> str:
    """Return the text of UTF-8 bytes; a byte order mark is skipped.

    Raises
    ------
    InvalidInputError
        Not UTF-8 (UTF-16 is named), with the byte offset.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InvalidInputError("byte 0: text is UTF-16", where=where, hint="save it as UTF-8")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"byte {error.start}: 0x{data[error.start]:02x} is not UTF-8 text", where=where, hint="save it as UTF-8"
        ) from None


def parse_matrix(data: bytes, where: str) -> Numbers:
    """Return the matrix of a text or npy file as an image, shape (H, W, C) float64.

    Text: rows of numbers, blocks separated by a blank line are channels. A three-dimensional npy array is (H, W, C).

    Raises
    ------
    InvalidInputError
        Empty, ragged, not a number; located.
    """
    if data[:6] == b"\x93NUMPY":
        array = _read_npy(data, where)
        if array.ndim not in (2, 3) or not array.size:
            raise InvalidInputError(f"an image array has 2 or 3 axes, this one has shape {array.shape}", where=where)
        return array.reshape((*array.shape, 1)[:3])
    blocks = parse_blocks(decode_text(data, where), where, to_float)
    if not blocks:
        raise InvalidInputError("matrix is empty", where=where, hint='example: printf "1 2\\n3 4\\n" | cnn filter -')
    return np.ascontiguousarray(np.moveaxis(np.array(blocks, dtype=np.float64), 0, 2))


def _from_blocks(blocks: list[Rows[Fraction]], factor: Fraction, where: str, name: str) -> Kernel:
    shape = (1, len(blocks), len(blocks[0]), len(blocks[0][0]))
    _check_size(shape, where)
    try:
        numbers, divisor = from_fractions([value * factor for rows in blocks for row in rows for value in row])
    except OverflowError:
        raise InvalidInputError("a number is too large", where=where) from None
    kernel = Kernel(name, np.array(numbers).reshape(shape), divisor, per_channel=len(blocks) == 1)
    if not np.all(np.isfinite(kernel.numerators)):
        raise InvalidInputError("a number is too large", where=where)
    return kernel


def _check_size(shape: tuple[int, ...], where: str) -> None:
    filters, channels, height, width = shape
    if not filters * channels * height * width:
        raise InvalidInputError("kernel is empty", where=where, hint=_EXAMPLE)
    if max(height, width) > LIMIT:
        raise InvalidInputError(f"kernel has {height}x{width} numbers, the limit is {LIMIT}x{LIMIT}", where=where)
    if max(filters, channels) > _BANK_LIMIT:
        raise InvalidInputError(
            f"bank of {filters} filters of {channels} channels, the limit is {_BANK_LIMIT}", where=where
        )


def _from_json(text: str, where: str, name: str) -> Kernel:
    def refuse(word: str) -> NoReturn:
        raise InvalidInputError(f"{word} is not a finite number", where=where)

    try:
        body = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"not JSON: {error.msg[:1].lower() + error.msg[1:]}", where=f"{where}:{error.lineno}:{error.colno}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise InvalidInputError(f"not JSON: {error}", where=where) from None
    options: dict[str, Any] = body if isinstance(body, dict) else {"kernel": body}
    unknown = set(options) - {"kernel", "weights", "factor", "bias", "name", "purpose"}
    if unknown or ("kernel" in options) == ("weights" in options):
        what = f"unknown key '{min(unknown)}'" if unknown else "no 'kernel'"
        raise InvalidInputError(what, where=where, hint="keys are kernel (or weights), factor, bias, name")
    values: list[Fraction] = []
    shape = _flatten(options.get("kernel", options.get("weights")), values, where, ())
    if len(shape) > 4 or not values:
        raise InvalidInputError(f"a kernel has 1 to 4 axes, this one has {len(shape)}", where=where)
    full = (1,) * (4 - len(shape)) + shape
    _check_size(full, where)
    factor = _json_fraction(options.get("factor", 1), where, "factor")
    numbers, divisor = from_fractions([v * factor for v in values])
    listed = options.get("bias", 0)
    biases = [float(_json_fraction(b, where, "bias")) for b in (listed if isinstance(listed, list) else [listed])]
    if len(biases) not in (1, full[0]):
        raise InvalidInputError(f"{len(biases)} biases for {full[0]} filters", where=where, hint="give one each")
    bias = np.array(biases * (full[0] // len(biases)))
    return Kernel(
        str(options.get("name", name)), np.array(numbers).reshape(full), divisor, bias, per_channel=len(shape) <= 2
    )


def _flatten(value: Any, values: list[Fraction], where: str, path: tuple[int, ...]) -> tuple[int, ...]:
    """Append the numbers of nested lists to `values` and return the shape; ragged lists are refused."""
    if not isinstance(value, list):
        values.append(_json_fraction(value, where, f"element {list(path)}"))
        return ()
    if len(path) >= 4:
        raise InvalidInputError("lists are nested more than 4 deep", where=where)
    if not value:
        raise InvalidInputError(f"element {list(path)} is an empty list", where=where, hint=_EXAMPLE)
    shapes = [_flatten(item, values, where, (*path, i)) for i, item in enumerate(value)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            what = f"row {i + 1} has shape {shape}, row 1 has {shapes[0]}"
            raise InvalidInputError(f"element {list(path)}: {what}", where=where, hint="give every row the same count")
    return (len(value), *shapes[0])


def _json_fraction(value: Any, where: str, what: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidInputError(f"{what} is {json.dumps(value)[:40]}, not a number", where=where)
    try:
        return to_fraction(repr(value) if isinstance(value, float) else str(value))
    except ValueError as error:
        raise InvalidInputError(f"{what}: {error}", where=where) from None


def _from_vips(text: str, where: str, name: str) -> Kernel:
    """Read ``width height [scale [offset]]`` on the first line, then the rows; the response is sum/scale + offset."""
    if text.startswith("MATLAB"):
        raise InvalidInputError("is a MATLAB file, not a vips matrix", where=where, hint="save the kernel as .npy")
    lines = text.split("\n")
    words = lines[0].replace(",", " ").split()
    try:
        header = [to_fraction(word) for word in words]
        width, height, scale, offset = [*header, *[Fraction(1), Fraction(0)][len(header) - 2 :]][:4]
    except ValueError:
        raise InvalidInputError(
            "first line is not 'width height scale offset'", where=f"{where}:1", hint="see `vips matrixprint`"
        ) from None
    if not scale:
        raise InvalidInputError("scale is 0", where=f"{where}:1")
    kernel = parse_kernel_text("\n" + "\n".join(lines[1:]), where, name=name)
    if (int(height), int(width)) != kernel.size:
        found = f"{kernel.size[1]}x{kernel.size[0]}"
        raise InvalidInputError(f"first line says {width}x{height} numbers, found {found}", where=where)
    return kernel.scaled(1 / scale).with_bias(float(offset))


def _read_npy(data: bytes, where: str) -> Numbers:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.kind not in "biuf":
            raise InvalidInputError(f"numbers of type {dtype} are not supported", where=where, hint="save as float64")
        size = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
        if size > len(data) - stream.tell():
            held = len(data) - stream.tell()
            raise InvalidInputError(f"truncated npy: {size} B expected, {held} B found", where=where)
        stream.seek(0)
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False), dtype=np.float64)
    except CnnError:
        raise
    except Exception as error:  # the reader raises many kinds for a damaged header
        text = " ".join(str(error).split())[:120]
        raise InvalidInputError(f"not an npy file: {text}", where=where) from None
