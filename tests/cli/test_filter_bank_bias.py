"""The two filters of the CS231n example, each with its bias, in one command."""

import json
from pathlib import Path

import numpy as np
from command_line import run_cnn

CASES = json.loads((Path(__file__).parents[1] / "golden" / "worked_examples.json").read_text())


def test_one_bias_a_filter(tmp_path):
    case = next(case for case in CASES if case["id"] == "s002-cs231n-output")
    given = case["input"]
    np.save(tmp_path / "x.npy", np.array(given["x"], float).transpose(1, 2, 0))
    np.save(tmp_path / "w.npy", np.array(given["weights"], float))
    bias = ",".join(map(str, given["biases"]))
    image, bank = str(tmp_path / "x.npy"), f"@{tmp_path / 'w.npy'}"
    result = run_cnn("filter", image, "-k", bank, "-p", "1", "-s", "2", "--bias", bias, "--print")
    planes = [[[float(v) for v in row.split()] for row in block.splitlines()] for block in result.out.split("\n\n")]
    np.testing.assert_array_equal(planes, case["expected"])


def test_a_wrong_number_of_biases_is_a_usage_error(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 5, 3)))
    np.save(tmp_path / "w.npy", np.ones((2, 3, 3, 3)))
    arguments = "-k", f"@{tmp_path / 'w.npy'}", "--print", "--bias"
    for bias, part in (("1,2,3", "3 biases for the 2 filters"), ("1,x", "'x' is not a number")):
        result = run_cnn("filter", str(tmp_path / "x.npy"), *arguments, bias)
        assert result.code == 2
        assert part in result.err.splitlines()[-1]
