"""`cnn kernels`: the list, the numbers, the formats, the errors."""

import json
import subprocess
import sys

import pytest
from command_line import expect_error, run_cnn

from cnncli.filters import CATALOGUE


def test_list_names_every_kernel_and_fits_80_columns():
    result = run_cnn("kernels")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["name", "size", "sum", "separable", "purpose"]
    assert [line.split()[0] for line in lines[1 : 1 + len(CATALOGUE)]] == list(CATALOGUE)
    assert max(map(len, lines)) <= 80
    assert "maxpool:N" in result.out
    assert "\x1b" not in result.out


def test_list_as_json_csv_and_markdown():
    body = run_cnn("kernels", "--json").json
    assert body["schema"] == "cnncli/1"
    sharpen = next(entry for entry in body["kernels"] if entry["name"] == "sharpen")
    assert sharpen["kernel"] == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert sharpen["separable"] is False
    lines = run_cnn("kernels", "--format", "jsonl").out.splitlines()
    assert len(lines) == len(CATALOGUE)
    assert json.loads(lines[0])["name"] == "identity"
    assert run_cnn("kernels", "--format", "csv").out.splitlines()[0] == "name,size,sum,separable,purpose"
    assert run_cnn("kernels", "--format", "md").out.startswith("| name |")


def test_numbers_of_a_gradient():
    out = run_cnn("kernels", "sobel").out
    assert "-2   0   2" in out
    assert "-1  -2  -1" in out
    assert "2 kernels, square root of the sum of squares" in out


def test_fractions_stay_fractions_and_factors_are_shown():
    assert "-1/9   8/9  -1/9" in run_cnn("kernels", "highpass").out
    out = run_cnn("kernels", "1/16 * 1 2 1; 2 4 2; 1 2 1").out
    assert "= column (1 2 1) times row (1 2 1) / 16" in out


def test_flip_and_scale():
    assert run_cnn("kernels", "1 2; 3 4", "--flip", "--json").json["kernel"] == [[4, 3], [2, 1]]
    assert run_cnn("kernels", "1 2; 3 4", "--scale", "sum", "--json").json["sum"] == 1
    expect_error(run_cnn("kernels", "sobel-x", "--scale", "sum"), 2, "add up to 0", "drop --scale sum")
    expect_error(run_cnn("kernels", "--flip"), 2, "need the name of a kernel")


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [("sobol", 2, "did you mean sobel?"), ("relu", 2, "step without a kernel"), ("1 x", 2, "column 2"),
     ("@missing.txt", 3, "missing.txt"), ("@.", 3, "directory")],
)  # fmt: skip
def test_errors(name, code, word):
    expect_error(run_cnn("kernels", name), code, word)


def test_output_file_is_not_overwritten(tmp_path):
    target = tmp_path / "k.json"
    assert run_cnn("kernels", "box", "-o", target).code == 0
    body = json.loads(target.read_text())
    assert (body["kernel"][0], body["divisor"]) == ([1 / 9] * 3, 9)
    expect_error(run_cnn("kernels", "box", "-o", target), 1, "exists")
    assert run_cnn("kernels", "box", "-o", target, "-f").code == 0


def test_numba_is_not_imported():
    code = "import sys; from cnncli.cli.main import run; run(['kernels', 'sobel']); sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
