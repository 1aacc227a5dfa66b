"""Hints for unknown names given to `-k`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import expect_error, run_cnn

from cnncli.io.images.decode import decode_image

IMAGE = Path(__file__).parent.parent.parent / "samples/img.png"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("percentile", "is not a sum of products"),
        ("opening", "-k minimum:3 -k maximum:3"),
        ("median", "median:3 is a step without a kernel"),
        ("equalize", "write --range equalize, which needs no kernel"),
        ("gaussian:50", "gaussian:50,301 has 301x301 numbers, the limit is 255x255; `cnn filter` applies it"),
        ("unsharp:1,50", "use a sigma up to 42, size=255"),
        ("gabor:0,80", "481x481"),
        ("gaussian:1,300", "300x300 numbers, the limit is 255x255"),
    ],
)
def test_other_words(name, words):
    expect_error(run_cnn("kernels", name), 2, words)


def test_what_the_hints_name_works(tmp_path):
    source = tmp_path / "img.png"
    shutil.copy(IMAGE, source)
    for arguments in (["minimum:3", "-k", "maximum:3"], ["gaussian:42"], ["gaussian:50,255"]):
        done = run_cnn("filter", source, "-k", *arguments, "-o", tmp_path / "o.png", "-f")
        assert done.code == 0, (arguments, done.err)


def test_options_that_need_no_kernel(tmp_path):
    pixels = decode_image(IMAGE.read_bytes(), "s").pixels
    for words, name, same_as in (
        (["--gray"], "gray", ["-k", "gray"]),
        (["--range", "equalize"], "equalize", ["-k", "identity", "--range", "equalize"]),
        (["--range", "minmax", "--gray", "mean"], "gray-minmax", ["-k", "gray:mean", "--range", "minmax"]),
        (["--depth", "16"], "uint16", ["-k", "identity", "--dtype", "uint16"]),
        (["--channels", "R"], "r", ["-k", "identity", "--channels", "0"]),
        (["--alpha", "drop"], "opaque", ["-k", "identity"]),
    ):
        done = run_cnn("filter", IMAGE, *words, "-o", f"{tmp_path}/")
        assert done.code == 0, done.err
        other = run_cnn("filter", IMAGE, *same_as, "-o", tmp_path / "other.png", "-f")
        assert other.code == 0, other.err
        assert (tmp_path / f"img-{name}.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    assert run_cnn("filter", IMAGE, "-k", "invert", "-o", tmp_path / "n.png").code == 0
    assert np.array_equal(decode_image((tmp_path / "n.png").read_bytes(), "n").pixels, 255 - pixels)
    matrix = run_cnn("filter", "-", "--gray", stdin="1 2\n3 4\n")
    assert matrix.out.split() == ["1", "2", "3", "4"]


def test_nothing_to_do_is_refused():
    expect_error(run_cnn("filter", IMAGE), 2, "no kernel is given; try -k sobel")
    expect_error(run_cnn("filter", IMAGE, "--gray", "-p", "1"), 2, "--padding: it is for kernels, and none is given")


def test_sizes_that_do_not_fit(tmp_path):
    expect_error(run_cnn("filter", "-", "-k", "box:9", "-p", "valid", stdin="1 2\n3 4\n"), 3,
                 "2x2 image, 9x9 kernel: the kernel is larger than the image; use --padding same")  # fmt: skip


def test_a_folder_that_is_not_there_and_an_empty_pipe(tmp_path):
    expect_error(run_cnn("filter", IMAGE, "-k", "sobel", "-o", tmp_path / "newdir"), 2, "newdir/ if it is a folder")
    expect_error(run_cnn("filter", "-", "-k", "sobel"), 3, "nothing came through the pipe")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    assert run_cnn("train", "digits", "-d", "digits", "-e", "1", "--limit", "64", "--run-dir", run, "-q").code == 0
    return run


def test_a_run_is_asked_for_its_layer(trained, monkeypatch):
    for spec in (trained, trained / "best.safetensors", f"{trained}:conv1", f"{trained}:nothing"):
        expect_error(run_cnn("kernels", spec), 2, "has many kernels (layers conv1, conv2)", ":conv1[0]")
    expect_error(run_cnn("kernels", f"{trained}:conv2"), 2, ":conv2[0]")
    expect_error(run_cnn("kernels", f"@{trained}/best.safetensors"), 3, "without @", "best.safetensors:conv1[0]")
    expect_error(run_cnn("filter", IMAGE, "-k", trained), 2, ":conv1[0]")
    monkeypatch.chdir(trained.parent)
    trained.rename("sobel")
    assert run_cnn("kernels", "sobel").out.startswith("# sobel")
    Path("sobel").rename(trained)


@pytest.mark.parametrize("which", ["conv1[0]", "conv1[*]", "conv2[3]", "conv2[*]"])
def test_learned_kernels_are_read_back(trained, tmp_path, which):
    pixels = np.random.default_rng(4).random((8, 9, 1 if which.startswith("conv1") else 0))
    target = tmp_path / "k.json"
    assert run_cnn("kernels", f"{trained}:{which}", "-o", target).code == 0
    direct = run_cnn("kernels", f"{trained}:{which}", "--json").json
    assert run_cnn("kernels", f"@{target}", "--json").json == direct
    if pixels.size:
        text = "\n".join(" ".join(map(repr, row)) for row in pixels[..., 0].tolist())
        outs = [run_cnn("filter", "-", "-k", k, "--precision", "17", stdin=text)
                for k in (f"{trained}:{which}", f"@{target}")]  # fmt: skip
        assert outs[0].code == 0
        assert outs[0].out == outs[1].out
