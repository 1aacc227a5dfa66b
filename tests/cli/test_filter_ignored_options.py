"""Options of `cnn filter` that contradict each other or would be ignored are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import expect_error, run_cnn

from cnncli.filters import parse_matrix

IMAGE = Path(__file__).parent.parent.parent / "samples/img.png"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy(IMAGE, tmp_path / "img.png")
    (tmp_path / "m.txt").write_text("1 2 4\n3 5 6\n7 8 10\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("img.png -k sobel --depth 8 --dtype uint16", "--depth and --dtype exclude each other"),
        ("img.png -k sobel --to jpg -o a.png", "--to: names the format on standard output"),
        ("img.png -k sobel --to jpg", "--to: names the format on standard output"),
        ("img.png -k sobel -o - --json", "would share standard output; write to a file"),
        ("m.txt -k sobel --print -o x.txt", "-o does not apply; drop -o, or write the numbers with -o FILE.txt"),
        ("img.png -k sobel --print --compare", "--compare does not apply"),
        ("img.png -k sobel -q -v", "-q and -v exclude each other"),
        ("img.png -k sobel --quality 50", "--quality: is for JPEG and WEBP, the output is PNG; drop --quality"),
        ("img.png -k sobel -o a.jpg --compress 9", "--compress: is for PNG and TIFF, the output is JPEG"),
        ("img.png -k sobel -o - --to jpg --compress 9", "--compress: is for PNG and TIFF, the output is JPEG"),
        ("img.png -k sobel --precision 2", "--precision: is for printed numbers, .txt and .csv, the output is PNG"),
        ("m.txt -k sobel --quality 50", "the output is numbers"),
        ("img.png -k clip:5,1", "clip: low 5 is above high 1; write clip:1,5"),
        ("img.png -k sobel --gray foo", "unknown method 'foo'; choose bt601, bt709, mean"),
        ("--gray foo img.png -k sobel", "unknown method 'foo'"),
        ("img.png -k sobel --to xyz -o -", "xyz"),
    ],
)
def test_refused(folder, arguments, words):
    expect_error(run_cnn("filter", *arguments.split()), 2, words)
    assert sorted(path.name for path in folder.iterdir()) == ["img.png", "m.txt"]


def test_a_lone_gray_still_takes_no_file(folder):
    shutil.copy("img.png", "picture")
    assert run_cnn("filter", "-k", "sobel", "--gray", "picture", "-o", "a.png").code == 0
    assert run_cnn("filter", "img.png", "-k", "sobel", "--gray", "mean", "-o", "b.png").code == 0


def test_used_options_still_work(folder):
    assert run_cnn("filter", "img.png", "-k", "sobel", "--quality", "50", "-o", "a.jpg").code == 0
    assert run_cnn("filter", "img.png", "-k", "sobel", "--compress", "9", "-o", "a.png").code == 0
    assert run_cnn("filter", "m.txt", "-k", "box", "--precision", "1").out.splitlines()[0] == "2.1 3.1 4.1"


@pytest.mark.parametrize("form", ["csv", "txt", "tsv"])
def test_numbers_on_standard_output(folder, form):
    expected = run_cnn("filter", "m.txt", "-k", "box", "-o", f"a.{form}")
    assert expected.code == 0
    done = run_cnn("filter", "m.txt", "-k", "box", "-o", "-", "--to", form)
    assert done.code == 0, done.err
    assert done.out.encode() == (folder / f"a.{form}").read_bytes()
    assert {"csv": ",", "txt": " ", "tsv": "\t"}[form] in done.out.splitlines()[0]


@pytest.mark.parametrize("suffix", ["csv", "txt", "tsv", "npy"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_matrix_is_read_as_the_same_matrix(folder, suffix, dtype, channels):
    values = np.random.default_rng(3).standard_normal((4, 5, channels)).astype(dtype)
    values[0, 0] = (1e-30,)
    values[1, 1] = -1e20
    np.save("x.npy", values)
    done = run_cnn("filter", "x.npy", "-k", "identity", "-o", f"y.{suffix}")
    assert done.code == 0, done.err
    found = np.load("y.npy") if suffix == "npy" else parse_matrix(Path(f"y.{suffix}").read_bytes(), f"y.{suffix}")
    np.testing.assert_array_equal(found.reshape(values.shape).astype(dtype), values)


def test_json_numbers_are_complete(folder):
    done = run_cnn("filter", "m.txt", "-k", "1/30 1/7", "--json", "-p", "valid")
    assert json.loads(done.out)["values"][0] == [1 / 30 + 2 / 7, 2 / 30 + 4 / 7]
    done = run_cnn("filter", "m.txt", "-k", "1/30 1/7", "-p", "valid")
    assert done.out.splitlines()[0] == "0.3190 0.6381"


def test_help_has_no_empty_heading():
    lines = run_cnn("filter", "-h").out.splitlines()
    assert ":" not in [line.strip() for line in lines]
    assert "Arithmetic:" in lines
