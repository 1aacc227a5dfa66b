"""README is true: its commands exist and its short examples print what it shows."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cnncli.cli.main import COMMANDS
from cnncli.model import parse_model

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL) if block.startswith("$ ")]
# Commands that are quick and print numbers, not times: these run here.
EXACT = [
    (match[1], match[2])
    for block in BLOCKS
    for match in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", block, re.MULTILINE)
    if re.match(r"printf|cnn (shape|params|kernels|filter)", match[1])
]


def environment():
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_every_command_stands_in_the_readme():
    for name in COMMANDS:
        assert re.search(rf"\bcnn {name}\b", TEXT), name


def test_the_two_set_up_commands_stand_in_the_readme():
    assert "python -m pip install . && cnn train --dataset digits" in TEXT
    assert 'python -m pip install -e ".[test]" && python -m pytest -n 2 --dist loadfile' in TEXT


def test_examples_are_found():
    assert len(EXACT) >= 4


@pytest.mark.parametrize(("command", "expected"), EXACT, ids=[command for command, _ in EXACT])
def test_example_prints_what_the_readme_says(command, expected, tmp_path):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # the summary of a matrix goes to standard error and is left out of the example
    shown = done.stdout or done.stderr
    assert shown.split() == expected.split(), shown


def test_the_architecture_in_the_readme_is_one():
    blocks = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert [parse_model(block, "README.md").output_shape for block in blocks] == [(10,)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name):
    done = subprocess.run(
        ["bash", "-c", f"cnn {shlex.quote(name)} --help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
