"""Kernels from text and files: a literal on the command line, txt, csv, json, npy and vips matrices."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import PurePath

import numpy as np

from cnncli.errors import InvalidInputError, UsageError, printable
from cnncli.filters.kernel import Kernel, Numbers, from_fractions
from cnncli.filters.kernel_array import EXAMPLE, check_size, kernel_from_array
from cnncli.filters.kernel_json import parse_kernel_json, split_kernels
from cnncli.filters.numbers_text import Rows, parse_blocks, to_fraction, to_sample
from cnncli.npy import read_npy

MAX_BYTES = 1 << 20  # of kernel text
# lines that `cnn kernels` writes above numbers which are more than one kernel without bias
_HEADING = re.compile(r"\s*(filter|kernel|bias|rounded)\b", re.ASCII)
_NOT_READ = {".md": "a Markdown table", ".tex": "a LaTeX table", ".safetensors": "a checkpoint"}


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
        raise UsageError(error.message, where=error.where, hint=error.hint or EXAMPLE) from None


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
    for number, line in enumerate(() if inline else text.split("\n"), start=1):
        if _HEADING.match(line):
            message = f"'{line.strip()[:40]}': a text file holds the numbers of one kernel, without bias"
            hint = "use JSON: cnn kernels NAME -o k.json"
            raise InvalidInputError(message, where=f"{where}:{number}", hint=hint)
    if "*" in text:
        head, _, text = text.partition("*")
        try:
            factor = to_fraction(head.strip())
        except ValueError as error:
            raise InvalidInputError(f"factor: {error}", where=where, hint="write it like 1/9 * 1 1 1; ...") from None
        text = "\n" * head.count("\n") + text
    blocks = parse_blocks(text, where, to_fraction, inline=inline)
    if not blocks:
        raise InvalidInputError("kernel is empty", where=where, hint=EXAMPLE)
    return _from_blocks(blocks, factor, where, name)


def parse_kernels_file(data: bytes, where: str, order: str | None = None) -> list[Kernel]:
    """Return the kernels of a file's content: several where `cnn kernels A B -o k.json`, or ``k.jsonl``, wrote it.

    Parameters and errors as `parse_kernel_file`; an error in one of several names it by its number, from 1.
    """
    if PurePath(where).suffix.lower() not in (".json", ".jsonl"):
        return [parse_kernel_file(data, where, order)]
    text = decode_text(data, where)
    bodies = split_kernels(text)
    if len(bodies) == 1:
        return [parse_kernel_file(data, where, order)]
    name = PurePath(where).name
    return [
        _named(parse_kernel_json(body, f"{where}: kernel {number}", f"{name}[{number - 1}]", order))
        for number, body in enumerate(bodies, start=1)
    ]


def parse_kernel_file(data: bytes, where: str, order: str | None = None) -> Kernel:
    """Return the kernel of a file's content; the suffix of `where` says how to read it.

    Parameters
    ----------
    data : bytes
        Content of a ``.json``, ``.npy``, ``.mat`` (vips) file; anything else is text (txt, csv), or JSON if it begins
        with a brace.
    where : str
        File name as the user typed it.
    order : str, optional
        Of the axes of arrays, as `kernel_from_array`.

    Raises
    ------
    InvalidInputError
        Undecodable (with the byte offset), wrong grammar, sides over 255, not finite, tables for people.
    """
    suffix = PurePath(where).suffix.lower()
    name = PurePath(where).name
    if suffix in _NOT_READ:
        hint = "write it as JSON: cnn kernels NAME -o k.json"
        if suffix == ".safetensors":
            hint = f"name a layer, without @: {where}:conv1[0]"
        raise InvalidInputError(f"{_NOT_READ[suffix]} is not read as a kernel", where=where, hint=hint)
    if suffix == ".npy":
        return _named(kernel_from_array(read_npy(data, where).astype(np.float64), where, name, order))
    text = decode_text(data, where)
    if suffix == ".mat":
        return _named(_from_vips(text, where, name))
    if suffix in (".json", ".jsonl") or text.lstrip().startswith("{"):
        return _named(parse_kernel_json(text, where, name, order))
    return _named(parse_kernel_text(text, where, name=name))


def _named(kernel: Kernel) -> Kernel:
    """Return a kernel of a file with control characters in its name escaped, so that it cannot steer a terminal."""
    name = printable(kernel.name)
    return kernel if name == kernel.name else replace(kernel, name=name)


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
    """Return the matrix of a text as an image, shape (H, W, C) float64.

    Rows of numbers; blocks separated by a blank line are channels.

    Raises
    ------
    InvalidInputError
        Empty, ragged, a blank cell, not a number; located. The words nan and inf are read as what they say.
    """
    blocks = parse_blocks(decode_text(data, where), where, to_sample)
    if not data and where == "stdin":
        raise InvalidInputError("nothing came through the pipe", where=where, hint="check the command before it")
    if not blocks:
        raise InvalidInputError("matrix is empty", where=where, hint='example: printf "1 2\\n3 4\\n" | cnn filter -')
    return np.ascontiguousarray(np.moveaxis(np.array(blocks, dtype=np.float64), 0, 2))


def _from_blocks(blocks: list[Rows[Fraction]], factor: Fraction, where: str, name: str) -> Kernel:
    shape = (1, len(blocks), len(blocks[0]), len(blocks[0][0]))
    check_size(shape, where)
    try:
        numbers, divisor = from_fractions([value * factor for rows in blocks for row in rows for value in row])
    except OverflowError:
        raise InvalidInputError("a number is too large", where=where) from None
    kernel = Kernel(name, np.array(numbers).reshape(shape), divisor, per_channel=len(blocks) == 1)
    if not np.all(np.isfinite(kernel.numerators)):
        raise InvalidInputError("a number is too large", where=where)
    return kernel


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
