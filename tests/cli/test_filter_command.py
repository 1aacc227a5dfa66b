"""`cnn filter` as a user sees it: matrices, images, names, batches, pictures."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import expect_error, run_cnn
from faults.installed import CNN
from PIL import Image as Pillow

from cnncli.errors import CnnError

SAMPLES = Path(__file__).parents[2] / "samples"
LECTURE = "105 102 100 97 96\n103 99 103 101 102\n101 98 104 102 100\n99 101 106 104 99\n104 104 104 100 98\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path):
    with Pillow.open(path) as picture:
        return np.asarray(picture)


def write(path, pixels, **options):
    Pillow.fromarray(pixels).save(path, **options)
    return path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# matrices


def test_lecture_matrix_is_printed_as_plain_numbers():
    result = run_cnn("filter", "-", "-k", "sharpen", "-p", "1", "--print", stdin=LECTURE)
    assert result.code == 0
    assert result.out.splitlines()[:2] == ["320 206 198 188 281", "210 89 111 101 213"]
    assert "cross-correlation" in result.err
    assert "padding 1" in result.err
    assert "border=zero" in result.err


@pytest.mark.parametrize(("flip", "value"), [([], "34"), (["--flip"], "26"), (["--no-flip"], "34")])
def test_flip(flip, value):
    kernel = "1 2 3; 4 5 6; 7 8 9"
    result = run_cnn("filter", "-", "-k", kernel, "-p", "0", *flip, stdin="1 0 0\n0 2 0\n1 2 0\n")
    assert result.out == f"{value}\n"
    assert ("true convolution" in result.err) == (flip == ["--flip"])


def test_channels_are_separated_by_a_blank_line_and_precision_is_obeyed():
    result = run_cnn("filter", "-", "-k", "1/3", "--precision", "2", stdin="1 2\n3 4\n\n9 8\n7 6\n")
    assert result.out == "0.33 0.67\n1.00 1.33\n\n3.00 2.67\n2.33 2.00\n"


@pytest.mark.parametrize(("name", "separator"), [("b.txt", " "), ("b.csv", ","), ("b.tsv", "\t")])
def test_matrix_files(folder, name, separator):
    (folder / "a.csv").write_text("1,2\n3,4\n")
    assert run_cnn("filter", "a.csv", "-k", "identity", "-o", name).code == 0
    assert (folder / name).read_text() == f"1{separator}2\n3{separator}4\n"


def test_npy_keeps_its_type(folder):
    np.save("a.npy", np.array([[1, 2], [3, 40000]], np.uint16))
    assert run_cnn("filter", "a.npy", "-k", "identity", "-o", "b.npy").code == 0
    assert np.load("b.npy").dtype == np.uint16
    assert np.load("b.npy").tolist() == [[1, 2], [3, 40000]]
    assert run_cnn("filter", "a.npy", "-k", "0.5").out == "0.5000 1.0000\n1.5000 20000.0000\n"


def test_numbers_of_an_image_are_not_fitted_to_pixels_unless_asked(folder):
    write("a.png", np.array([[0, 255], [255, 255]], np.uint8))
    raw = run_cnn("filter", "a.png", "-k", "sharpen", "-p", "1", "--print")
    assert raw.out == "-510 1020\n1020 765\n"
    clipped = run_cnn("filter", "a.png", "-k", "sharpen", "-p", "1", "--print", "--range", "clip")
    assert clipped.out == "0 255\n255 255\n"
    assert "clipped" in clipped.err


def test_json_holds_shapes_numbers_and_what_was_done():
    body = run_cnn("filter", "-", "-k", "sharpen", "-p", "1", "--json", stdin=LECTURE).json
    assert body["schema"] == "cnncli/1"
    assert body["values"][0] == [320, 206, 198, 188, 281]
    assert body["shape"] == body["result_shape"] == [5, 5, 1]
    assert body["steps"] == "sharpen 3x3"


# images


def test_default_name_and_summary(folder):
    write("a.png", noise(9, 12, 3))
    result = run_cnn("filter", "a.png", "--kernel", "sobel")
    assert result.code == 0
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0].startswith("a.png 9x12x3 uint8 · sobel")
    assert "same, border=replicate" in lines[0]
    assert "% of values above 255 clipped (max" in lines[1]
    assert lines[1].endswith("use --range minmax to keep them")
    assert lines[2] == "wrote a-sobel.png"
    assert read("a-sobel.png").shape == (9, 12, 3)
    expect_error(run_cnn("filter", "a.png", "--kernel", "sobel"), 1, "a-sobel.png: exists; use -f")
    assert run_cnn("filter", "a.png", "--kernel", "sobel", "-f", "-q").err == ""


@pytest.mark.parametrize(("specs", "name"), [
    (["gaussian:1.5", "sharpen"], "a-gaussian-1.5-sharpen.png"),
    (["0 0 0; 0 1 0; 0 0 0"], "a-custom.png"),
    (["@edge.txt"], "a-edge.png"),
    (["maxpool:2,s=2"], "a-maxpool-2-s-2.png"),
])  # fmt: skip
def test_names_hold_the_steps(folder, specs, name):
    write("a.png", noise(8, 8))
    (folder / "edge.txt").write_text("0 -1 0\n-1 4 -1\n0 -1 0\n")
    assert run_cnn("filter", "a.png", *[word for spec in specs for word in ("-k", spec)]).code == 0
    assert (folder / name).exists()


def test_raw_results_go_to_tiff_by_default(folder):
    write("a.png", noise(8, 8))
    assert run_cnn("filter", "a.png", "-k", "edge8", "--range", "raw").code == 0
    found = read("a-edge8.tif")
    assert found.dtype == np.float32
    assert found.min() < 0


def test_sixteen_bits_stay_sixteen(folder):
    write("a.png", np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    assert run_cnn("filter", "a.png", "-k", "identity").code == 0
    np.testing.assert_array_equal(read("a-identity.png"), np.arange(64).reshape(8, 8) * 1000)
    assert run_cnn("filter", "a.png", "-k", "identity", "--depth", "8", "-o", "b.jpg").code == 0


def test_image_through_pipes(folder):
    stream = io.BytesIO()
    pixels = noise(6, 7, 3)
    Pillow.fromarray(pixels).save(stream, "PNG")
    done = subprocess.run(
        [CNN, "filter", "-", "-k", "identity", "-o", "-", "--to", "ppm"],
        input=stream.getvalue(),
        capture_output=True,
        check=True,
    )
    np.testing.assert_array_equal(read(io.BytesIO(done.stdout)), pixels)
    assert b"wrote standard output" in done.stderr


def test_gray_may_stand_before_the_input(folder):
    write("a.png", noise(6, 6, 3))
    for words in (["--gray", "a.png"], ["--gray", "bt709", "a.png"], ["a.png", "--gray"]):
        assert run_cnn("filter", *words, "-k", "identity", "-f").code == 0
        assert read("a-identity.png").shape == (6, 6)
    expect_error(run_cnn("filter", "a.png", "-k", "box", "--gray=bt2020"), 2, "unknown method 'bt2020'")


def test_channels(folder):
    pixels = noise(4, 4, 3)
    write("a.png", pixels)
    for text, want in (("G", pixels[..., 1]), ("0", pixels[..., 0]), ("B,R", None)):
        result = run_cnn("filter", "a.png", "-k", "identity", "--channels", text, "-o", "b.npy", "-f")
        assert result.code == 0, result.err
        np.testing.assert_array_equal(np.load("b.npy"), pixels[..., [2, 0]] if want is None else want)


def test_split_channels(folder):
    pixels = noise(4, 4, 3)
    write("a.png", pixels)
    words = ["filter", "a.png", "-k", "identity", "--split-channels", "-o", "b.png"]
    result = run_cnn(*words)
    assert result.code == 0
    for channel in range(3):
        np.testing.assert_array_equal(read(f"b-{channel}.png"), pixels[..., channel])
    assert below(".") == ["a.png", "b-0.png", "b-1.png", "b-2.png"]
    assert "wrote 3 files b-0.png to b-2.png" in result.err
    body = run_cnn(*words, "--json", "-f").json
    assert body["target"] is None
    assert body["outputs"] == {f"b-{n}.png": os.path.getsize(f"b-{n}.png") for n in range(3)}


def test_split_channels_of_one_channel(folder):
    write("a.png", noise(4, 4))
    result = run_cnn("filter", "a.png", "-k", "box", "--split-channels")
    assert result.code == 0
    assert "wrote a-box-0.png\n" in result.err


def test_a_channel_that_exists_is_refused_before_another_is_written(folder):
    write("a.png", noise(4, 4, 3))
    Path("b-1.png").write_bytes(b"mine")
    expect_error(run_cnn("filter", "a.png", "-k", "box", "--split-channels", "-o", "b.png"), 1, "b-1.png: exists")
    assert below(".") == ["a.png", "b-1.png"]


def test_channels_are_all_written_or_none(folder, monkeypatch):
    """A channel that appears or cannot be written in the meantime takes back those before it."""
    from cnncli.tasks.filter import one_file

    def fail_at_the_last(path, *arguments, real=one_file.write_atomically, **options):
        if path == "b-2.png":
            raise CnnError("no space left on the disk", where=path, hint="free some space")
        real(path, *arguments, **options)

    write("a.png", noise(4, 4, 3))
    monkeypatch.setattr(one_file, "write_atomically", fail_at_the_last)
    expect_error(run_cnn("filter", "a.png", "-k", "box", "--split-channels", "-o", "b.png"), 1, "b-2.png: no space")
    assert below(".") == ["a.png"]


@pytest.mark.parametrize("output", [["-o", "-"], ["--print"]])
def test_channels_cannot_be_split_into_a_stream(folder, output):
    write("a.png", noise(4, 4, 3))
    expect_error(run_cnn("filter", "a.png", "-k", "box", "--split-channels", *output), 2, "several files; name one")


@pytest.mark.parametrize("manifest", [[], ["--manifest", "m.jsonl"]])
def test_split_channels_are_resumed(scans, manifest):
    words = ["scans", "-r", "-k", "box", "-o", "out/", "--split-channels", "--skip-existing", *manifest]
    assert batch(*words).returncode == 0
    assert len(below("out")) == 4 + 3
    assert "5 skipped" in batch(*words).stderr
    os.unlink("out/deep/0-box-2.jpg")
    done = batch(*words, "--json", "-q")
    bodies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [body["status"] for body in bodies] == ["skipped"] * 4 + ["written"]
    assert list(bodies[-1]["outputs"]) == [f"out/deep/0-box-{n}.jpg" for n in range(3)]
    assert len(below("out")) == 4 + 3
    if manifest:
        Path("out/1-box-0.png").write_bytes(b"another size")
        assert "4 skipped" in batch(*words).stderr
        records = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
        assert all(Path(name).stat().st_size == size for name, size in records[-1]["outputs"].items())


# names that cannot hold the result


def test_a_default_name_gets_an_extension_that_holds_the_result(folder):
    Pillow.fromarray(noise(6, 6, 3)).convert("P").save("p.gif")
    Pillow.fromarray(noise(6, 6, 3)).save("b.pgm", format="PPM")
    tifffile.imwrite("f.tif", np.ones((4, 4), np.float32))
    Path("m.csv").write_text("1,2\n3,4\n")
    write("a.png", noise(6, 6, 3))
    done = batch(".", "m.csv", "-r", "-k", "box", "-o", "out/", "-v")
    assert done.returncode == 0, done.stderr
    assert below("out") == ["a-box.png", "b-box.png", "f-box.tif", "m-box.csv", "p-box.png"]
    assert "note: GIF holds 1 channel, the result has 3: written to out/p-box.png" in done.stderr
    assert "note: PGM holds 1 channel, the result has 3: written to out/b-box.png" in done.stderr
    np.save("n.npy", np.ones((2, 2)))
    done = batch("a.png", "f.tif", "m.csv", "n.npy", "p.gif", "-k", "box", "-v")
    assert done.returncode == 0, done.stderr
    assert {"a-box.png", "f-box.tif", "m-box.csv", "n-box.npy", "p-box.png"} <= set(below("."))
    assert "note: PNG holds no float32 samples: written to f-box.tif" in done.stderr


@pytest.mark.parametrize("tool", ["torch", "keras", "lecture"])
def test_tools_that_answer_with_floats_have_a_default_name(folder, tool):
    write("a.png", noise(6, 6, 3))
    result = run_cnn("filter", "a.png", "-k", "sobel-x", "--as", tool)
    assert result.code == 0, result.err
    assert below(".") == ["a-sobel-x.tif", "a.png"]


def test_a_bank_has_a_default_name(folder):
    np.save("k.npy", np.ones((4, 1, 3, 3)))
    write("a.png", noise(6, 6))
    result = run_cnn("filter", "a.png", "-k", "@k.npy")
    assert result.code == 0, result.err
    assert "note: PNG holds 1 or 3 channels, the result has 4: written to a-k.tif" in result.err
    expect_error(run_cnn("filter", "a.png", "-k", "@k.npy"), 1, "a-k.tif: exists")
    assert run_cnn("filter", "a.png", "-k", "@k.npy", "-f").code == 0


def test_no_two_inputs_fall_back_to_one_name(folder):
    for name in ("x.gif", "x.pgm", "x-box.jpg"):
        os.makedirs("in", exist_ok=True)
        picture = Pillow.fromarray(noise(6, 6, 3))
        kind = {"x.gif": "GIF", "x.pgm": "PPM"}.get(name)
        (picture.convert("P") if kind == "GIF" else picture).save(f"in/{name}", format=kind)
    write("in/x.png", noise(6, 6, 3))
    done = batch("in", "-r", "-k", "box", "-o", "in/")
    assert done.returncode == 0, done.stderr
    names = ["x-box-box.jpg", "x-box.gif.png", "x-box.jpg", "x-box.pgm.png", "x-box.png"]
    assert below("in") == sorted([*names, "x.gif", "x.pgm", "x.png"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-o", "b.jpg", "--range", "raw"], "JPEG holds no float32 samples"),
        (["-o", "b.gif"], "GIF holds 1 channel, the result has 3"),
        (["-o", "b.bmp", "--depth", "16"], "BMP holds no uint16 samples"),
        (["-o", "-", "--to", "pgm"], "PGM holds 1 channel, the result has 3"),
    ],
)
def test_a_name_that_was_asked_for_is_refused_before_the_work(folder, monkeypatch, words, text):
    import cnncli.tasks.filter.batch as task

    def work(*_, **__):
        raise AssertionError("filtered")

    monkeypatch.setattr(task, "apply", work)
    write("a.png", noise(6, 6, 3))
    expect_error(run_cnn("filter", "a.png", "-k", "box", *words), 1, text, "write ")
    assert below(".") == ["a.png"]


def test_what_does_not_fit_names_the_file(folder):
    write("a.png", noise(6, 6))
    expect_error(run_cnn("filter", "a.png", "-k", "box:9", "-p", "valid"), 3, "a.png: 6x6 image, 9x9 kernel")


def test_results_under_another_name_are_resumed(folder):
    Pillow.fromarray(noise(6, 6, 3)).convert("P").save("p.gif")
    write("a.png", noise(6, 6, 3))
    for manifest in ([], ["--manifest", "m.jsonl"]):
        words = ["p.gif", "a.png", "-k", "box", "-o", "out/{stem}{ext}", "--skip-existing", *manifest]
        batch(*words)
        assert below("out") == ["a.png", "p.png"]
        assert "2 skipped" in batch(*words).stderr


def test_hidden_colours_do_not_bleed(folder):
    """A red disc on transparent green: blurred, nothing visible turns green."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 1] = 255
    pixels[4:12, 4:12] = (255, 0, 0, 255)
    write("a.png", pixels)
    for alpha in ("keep", "filter"):
        assert run_cnn("filter", "a.png", "-k", "box:5", "--alpha", alpha, "-f").code == 0
        found = read("a-box-5.png")
        visible = found[found[..., 3] > 0]
        assert visible[:, 0].min() == 255
        assert visible[:, 1].max() == 0
        assert (found[..., 3] == pixels[..., 3]).all() == (alpha == "keep")
    assert run_cnn("filter", "a.png", "-k", "box:5", "--alpha", "drop", "-f").code == 0
    assert read("a-box-5.png").shape == (16, 16, 3)


def test_sharpening_next_to_transparency_stays_calm(folder):
    pixels = np.zeros((9, 9, 4), np.uint8)
    pixels[3:6, 3:6] = (200, 100, 50, 255)
    write("a.png", pixels)
    assert run_cnn("filter", "a.png", "-k", "sharpen", "-f").code == 0
    found = read("a-sharpen.png")
    assert (found[3:6, 3:6] == (200, 100, 50, 255)).all()  # an even area has nothing to sharpen


@pytest.mark.parametrize("options", [["-p", "valid"], ["-s", "2"], ["-k", "maxpool:2"], ["-p", "full"]])
def test_alpha_follows_the_geometry(folder, options):
    pixels = noise(12, 14, 4)
    write("a.png", pixels)
    assert run_cnn("filter", "a.png", "-k", "identity", *options, "-o", "b.png").code == 0
    alone = pixels[..., 3]
    write("c.png", alone)
    outside = ["--border", "constant:255"] if "full" in options else []  # the border adds opaque pixels
    assert run_cnn("filter", "c.png", "-k", "identity", *options, *outside, "-o", "d.png").code == 0
    np.testing.assert_array_equal(read("b.png")[..., 3], read("d.png"))


def test_compare_shows_three_panels(folder):
    write("a.png", noise(200, 220, 3))
    result = run_cnn("filter", "a.png", "-k", "sobel", "--compare")
    assert result.code == 0
    found = read("a-sobel-compare.png")
    assert found.shape[1] == 3 * 220 + 4 * 12
    np.testing.assert_array_equal(found[12:212, 12:232], noise(200, 220, 3))
    assert (found[220:, 12:232] != 255).any(), "no caption"


def test_every_peer_and_sample(folder):
    for tool in ("torch", "keras", "opencv", "scipy", "imagemagick", "pillow", "vips", "lecture"):
        result = run_cnn("filter", SAMPLES / "img.png", "-k", "sharpen", "--as", tool, "-o", f"{tool}.npy")
        assert result.code == 0, result.err
        assert f"--as {tool}" in result.err


# batches


@pytest.fixture
def scans(folder):
    (folder / "scans/deep").mkdir(parents=True)
    for number in range(4):
        write(f"scans/{number}.png", noise(8, 8, seed=number))
    write("scans/deep/0.jpg", noise(8, 8, 3))
    (folder / "scans/notes.txt").write_text("not an image")
    write("scans/.hidden.png", noise(8, 8))
    return folder


def batch(*arguments):
    return subprocess.run([CNN, "filter", *arguments], capture_output=True, text=True, check=False)


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_folders_keep_their_shape(scans):
    done = batch("scans", "-r", "-k", "identity", "-o", "out/")
    assert done.returncode == 0, done.stderr
    names = [f"{n}-identity.png" for n in range(4)]
    assert below("out") == sorted([*names, "deep/0-identity.jpg"])
    assert "wrote 5 of 5 files to out/" in done.stderr
    np.testing.assert_array_equal(read("out/2-identity.png"), noise(8, 8, seed=2))


def test_patterns_globs_and_lists(scans):
    assert batch("scans/[12].png", "-k", "identity", "-o", "{name}.tif").returncode == 0
    assert below(".")[:2] == ["1.png.tif", "2.png.tif"]
    Path("list").write_text("scans/0.png\nscans/3.png\n")
    assert batch("--files-from", "list", "-k", "identity", "-o", "x/{stem}{ext}").returncode == 0
    assert below("x") == ["0.png", "3.png"]
    done = subprocess.run(
        [CNN, "filter", "--files-from", "-", "-k", "identity", "-o", "y/"],
        input=b"scans/0.png\0scans/1.png\0",
        check=False,
    )
    assert done.returncode == 0
    assert len(below("y")) == 2


def test_shards_cover_everything_once(scans):
    found, before = [], below(".")
    for part in (1, 2, 3):
        done = batch("scans", "-r", "-k", "box", "-o", "out/", "--shard", f"{part}/3", "--dry-run")
        found += done.stdout.splitlines()
    assert len(found) == 5
    assert len(set(found)) == 5
    assert found[0].endswith("-box.png")
    assert below(".") == before
    # names are checked over all shards: they may run at the same time
    done = batch("scans", "-r", "-k", "box", "--shard", "2/3", "--dry-run")
    assert "scans/0.png and scans/deep/0.jpg would both become 0-box.png" in done.stderr


def test_an_empty_shard_is_no_error(scans):
    done = batch("scans/0.png", "scans/1.png", "-k", "box", "-o", "out/", "--shard", "5/5")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "nothing to do: shard 5/5 holds none of 2 files\n"
    assert batch("scans/0.png", "-k", "box", "--shard", "2/2", "-q").stderr == ""


def test_a_file_that_is_named_twice_is_filtered_once(scans):
    words = ["scans/0.png", "./scans/0.png", "scans/../scans/[01].png", "-k", "box", "-o", "out/"]
    done = batch(*words)
    assert done.returncode == 0, done.stderr
    assert below("out") == ["0-box.png", "1-box.png"]


def test_a_search_finds_arrays_but_not_text(scans):
    np.save("scans/4.npy", np.ones((3, 3), np.float32))
    done = batch("scans", "-r", "-k", "box", "-o", "out/")
    assert done.returncode == 0, done.stderr
    assert "4-box.npy" in below("out")
    (scans / "tables").mkdir()
    (scans / "tables/a.csv").write_text("1,2\n3,4\n")
    expect_error(run_cnn("filter", "tables", "-r", "-k", "box"), 3, "no image in this folder", "'*.csv'")


@pytest.mark.parametrize("inputs", [[".", "-r"], ["**/*.png"]])
@pytest.mark.parametrize("output", ["out/", "out/{parent}/{stem}-{kernel}.png", "../scans/out/"])
def test_a_search_does_not_enter_the_folder_of_its_results(scans, monkeypatch, inputs, output):
    monkeypatch.chdir(scans / "scans")
    words = [*inputs, "-k", "sobel", "-o", output, "--manifest", "../m.jsonl", "--skip-existing"]
    assert batch(*words).returncode == 0
    results = below("out")
    assert len(results) == (5 if "-r" in inputs else 4)
    done = batch(*words)
    assert f"{len(results)} skipped" in done.stderr
    assert below("out") == results
    again = batch("out", "-r", "-k", "box", "-o", "out/second/")  # a folder that is named is searched
    assert again.returncode == 0, again.stderr
    assert len(below("out/second")) == len(results)


def test_no_result_replaces_an_input_of_the_batch(folder):
    write("a.png", noise(8, 8))
    write("a-box.png", noise(8, 8, seed=1))
    for words in (["-f"], [], ["--skip-existing"], ["-f", "--shard", "1/2"], ["-f", "-n"]):
        before = {name: Path(name).read_bytes() for name in below(".")}
        result = run_cnn("filter", "a.png", "a-box.png", "-k", "box", *words)
        expect_error(
            result, 2, "a-box.png is an input of this batch, and the result of a.png would replace it", "-o out/"
        )
        assert {name: Path(name).read_bytes() for name in below(".")} == before
    os.symlink(".", "here")
    expect_error(run_cnn("filter", "a.png", "a-box.png", "-k", "box", "-f", "-o", "here/"), 2, "would replace it")
    os.symlink("a.png", "link-box.png")
    os.symlink("a.png", "link.png")
    expect_error(run_cnn("filter", "a.png", "link.png", "-k", "box", "-f"), 2, "of link.png would replace it")
    assert run_cnn("filter", "a.png", "-k", "box", "-f", "-o", "a.png").code == 0  # one file onto itself is fine


def test_no_channel_replaces_an_input_of_the_batch(folder):
    for name in ("a.png", "a-1.png"):
        write(name, noise(8, 8, 3))
    words = ["filter", "a.png", "a-1.png", "-k", "box", "--split-channels", "-f", "-o"]
    expect_error(run_cnn(*words, "./{stem}.png"), 2, "a-1.png is an input", "the result of a.png")
    assert run_cnn(*words, "{stem}.tif").code == 0


def test_the_hint_for_clashing_names_works(folder):
    for name in ("a", "b", "a/deep", "../out"):
        os.makedirs(name)
        write(f"{name}/x.png", noise(4, 4))
    inputs = ["filter", "a", "b", "../out/x.png", "-r", "-k", "box", "-q"]
    for output in ("out/", "out/{stem}.png", "out/{parent}/{stem}.png"):
        result = run_cnn(*inputs, "-o", output)
        expect_error(result, 2, "would both become out", "use a pattern such as 'out/{folder}/{stem}-{kernel}{ext}'")
    assert run_cnn(*inputs, "-o", "out/{folder}/{stem}-{kernel}{ext}").code == 0
    assert below("out") == ["_/out/x-box.png", "a/deep/x-box.png", "a/x-box.png", "b/x-box.png"]
    write("x.jpg", noise(4, 4))
    write("x.png", noise(4, 4))
    expect_error(run_cnn("filter", "x.png", "x.jpg", "-k", "box"), 2, "pattern such as '{name}-{kernel}.png'")
    assert run_cnn("filter", "x.png", "x.jpg", "-k", "box", "-o", "{name}-{kernel}.png").code == 0
    assert {"x.png-box.png", "x.jpg-box.png"} <= set(below("."))


def test_skip_existing_goes_by_content_and_options(scans):
    words = ["scans", "-r", "-o", "out/", "--manifest", "m.jsonl", "--skip-existing"]
    assert batch(*words, "-k", "box").returncode == 0
    done = batch(*words, "-k", "box")
    assert "5 skipped" in done.stderr
    write("scans/1.png", noise(8, 8, seed=99))
    assert "4 skipped" in batch(*words, "-k", "box").stderr  # a new input is done again
    assert "skipped" not in batch(*words, "-k", "box", "--border", "zero").stderr  # and so are new options
    records = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
    assert {record["status"] for record in records} == {"written", "skipped"}
    assert all(record["schema"] == "cnncli/1" for record in records)


def test_a_torn_manifest_is_mended(scans):
    assert batch("scans", "-r", "-k", "box", "-o", "out/", "--manifest", "m.jsonl").returncode == 0
    whole = Path("m.jsonl").read_bytes()
    Path("m.jsonl").write_bytes(whole[:-30])
    words = ["scans", "-r", "-k", "box", "-o", "out/", "--manifest", "m.jsonl", "--skip-existing"]
    assert "4 skipped" in batch(*words).stderr
    assert all(json.loads(line) for line in Path("m.jsonl").read_text().splitlines())


def test_fail_fast_ends_with_the_error_of_the_file(scans):
    Path("scans/1.png").write_bytes(b"")
    done = batch("scans", "-r", "-k", "box", "-o", "out/", "--fail-fast")
    assert done.returncode == 3
    assert "scans/1.png: file is empty" in done.stderr


def test_json_lines_of_a_batch(scans):
    done = batch("scans", "-r", "-k", "box", "-o", "out/", "--json")
    bodies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [body["source"] for body in bodies] == [*(f"scans/{n}.png" for n in range(4)), "scans/deep/0.jpg"]
    Path("scans/2.png").write_bytes(b"")
    done = batch("scans", "-r", "-k", "box", "-o", "other/", "--json")
    bodies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [body.get("status") for body in bodies[:5]] == ["written", "written", "failed", "written", "written"]
    assert bodies[2]["error"]["message"] == "file is empty"


def test_the_bytes_do_not_depend_on_threads_and_workers(scans):
    write("scans/big.png", noise(700, 900, 3))
    for name, words in (("a", ["-j", "1", "--workers", "1"]), ("b", ["-j", "2", "--workers", "3"])):
        assert batch("scans", "-r", "-k", "gaussian:2", "-o", f"{name}/", *words).returncode == 0
    for path in below("a"):
        assert Path("a", path).read_bytes() == Path("b", path).read_bytes(), path


def test_progress_on_a_terminal(scans):
    """On a terminal a bar is drawn on standard error and taken away; NO_COLOR leaves no colours."""
    leader, follower = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [CNN, "filter", "scans", "-r", "-k", "box", "-o", "out/"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=env,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(leader)
    assert process.wait(600) == 0
    assert b"wrote 5 of 5 files" in seen
    assert b"files/s" in seen
    assert b"\x1b[3" not in seen, "colours in spite of NO_COLOR"
