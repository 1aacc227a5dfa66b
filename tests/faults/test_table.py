"""Every row of the table in README.md is named by a test, and every row that a test names is in the table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
FOLDERS = ("faults", "io", "kernels", "tasks/train")  # where tests of rows are
# row07 in the name of a test or of a case; the number alone in front of a case of this folder
NAMED = re.compile(r"row0*([0-9]+)|^tests/faults/.*?[\[-]([0-9]+) ")


def rows_named(ids):
    """Return the rows that names of tests name."""
    found = [NAMED.findall(one) for one in ids]
    return {int(a or b) for pairs in found for a, b in pairs}


def rows_without_a_test(table, ids):
    """Return the rows of a table in Markdown that no test names."""
    return sorted(set(map(int, re.findall(r"^\| (\d+) \|", table, re.M))) - rows_named(ids))


@pytest.fixture(scope="module")
def ids():
    """Return the names of all tests that are collected in these folders, those that are slow too."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=--import-mode=importlib"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:xdist", *(f"tests/{name}" for name in FOLDERS)],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_every_row_is_named_by_a_test(ids):
    table = (HERE / "README.md").read_text()
    assert rows_without_a_test(table, ids) == []
    assert rows_named(ids) <= set(map(int, re.findall(r"^\| (\d+) \|", table, re.M)))


def test_a_row_without_a_test_is_found(ids):
    table = (HERE / "README.md").read_text()
    assert rows_without_a_test(table + "| 999 | dragons | 3 |\n", ids) == [999]
    assert rows_without_a_test(table, [one for one in ids if "row113" not in one]) == [113]
    assert rows_without_a_test(table, [one for one in ids if "[79 " not in one]) == [79]
