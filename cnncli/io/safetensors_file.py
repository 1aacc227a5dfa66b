"""The safetensors container, written byte for byte the same every time and read without trusting a number in it.

References
----------
https://github.com/huggingface/safetensors, section "Format": 8 bytes little-endian header length, JSON header, data.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import InvalidInputError

FILE_SHA256 = "file_sha256"
DATA_SHA256 = "sha256"  # of the tensors alone: what cnncli wrote before format 2
_NO_DIGEST = "0" * 64  # stands where the digest goes while it is computed
_LARGEST_HEADER = 16 << 20
_MOST_TENSORS = 10_000
_HIGHEST_RANK = 8
_LARGEST_DIM = 1 << 40
_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U64": "<u8", "U8": "|u1"}
_NAMES = {kind: name for name, kind in _DTYPES.items()}
_TYPES = ("U64", "I64", "F64", "F32", "I32", "U8")  # the order in which the library writes them, too
_MOST_AT_A_TIME = 16 << 20  # bytes: a signal is handled between two of them
_OTHER_HINT = "take another copy, or the other checkpoint of the run"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (PyTorch or Keras write such files)"),
    (b"\x80\x02", "a pickle, which cnn never loads"),
    (b"\x80\x03", "a pickle, which cnn never loads"),
    (b"\x80\x04", "a pickle, which cnn never loads"),
    (b"\x80\x05", "a pickle, which cnn never loads"),
    (b"\x89HDF", "an HDF5 file"),
)


def serialise(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file as one piece; arguments as of `pieces`."""
    head, *data = pieces(tensors, metadata)
    return b"".join([with_digest(head, *data), *data])


def pieces(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> list[memoryview]:
    """Return the parts of a safetensors file, in order; the same arguments give the same bytes.

    The first part is to be replaced by `with_digest` of all. The others are views of the tensors, not copies: a
    checkpoint may be as large as the memory that is free.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Any memory order; they are stored little-endian in C order, the widest types first, then by name.
    metadata : mapping of str to str
        Kept in its order. ``file_sha256`` is added: the SHA-256 of the whole file with 64 zeros in its own place.
    """
    ordered = {
        name: np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C") for name, array in tensors.items()
    }
    names = sorted(ordered, key=lambda name: (_TYPES.index(_type_of(ordered[name])), name))
    header, end = {}, 0
    for name in names:
        array, first = ordered[name], end
        end += array.nbytes
        header[name] = {"dtype": _type_of(array), "shape": list(array.shape), "data_offsets": [first, end]}
    full = {**metadata, FILE_SHA256: _NO_DIGEST}
    text = json.dumps({"__metadata__": full, **header}, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    data = [ordered[name].reshape(-1).view(np.uint8).data for name in names]
    return [memoryview(head), *data]


def with_digest(head: memoryview, *data: memoryview) -> memoryview:
    """Return the first of the `pieces` of a file with the SHA-256 of all in its place."""
    entry = _digest_entry(_sha256(head, *data))
    return memoryview(bytes(head).replace(_digest_entry(_NO_DIGEST), entry))


def _type_of(array: NDArray[Any]) -> str:
    """Return the name of a type; KeyError for one that no checkpoint holds."""
    return _NAMES[array.dtype.newbyteorder("<").str]


def parse(data: bytes, where: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return tensors (read-only views of `data`) and metadata after checking every number against the file.

    Raises
    ------
    InvalidInputError
        Not a safetensors file, truncated, followed by other bytes, a key twice, an offset, shape or type that does
        not fit, or a SHA-256 in the metadata that is not that of the file.
    """
    header, start = _header(data, where)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse("the metadata is not a table of texts", where)
    if len(header) > _MOST_TENSORS:
        _refuse(f"{len(header)} tensors, the limit is {_MOST_TENSORS}", where)
    spans = sorted((_span(name, entry, where), name) for name, entry in header.items())
    end = 0
    for (first, last), name in spans:
        if first != end:
            _refuse(f"tensor {name!r} begins at byte {first}, expected {end}", where)
        end = last
    if end != len(data) - start:
        _refuse(f"header declares {start + end} B, file has {len(data)} B", where)
    _check_digest(data, start, metadata, where)
    tensors = {}
    for (first, last), name in spans:
        entry = header[name]
        part = np.frombuffer(memoryview(data)[start + first : start + last], _DTYPES[entry["dtype"]])
        tensors[name] = part.reshape(entry["shape"])
    return tensors, metadata


def _header(data: bytes, where: str) -> tuple[dict[str, Any], int]:
    if not data:
        _refuse("file is empty", where)
    for magic, kind in _FOREIGN:
        # a header of 640 bytes begins like a pickle of protocol 2, but then a brace follows
        if data.startswith(magic) and data[8:9] != b"{":
            hint = "export the weights to safetensors where they were trained"
            raise InvalidInputError(f"this is {kind}, not a checkpoint of cnn", where=where, hint=hint)
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or (size > _LARGEST_HEADER and data[8:9] != b"{"):
        _refuse(f"not a checkpoint (starts with {data[:8]!r})", where)
    if size > _LARGEST_HEADER:
        _refuse(f"header of {size} B, the limit is {_LARGEST_HEADER} B", where)
    if 8 + size > len(data):
        _refuse(f"header declares {8 + size} B, file has {len(data)} B", where)
    try:
        header = json.loads(data[8 : 8 + size].decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        text = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        _refuse(f"the header cannot be read ({text})", where)
    if not isinstance(header, dict):
        _refuse("the header is not a table", where)
    return header, 8 + size


def _check_digest(data: bytes, start: int, metadata: Mapping[str, str], where: str) -> None:
    """Compare the stored SHA-256 with that of the file; other programs store none."""
    body = memoryview(data)[start:]
    stored = metadata.get(FILE_SHA256)
    if stored is not None:
        head = data[:start].replace(_digest_entry(stored), _digest_entry(_NO_DIGEST))
        if _sha256(head, body) != stored:
            _refuse("the file is damaged: its SHA-256 is not the one that was stored", where)
    elif DATA_SHA256 in metadata and metadata[DATA_SHA256] != _sha256(body):
        _refuse("the weights are damaged: their SHA-256 is not the one that was stored", where)


def _digest_entry(digest: str) -> bytes:
    # its quotes are not escaped, so no text inside the header can look like it
    return f'"{FILE_SHA256}":"{digest}"'.encode("utf-8", "backslashreplace")


def _sha256(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        view = memoryview(part)
        for first in range(0, len(view), _MOST_AT_A_TIME):
            digest.update(view[first : first + _MOST_AT_A_TIME])
    return digest.hexdigest()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} twice")
    return table


def _span(name: str, entry: Any, where: str) -> tuple[int, int]:
    """Return first and last byte of a tensor after checking that its entry agrees with itself."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(f"tensor {name!r} is not described by dtype, shape and data_offsets", where)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        _refuse(f"tensor {name!r} has type {dtype!r}, known are {', '.join(_DTYPES)}", where)
    if not _are_counts(shape) or len(shape) > _HIGHEST_RANK or any(dim > _LARGEST_DIM for dim in shape):
        _refuse(f"tensor {name!r} has an impossible shape", where)
    if not _are_counts(offsets) or len(offsets) != 2:
        _refuse(f"tensor {name!r} has impossible offsets", where)
    size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != size:
        _refuse(f"tensor {name!r} needs {size} B, its offsets span {offsets[1] - offsets[0]} B", where)
    return offsets[0], offsets[1]


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _refuse(message: str, where: str) -> NoReturn:
    raise InvalidInputError(message, where=where, hint=_OTHER_HINT)
