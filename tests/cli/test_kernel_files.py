"""Kernel files: what `cnn kernels` writes is read by `-k @FILE` as the same kernel, or refused with what to do."""

import io
import json

import numpy as np
import pytest
from command_line import expect_error, run_cnn

from cnncli.errors import InvalidInputError
from cnncli.filters import CATALOGUE, parse_kernel_file, parse_matrix, parse_steps
from cnncli.filters.kernel import Kernel
from cnncli.reporting.kernel_report import kernel_json

SPECS = [
    *CATALOGUE,
    *("gaussian:0.35,size=61", "gabor:theta=30,sigma=2,lambda=4", "motion:5,30", "sobel:30", "kirsch:45", "box:2"),
    *("1/9 * 1 1 1; 1 1 1; 1 1 1", "0.1 0.2; 1/3 -7", "7", "1e150 1e-300", "0.5 1.25 1e7"),
]
MATRICES = np.arange(24).reshape(2, 2, 2, 3) - 7.5


def strict(text):
    """Read JSON as the standard has it: no NaN, no Infinity, no key twice."""

    def refuse(word):
        raise ValueError(word)

    def unique(pairs):
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


def same(one: Kernel, other: Kernel) -> bool:
    return (
        one.weights.shape == other.weights.shape
        and np.array_equal(one.weights, other.weights)
        and np.array_equal(one.biases, other.biases)
        and (one.combine, one.per_channel) == (other.combine, other.per_channel)
        and other.integral >= one.integral
    )


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "txt", "dat"])
@pytest.mark.parametrize("spec", SPECS)
def test_a_written_kernel_is_read_as_the_same_kernel(tmp_path, spec, suffix):
    kernel = parse_steps([spec])[0].kernel
    target = tmp_path / f"k.{suffix}"
    plain = ["--format", "plain"] if suffix == "dat" else []
    assert run_cnn("kernels", spec, "-o", target, *plain).code == 0
    if kernel.filters > 1 and not suffix.startswith("json"):
        with pytest.raises(InvalidInputError, match="one kernel, without bias; use JSON"):
            parse_kernel_file(target.read_bytes(), str(target))
        return
    found = parse_kernel_file(target.read_bytes(), str(target))
    assert same(kernel, found)
    if suffix == "json":
        assert found.name == kernel.name
        assert strict(target.read_text())["sum"] == kernel.total


def test_a_written_kernel_filters_alike(tmp_path):
    """The header row of a CSV table once became a row of the kernel."""
    (tmp_path / "m.txt").write_text("105 102 100\n103 99 103\n101 98 104\n")
    for spec in ("sharpen", "sobel", "highpass", "gaussian:1.1"):
        run_cnn("kernels", spec, "-o", tmp_path / f"{spec}.json")
        direct = run_cnn("filter", tmp_path / "m.txt", "-k", spec)
        assert run_cnn("filter", tmp_path / "m.txt", "-k", f"@{tmp_path / spec}.json").out == direct.out
    run_cnn("kernels", "sharpen", "-o", tmp_path / "k.csv")
    assert (tmp_path / "k.csv").read_text() == "0,-1,0\n-1,5,-1\n0,-1,0\n"


@pytest.mark.parametrize("form", ["md", "tex"])
def test_tables_for_people_are_refused_as_kernels(tmp_path, form):
    target = tmp_path / f"k.{form}"
    assert run_cnn("kernels", "sobel", "-o", target).code == 0
    expect_error(run_cnn("kernels", f"@{target}"), 3, "is not read as a kernel", "-o k.json")
    tables = target.read_text()
    assert tables.count("| 1 | 2 | 3 |" if form == "md" else r"\begin{tabular}") == 2
    assert "sobel, filter 2 of 2" in tables


@pytest.mark.parametrize("form", ["csv", "plain", "table"])
def test_several_kernels_in_one_file_are_refused_as_text(tmp_path, form):
    target = tmp_path / "k.txt"
    assert run_cnn("kernels", "sobel-x", "sobel-y", "--format", form, "-o", target).code == 0
    expect_error(run_cnn("kernels", f"@{target}"), 3, "kernel", "cnn kernels NAME -o k.json")


def test_rounded_numbers_are_not_read(tmp_path):
    run_cnn("kernels", "gaussian", "--format", "table", "-o", tmp_path / "k.txt")
    expect_error(run_cnn("kernels", f"@{tmp_path / 'k.txt'}"), 3, "rounded to 6 digits", "-o k.json")


@pytest.mark.parametrize("bias", [None, [1.5, -2.0]])
def test_banks_keep_their_order_and_bias(bias):
    kernel = Kernel("bank", MATRICES, bias=None if bias is None else np.array(bias), per_channel=False)
    text = json.dumps(kernel_json(kernel)).encode()
    for order in (None, "FCHW", "HWCF"):
        assert same(kernel, parse_kernel_file(text, "bank.json", order))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_arrays_in_the_order_of_keras():
    bank = np.random.default_rng(5).standard_normal((8, 3, 3, 3))  # (F, C, KH, KW)
    keras = bank.transpose(2, 3, 1, 0)
    for data, name in ((npy(keras), "k.npy"), (json.dumps(keras.tolist()).encode(), "k.json")):
        assert np.array_equal(parse_kernel_file(data, name, "HWCF").weights, bank)
        with pytest.raises(InvalidInputError, match=r"looks like .KH, KW, C, F.*--as keras"):
            parse_kernel_file(data, name)
    assert np.array_equal(parse_kernel_file(npy(bank), "k.npy").weights, bank)
    named = json.dumps({"kernel": keras.tolist(), "order": "HWCF"}).encode()
    assert np.array_equal(parse_kernel_file(named, "k.json").weights, bank)
    volume = parse_kernel_file(npy(keras[..., 0]), "k.npy", "HWCF")
    assert np.array_equal(volume.weights, bank[:1])
    assert "--as keras" in parse_kernel_file(npy(np.zeros((3, 3, 3, 3))), "k.npy").note
    assert not parse_kernel_file(npy(np.zeros((3, 3, 3, 3))), "k.npy", "FCHW").note


def test_the_order_reaches_the_filter(tmp_path):
    pixels = np.random.default_rng(6).random((9, 7, 3)).astype(np.float32)
    bank = np.random.default_rng(5).standard_normal((8, 3, 3, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "torch.npy", bank)
    np.save(tmp_path / "keras.npy", bank.transpose(2, 3, 1, 0))
    outs = []
    for tool in ("torch", "keras"):
        target = tmp_path / f"{tool}-out.npy"
        done = run_cnn("filter", tmp_path / "x.npy", "-k", f"@{tmp_path / tool}.npy", "--as", tool, "-o", target)
        assert done.code == 0, done.err
        outs.append(np.load(target))
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(0, 1))
    np.testing.assert_allclose(outs[0], np.einsum("ijcyx,fcyx->ijf", windows, bank), rtol=1e-4, atol=1e-5)
    assert np.array_equal(*outs)
    refused = run_cnn("filter", tmp_path / "x.npy", "-k", f"@{tmp_path}/keras.npy", "-o", tmp_path / "no.npy")
    expect_error(refused, 3, "keras.npy", "3x3x3x8", "--as keras")
    np.save(tmp_path / "five.npy", np.zeros((2, 5, 3, 3)))
    wrong = run_cnn("filter", tmp_path / "x.npy", "-k", f"@{tmp_path}/five.npy", "-o", tmp_path / "no.npy")
    expect_error(wrong, 3, "reads 5 channels, the image has 3", "(F, C, KH, KW)", "--as keras")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"kernel": [[1]], "kernel": [[2]]}', "key 'kernel' stands twice"),
        ('{"kernel": [[1]], "weights": [[2]]}', "both 'kernel' and 'weights'"),
        ('{"kernel": [[1]], "combine": "magnitude"}', "needs several matrices"),
        ('{"kernel": [[1]], "combine": "sum"}', "choose stack, magnitude, maximum"),
        ('{"kernel": [[[[1]]]], "order": "abc"}', "choose FCHW, HWCF"),
        ('{"kernel": [[1]], "name": 3}', "'name' is not a text"),
        ('{"kernel": [[1]], "schema": "other/2"}', 'schema is "other/2"'),
        ("1 2\n3 4\n", "not JSON"),
        ('{"kernel": [[0.5, 0.3]], "divisor": 2}', "number 2, 0.3, is not a whole number over the divisor 2"),
        ('{"kernel": [[0.5]], "divisor": 0.5}', "'divisor' is 0.5"),
    ],
)
def test_bad_kernel_objects(body, message):
    with pytest.raises(InvalidInputError) as caught:
        parse_kernel_file(body.encode(), "k.json")
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_name_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"kernel": [[1, 2]], "name": "\x1b[31mred\nx"}))
    (tmp_path / "m.txt").write_text("1 2\n3 4\n")
    for arguments in (("kernels", f"@{path}"), ("filter", tmp_path / "m.txt", "-k", f"@{path}")):
        done = run_cnn(*arguments)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
        assert r"\x1b[31mred\nx" in done.out + done.err


def test_an_infinite_number_is_refused():
    for value in (1e200, np.inf, np.nan):
        with pytest.raises(InvalidInputError, match=r"element \[0, 1\]"):
            parse_kernel_file(npy(np.array([[1, value]])), "k.npy")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "1,,3\n4,,6\n7,,9\n", "b.csv:1:3: number 2 of row 1 is missing"),
        ("b.csv", "1,2,\n", "b.csv:1:5: number 3 of row 1 is missing"),
        ("b.csv", "1,2\n,4\n", "b.csv:2:1: number 1 of row 2 is missing"),
        ("b.csv", "1;;3\n", "number 2 of row 1"),
        ("b.csv", "1,5;2,5\n", "b.csv:1: holds both ',' and ';': decimal commas are not read"),
        ("b.csv", "1 2,3\n", "'1 2' is not a number"),
        ("b.tsv", "1\t\t3\n", "b.tsv:1:3: number 2 of row 1"),
        ("b.tsv", "1,5\t2\n", "'1,5' is not a number"),
        ("b.txt", "1,,3\n", "b.txt:1:3: number 2 of row 1"),
        ("b.txt", "1, 2,\n3, 4\n", "number 3 of row 1"),
        ("b.txt", "1,2,;3,4,5\n", "number 3 of row 1"),
        ("b.txt", "[[1,,2]]\n", "number 2 of row 1"),
    ],
)
def test_blank_cells_are_refused(name, text, message):
    with pytest.raises(InvalidInputError) as caught:
        parse_matrix(text.encode(), name)
    assert message in str(caught.value)


def test_a_blank_number_of_a_literal_is_refused():
    expect_error(run_cnn("kernels", "1,,2"), 2, "row 1, column 2: number 2 of row 1 is missing")


def test_tables_of_other_programs():
    assert parse_matrix(b"1;2;3\n4;5;6\n", "b.csv")[..., 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert parse_matrix(b"1.5;2\n\n3;4\n", "b.csv")[..., 1].tolist() == [[3, 4]]
    assert parse_matrix(b"1\t2\n3\t4\n", "b.tsv")[..., 0].tolist() == [[1, 2], [3, 4]]
    assert parse_matrix(b"1 2\n3 4\n", "b.csv")[..., 0].tolist() == [[1, 2], [3, 4]]
    assert parse_matrix(b"[[1, 2,],\n [3, 4]]", "b.txt")[..., 0].tolist() == [[1, 2], [3, 4]]


def test_words_for_what_is_not_finite():
    expect_error(run_cnn("filter", "-", "-k", "identity", stdin="1 nan\n-inf 4\n"), 3, "2 of 4", "--nan-to")
    done = run_cnn("filter", "-", "-k", "identity", "--nan-to", "0", stdin="1 NaN\n-inf 4\n")
    assert (done.code, done.out) == (0, "1 0\n0 4\n")
