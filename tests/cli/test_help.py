"""Every command has help that begins with examples, each on a line of its own and at most 80 columns wide."""

import subprocess
import sys

import pytest

from cnncli.cli.main import COMMANDS


def cnn(*arguments):
    return subprocess.run([sys.executable, "-m", "cnncli", *arguments], capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_examples(name):
    for option in ("--help", "-h"):
        done = cnn(name, option)
        assert done.returncode == 0
        assert done.stderr == ""
    lines = done.stdout.splitlines()
    start = lines.index("  Examples:")
    assert start <= 5
    examples = [line for line in lines[start + 1 :] if line.startswith("    ")]
    assert any(line.startswith(f"    cnn {name}") for line in examples)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_does_not_import_the_compiler(name):
    script = (
        "import sys\nfrom cnncli.cli.main import main\n"
        "try: main(sys.argv[1:])\nfinally: assert 'numba' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, name, "--help"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_command_list():
    done = cnn("--help")
    assert done.returncode == 0
    for name, (_, line) in COMMANDS.items():
        assert f"{name} " in done.stdout
        assert line in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_no_arguments_shows_the_help():
    done = cnn()
    assert done.returncode == 2
    assert "Commands:" in done.stdout
    assert done.stderr == ""


def test_typo_gets_a_suggestion():
    done = cnn("fliter")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cnn: error: no such command 'fliter'")
    assert "filter" in done.stderr


def test_version():
    assert cnn("--version").stdout.startswith("cnn, version ")
