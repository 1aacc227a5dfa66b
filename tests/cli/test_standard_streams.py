"""Standard streams that are closed or full: the work is done where it can be, one line says what could not be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import expect_error, run_cnn

from cnncli.cli import main

CNN = Path(sys.executable).with_name("cnn")
IMAGE = Path(__file__).parent.parent.parent / "samples/img.png"


@pytest.fixture
def folder(tmp_path):
    shutil.copy(IMAGE, tmp_path / "img.png")
    return tmp_path


def shell(command, folder, **environment):
    """Run a command line; a traceback is never right."""
    done = subprocess.run(
        ["bash", "-c", f"cnn() {{ {CNN} \"$@\"; }}; {command}"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    assert "unexpected" not in done.stderr, done.stderr
    return done


CLOSED = "cnn: error: standard output: cannot be written: it is closed; give an output file with -o\n"


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "filter -h", "kernels", "kernels sobel --json", "shape 28x28x3 -k 5",
                  "params lenet5", "new lenet5", "new --list", "filter img.png -k sobel -o -"],
)  # fmt: skip
def test_closed_output_is_an_error_for_what_belongs_there(folder, arguments):
    done = shell(f"cnn {arguments} -q >&-" if arguments.startswith("filter img") else f"cnn {arguments} >&-", folder)
    assert (done.returncode, done.stderr) == (1, CLOSED)


def test_closed_output_does_not_stop_what_goes_to_files(folder):
    expected = shell("cnn filter img.png -k sobel -o a.png", folder)
    done = shell("cnn filter img.png -k sobel -o b.png >&-", folder)
    assert done.returncode == expected.returncode == 0
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    assert shell("cnn params lenet5 -o net.json >&-", folder).returncode == 0
    assert json.loads((folder / "net.json").read_text())


def test_closed_error_does_not_stop_anything(folder):
    done = shell("cnn filter img.png -k sobel -o b.png 2>&-", folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert (folder / "b.png").read_bytes()[:4] == b"\x89PNG"
    assert shell("cnn kernels nothing 2>&-", folder).returncode == 2
    assert shell("cnn filter img.png -k sobel -o all.png <&- >&- 2>&-", folder).returncode == 0
    assert (folder / "all.png").read_bytes() == (folder / "b.png").read_bytes()


@pytest.mark.parametrize("arguments", ["filter - -k relu", "filter --files-from - -k relu", "params -", "shape -"])
def test_closed_input_is_said(folder, arguments):
    done = shell(f"cnn {arguments} <&-", folder)
    assert done.returncode == 1
    assert done.stderr == "cnn: error: standard input is closed; name a file, or open it: cnn ... - < FILE\n"


def test_training_and_predicting_with_closed_streams(folder):
    done = shell("cnn train digits -d digits -e 1 --run-dir run --limit 64 >&- 2>&- <&-", folder)
    assert done.returncode in (0, 1)
    assert (folder / "run/best.safetensors").exists()
    done = shell("cnn predict run img.png >&-", folder)
    assert done.returncode == 1
    assert "standard output: cannot be written: it is closed" in done.stderr
    done = shell("cnn predict run - <&-", folder)
    assert "standard input is closed" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize(
    "arguments", ["kernels", "kernels --json", "--version", "filter -h", "filter img.png -k sobel -o - -q",
                  "filter img.png -k sobel -o x.png --json", "params lenet5 --json"],
)  # fmt: skip
def test_a_full_disk_behind_standard_output(folder, arguments):
    done = shell(f"cnn {arguments} > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr == ("cnn: error: standard output: cannot be written: no space left on device; free some space\n")


def test_a_full_disk_behind_both_streams(folder):
    assert shell("cnn kernels nothing --json > /dev/full 2> /dev/full", folder).returncode == 2


def test_a_reader_that_has_gone_ends_quietly(folder):
    done = shell("cnn kernels --format jsonl | true; echo ${PIPESTATUS[0]}", folder)
    assert done.stdout.strip() in ("0", "141")
    assert done.stderr == ""
    loop = "import sys; sys.exit(0)"
    done = shell(f"(sleep 1; cnn kernels) | {sys.executable} -c '{loop}'; echo ${{PIPESTATUS[0]}}", folder)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize("form", [["--json"], ["--format", "json"], ["--format=json"], ["--format", "jsonl"]])
def test_errors_as_json(form):
    done = run_cnn("kernels", "nothing", *form)
    assert done.json["error"]["message"] == "unknown kernel 'nothing'"
    assert done.json["error"]["code"] == done.code == 2
    assert run_cnn("kernels", "nothing", "--", "--json").out == ""
    assert run_cnn("kernels", "nothing", "--format", "csv").out == ""


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (MemoryError("Unable to allocate 9 GiB"), 1, "out of memory (Unable to allocate 9 GiB); use a smaller image"),
        (FileNotFoundError(2, "No such file or directory", "gone.txt"), 1, "gone.txt: No such file or directory"),
        (OSError(5, "Input/output error"), 1, "standard output: cannot be written: input/output error"),
        (OSError(11, "Resource temporarily unavailable"), 1, "Resource temporarily unavailable"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero; this is a fault"),
        (KeyboardInterrupt(), 130, "interrupted; nothing half-written was left"),
    ],
)
def test_every_fault_becomes_one_line(monkeypatch, fault, code, words):
    def broken(*_):
        raise fault

    monkeypatch.delenv("CNN_DEBUG", raising=False)
    monkeypatch.setattr("cnncli.reporting.kernel_report.catalogue", broken)
    expect_error(run_cnn("kernels"), code, words)


def test_debugging_shows_the_traceback(folder):
    done = subprocess.run(
        [CNN, "kernels", "nothing"], env=os.environ | {"CNN_DEBUG": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cnn: error: unknown kernel 'nothing'")
    assert "Traceback" in done.stderr
    assert "UsageError" in done.stderr


def test_debugging_lets_a_fault_through(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setenv("CNN_DEBUG", "1")
    monkeypatch.setattr("cnncli.reporting.kernel_report.catalogue", broken)
    with pytest.raises(ZeroDivisionError):
        main.run(["kernels"])


def test_every_option_has_a_variable_of_its_name():
    done = subprocess.run(
        [CNN, "kernels", "sharpen"], env=os.environ | {"CNN_KERNELS_FORMAT": "csv"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == "0,-1,0\n-1,5,-1\n0,-1,0\n"


def completions(folder, line):
    words = line.split(" ")
    done = subprocess.run(
        [CNN], cwd=folder, capture_output=True, text=True, check=True,
        env=os.environ | {"_CNN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
    )  # fmt: skip
    return [tuple(answer.split(",", 1)) for answer in done.stdout.splitlines()]


def test_completion(folder):
    (folder / "kern.txt").write_text("1\n")
    assert completions(folder, "cnn filter im") == [("file", "im")]
    assert completions(folder, "cnn predict r") == [("file", "r")]
    assert completions(folder, "cnn filter img.png -o ou") == [("file", "ou")]
    assert completions(folder, "cnn filter img.png -k sob") == [("plain", n) for n in ("sobel", "sobel-x", "sobel-y")]
    assert ("plain", "relu") in completions(folder, "cnn filter img.png -k re")
    assert completions(folder, "cnn filter img.png -k @k") == [("plain", "@kern.txt")]
    assert completions(folder, "cnn kernels sch")[0] == ("plain", "scharr")
    assert ("plain", "lenet5") in completions(folder, "cnn params le")
    assert completions(folder, "cnn params my") == [("file", "my")]
    assert ("plain", "digits") in completions(folder, "cnn train --dataset di")
    assert completions(folder, "cnn filter img.png --as ke") == [("plain", "keras")]
    assert ("plain", "filter") in completions(folder, "cnn fil")
