"""The IDX reader gives an array or our error, whatever the bytes are."""

import gzip
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.idx import decompress, parse_idx


def idx(dims, payload):
    return struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + payload


@st.composite
def maybe_damaged(draw):
    """Return a right file, or one that was cut, extended, flipped or given another length."""
    dims = draw(st.lists(st.integers(1, 6), min_size=3, max_size=3))
    data = bytearray(idx(dims, draw(st.binary(min_size=math.prod(dims), max_size=math.prod(dims)))))
    kind = draw(st.sampled_from(["none", "none", "cut", "extend", "flip", "length"]))
    if kind == "cut":
        del data[draw(st.integers(0, len(data) - 1)) :]
    elif kind == "extend":
        data += draw(st.binary(min_size=1, max_size=9))
    elif kind == "flip":
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif kind == "length":
        value = draw(st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
        place = 4 * draw(st.integers(1, 3))
        data[place : place + 4] = struct.pack(">I", value)
    return bytes(data), tuple(dims), kind


ACCEPTED = []


@settings(max_examples=400)
@given(maybe_damaged())
def check_any_bytes(case):
    data, dims, kind = case
    refused = None
    try:
        array = parse_idx(data, 3, "file")
    except InvalidInputError as error:
        refused = error
    ACCEPTED.append(refused is None)
    if refused:
        assert (refused.where, bool(refused.hint)) == ("file", True)
        assert kind != "none"
        return
    assert array.dtype == np.uint8
    assert array.size == len(data) - 16
    if kind == "none":
        assert array.shape == dims
        assert array.tobytes() == data[16:]


def test_any_bytes_give_an_array_or_our_error():
    ACCEPTED.clear()
    check_any_bytes()
    assert sum(ACCEPTED) >= 0.2 * len(ACCEPTED)  # else the test would only see rubbish


@given(st.binary(max_size=64), st.sampled_from([1, 3]))
def test_rubbish_is_refused(data, rank):
    with pytest.raises(InvalidInputError):
        parse_idx(b"\0\1" + data, rank, "file")


def test_zero_dimension_does_not_hide_a_huge_one():
    with pytest.raises(InvalidInputError, match="0x2147483648x2147483648; a dimension is out of range"):
        parse_idx(idx((0, 2**31, 2**31), b""), 3, "file")


def test_sizes_are_python_integers():
    with pytest.raises(InvalidInputError, match="= 9903520300447984150353281023 B, file has 4 B"):
        parse_idx(idx((2**31 - 1,) * 3, b"1234"), 3, "file")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: data[:-1], "truncated gzip"),
        (lambda data: data[:5], "truncated gzip"),
        (lambda data: data[:-8] + b"\0" * 8, "damaged gzip"),
        (lambda data: data[:20] + b"\xff" + data[21:], "damaged gzip|truncated gzip"),
        (lambda data: data + b"abc", "3 B follow"),
    ],
)
def test_damaged_gzip(change, text):
    with pytest.raises(InvalidInputError, match=text):
        decompress(change(gzip.compress(bytes(range(256)) * 9)), "file")


def test_a_gzip_bomb_stops_at_the_limit():
    with pytest.raises(InvalidInputError, match="holds more than 1000 B"):
        decompress(gzip.compress(bytes(10_000_000)), "file", limit=1000)
