"""Kernels as text and files: what is read, and what is refused with the place and the remedy."""

import io
import json
from fractions import Fraction

import numpy as np
import pytest

from cnncli.errors import CnnError, ExitCode, InvalidInputError, UsageError
from cnncli.filters import parse_kernel_file, parse_literal, parse_matrix, parse_steps
from cnncli.filters.numbers_text import to_fraction


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("1 2; 3 4", [[1, 2], [3, 4]]),
        ("1,2;3,4", [[1, 2], [3, 4]]),
        ("1, 2\n3, 4\n", [[1, 2], [3, 4]]),
        ("[[1 2]\n [3 4]]", [[1, 2], [3, 4]]),
        ("[[1, 2, \n 3], [4, 5, 6]]", [[1, 2, 3], [4, 5, 6]]),
        ("[1 2 3]", [[1, 2, 3]]),
        ("7", [[7]]),
        ("1;2;3", [[1], [2], [3]]),
        ("-1 +2 .5; 1. 2e-3 -1.5E2", [[-1, 2, 0.5], [1, 0.002, -150]]),
        ("1/2 -1/4", [[0.5, -0.25]]),
        ("1/9 * 1 1 1; 1 1 1; 1 1 1", [[1 / 9] * 3] * 3),
        ("2*1 2", [[2, 4]]),
        ("0.1 0.2", [[0.1, 0.2]]),
        ("1 2 # comment\n3 4", [[1, 2], [3, 4]]),
    ],
)
def test_literals(text, weights):
    np.testing.assert_allclose(parse_literal(text).weights[0, 0], weights, rtol=1e-15)


def test_fractions_keep_whole_numerators_and_one_divisor():
    kernel = parse_literal("-1/9 -1/9 -1/9; -1/9 8/9 -1/9; -1/9 -1/9 -1/9")
    assert kernel.divisor == 9
    assert kernel.numerators[0, 0].tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert kernel.integral
    assert kernel.is_zero_sum
    assert parse_literal("0.1 0.25").divisor == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kernel is empty"),
        ("   ", "kernel is empty"),
        (";;", "kernel is empty"),
        ("1 2 3; 4 5", "row 2 has 2 numbers, row 1 has 3"),
        ("1 2; 3 nan", "row 2, column 2: 'nan'"),
        ("1 inf", "row 1, column 2: 'inf'"),
        ("1e400", "row 1, column 1: '1e400'"),
        ("1 1_000", "row 1, column 2: '1_000'"),
        ("\uff11 2", "row 1, column 1"),
        ("0x10", "row 1, column 1: '0x10'"),
        ("1/0", "divides by zero"),
        ("1/2/3", "'1/2/3'"),
        ("1--2", "'1--2'"),
        ("1 (2)", "'(2)'"),
        ("x * 1 2", "factor"),
        ("2 * 3 * 4", "row 1, column 2: '*'"),
        ("[1 2", "'[' is never closed"),
        ("1 2]", "']' without '['"),
        (" ".join(["1"] * 256), "limit is 255x255"),
        (";".join(["1"] * 256), "limit is 255x255"),
        ("9" * 200 + "e300", "too large"),
        ("1e151", "too large"),
        ("1" * 5000, "has 5000 characters"),
    ],
)
def test_bad_literals_are_usage_errors_that_name_the_place(text, message):
    with pytest.raises(UsageError) as caught:
        parse_literal(text)
    assert message in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert caught.value.hint or "limit" in message


@pytest.mark.parametrize(
    "spec", ["__import__('os').system('x')", "eval(1)", "os.remove('a')", "1+1", "1 2; 3 4 if 1 else 2", "lambda: 1"]
)
def test_expressions_are_never_evaluated(spec):
    with pytest.raises(UsageError):
        parse_steps([spec])


def read(name, data):
    return parse_kernel_file(data, name)


def test_files_of_every_kind():
    expected = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    array = io.BytesIO()
    np.save(array, np.array(expected, np.int32))
    for name, data in {
        "k.txt": b"0 -1 0\n-1 5 -1\n0 -1 0\n",
        "k.csv": b"\xef\xbb\xbf0,-1,0\r\n-1,5,-1\r\n0,-1,0\r\n",
        "k.json": json.dumps(expected).encode(),
        "k2.json": json.dumps({"kernel": [[0, "-1/1", 0], [-1, 5.0, -1], [0, -1, 0]]}).encode(),
        "k.npy": array.getvalue(),
        "k.mat": b"3 3 1 0\n0 -1 0\n-1 5 -1\n0 -1 0\n",
        "k": b"0 -1 0; -1 5 -1; 0 -1 0",
        "factor.txt": b"# a * in a comment\n1/2 *  # half\n0 -2 0\n-2 10 -2  # centre\n0 -2 0\n",
    }.items():
        kernel = read(name, data)
        assert kernel.weights[0, 0].tolist() == expected, name
        assert kernel.per_channel


def test_vips_scale_and_offset():
    kernel = read("blur.mat", b"3 1 4 10\n1 2 1\n")
    assert kernel.divisor == 4
    assert kernel.numerators.tolist() == [[[[1, 2, 1]]]]
    assert kernel.biases.tolist() == [10]


def test_three_dimensional_kernels_and_banks():
    volume = read("v.txt", b"1 2\n3 4\n\n5 6\n7 8\n")
    assert volume.numerators.shape == (1, 2, 2, 2)
    assert not volume.per_channel
    bank = read("b.json", json.dumps({"weights": np.arange(24).reshape(2, 3, 2, 2).tolist(), "bias": [1, 0]}).encode())
    assert (bank.filters, bank.channels, bank.size) == (2, 3, (2, 2))
    assert bank.biases.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("k.txt", b"1 2\n3 x\n", "k.txt:2:3: 'x' is not a number"),
        ("k.txt", b"1 2\n3\n", "k.txt:2: row 2 has 1 number, row 1 has 2"),
        ("k.txt", b"", "kernel is empty"),
        ("k.txt", b"\xff\xfe1\x00", "byte 0: text is UTF-16"),
        ("k.txt", b"1 2\n\xe9", "byte 4: 0xe9 is not UTF-8"),
        ("k.txt", b"1 2\n3 4\n\n5 6\n", "block 2 has 1x2 numbers, block 1 has 2x2"),
        ("k.json", b"[[1, 2], [3]]", "row 2 has shape (1,), row 1 has (2,)"),
        ("k.json", b"[[1, 2], [3, NaN]]", "NaN is not a finite number"),
        ("k.json", b"[[1, 2]", "k.json:1:8: not JSON"),
        ("k.json", b"[[1, null]]", "element [0, 1] is null, not a number"),
        ("k.json", b"[[true]]", "not a number"),
        ("k.json", b"[]", "empty list"),
        ("k.json", b'{"kernl": [[1]]}', "unknown key 'kernl'"),
        ("k.json", b'{"kernel": [[1]], "bias": [1, 2]}', "2 biases for 1 filters"),
        ("k.json", b"[" * 100000, "not JSON"),
        ("k.json", b"[[1e400]]", "not a number"),
        ("k.npy", b"nonsense", "npy header: the magic string is not correct"),
        ("k.mat", b"3 x\n1 2 3\n", "k.mat:1: first line"),
        ("k.mat", b"3 2 1 0\n1 2 3\n", "first line says 3x2 numbers, found 3x1"),
        ("k.mat", b"3 1 0 0\n1 2 3\n", "scale is 0"),
        ("k.mat", b"MATLAB 5.0 MAT-file", "MATLAB"),
    ],
)
def test_bad_files_are_located(name, data, message):
    with pytest.raises(InvalidInputError) as caught:
        read(name, data)
    assert message in str(caught.value)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("array", [np.array([["a"]]), np.array([[1j]]), np.array([[None]], object), np.float64(3)])
def test_npy_of_other_types_is_refused(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    with pytest.raises(InvalidInputError):
        read("k.npy", stream.getvalue())


def test_npy_with_a_wrong_header_is_refused_before_any_memory_is_taken():
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)})
    with pytest.raises(InvalidInputError, match="float64 = 8000000000000000000 B, the file has 0 B"):
        read("k.npy", stream.getvalue())


def test_npy_with_nan_is_refused():
    stream = io.BytesIO()
    np.save(stream, np.array([[1, np.nan]]))
    with pytest.raises(InvalidInputError, match="not a finite"):
        read("k.npy", stream.getvalue())


def test_matrices_are_images_of_one_or_several_channels():
    assert parse_matrix(b"1 2 3\n4 5 6\n", "-").shape == (2, 3, 1)
    two = parse_matrix(b"1 2\n3 4\n\n5 6\n7 8\n", "-")
    assert two.shape == (2, 2, 2)
    assert two[..., 1].tolist() == [[5, 6], [7, 8]]
    assert parse_matrix(b"01 02\t03", "-")[0, :, 0].tolist() == [1, 2, 3]  # two-digit padding of a printed grid
    with pytest.raises(InvalidInputError, match=r"m\.txt:2:1: 'b' is not a number"):
        parse_matrix(b"1\nb", "m.txt")
    with pytest.raises(InvalidInputError, match="matrix is empty"):
        parse_matrix(b"\n", "m.txt")


def test_numbers_round_trip_exactly():
    for text in ("0.1", "-3", "1e-3", "2/3", "1.5/2", "+7."):
        assert to_fraction(text) == Fraction(*map(Fraction, text.split("/"))) if "/" in text else Fraction(text)


def test_errors_stay_on_one_short_line():
    with pytest.raises(CnnError) as caught:
        parse_literal("x" * 5000)
    assert len(str(caught.value)) < 200
