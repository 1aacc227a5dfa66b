"""Banks: several steps side by side, their texts, names, files and the picture of all channels."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

import cnncli
from cnncli.errors import UsageError
from cnncli.filtering.alpha import filter_with_alpha
from cnncli.filtering.apply import FilterPlan, apply_filter
from cnncli.filters import parse_steps
from cnncli.filters.bank_text import alternatives
from cnncli.io.images.png_write import write_png

RNG = np.random.default_rng(12)
IMAGE = RNG.integers(0, 256, (33, 29, 3), np.uint8)
MEMBERS = ("sobel", "gaussian:1.5", "median:5", "-1 0 1", "threshold:100", "kirsch", "log:1.4,9")


def run(image, *specs, **options):
    return apply_filter(image, FilterPlan(parse_steps(specs), **options))


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("sobel", ["sobel"]),
        ("a|b | c", ["a", "b", "c"]),
        ("gabor:0..150:30", [f"gabor:{angle}" for angle in (0, 30, 60, 90, 120, 150)]),
        ("gaussian:0.5..2:0.5,9", ["gaussian:0.5,9", "gaussian:1,9", "gaussian:1.5,9", "gaussian:2,9"]),
        ("box:3..5", ["box:3", "box:4", "box:5"]),
        ("motion:9,90..0:-45", ["motion:9,90", "motion:9,45", "motion:9,0"]),
        ("gabor:theta=0..90:90,sigma=1..2", [f"gabor:theta={t},sigma={s}" for t in (0, 90) for s in (1, 2)]),
        ("identity | box:3..7:2", ["identity", "box:3", "box:5", "box:7"]),
        ("@a..b.txt", ["@a..b.txt"]),
        ("runs/x:conv1[0]", ["runs/x:conv1[0]"]),
        ("1 0 -1; 2 0 -2", ["1 0 -1; 2 0 -2"]),
    ],
)
def test_texts(text, members):
    assert alternatives(text) == members


@pytest.mark.parametrize(
    "text", ["a | ", "| a", "a || b", "gabor:0..10:0", "gabor:0..10:-1", "box:1..99999", "gabor:0..99,0..99"]
)
def test_texts_that_are_no_bank_are_refused(text):
    with pytest.raises(UsageError):
        alternatives(text)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", [{}, {"stride": (2, 1)}, {"range": "raw"}, {"convention": "pillow"}], ids=str)
def test_a_bank_is_its_members_side_by_side(options, threads):
    options = {"range": "abs", **options} if "convention" not in options else options
    members = [m for m in MEMBERS if "convention" not in options or m in ("gaussian:1.5", "-1 0 1", "log:1.4,9")]
    members = [m for m in members if "stride" not in options or m != "threshold:100"]
    plan = FilterPlan(parse_steps([" | ".join(members)]), **options)
    found = apply_filter(IMAGE, plan, threads=threads)
    for i, member in enumerate(members):
        alone = run(IMAGE, member, **options).pixels
        np.testing.assert_allclose(
            found.pixels[..., 3 * i : 3 * i + 3].astype(float), alone, atol=1e-3 if alone.dtype == np.float32 else 0
        )


def test_a_bank_in_a_chain():
    before, after = "gaussian:1", ("relu", "box:3")
    found = run(IMAGE.astype(float), before, "sobel-x | sobel-y", *after).pixels
    alone = [run(IMAGE.astype(float), before, name, *after).pixels for name in ("sobel-x", "sobel-y")]
    np.testing.assert_allclose(found, np.concatenate(alone, axis=2), atol=1e-9)


def test_large_pictures_in_strips():
    image = RNG.integers(0, 256, (900, 800, 1), np.uint8)
    found = run(image, "sobel-y | box:41 | identity", range="raw").pixels
    alone = [run(image, name, range="raw").pixels for name in ("sobel-y", "box:41", "identity")]
    np.testing.assert_allclose(found, np.concatenate(alone, axis=2), atol=1e-3)


def test_names_of_channels(tmp_path):
    kernel = tmp_path / "k.npy"
    np.save(kernel, RNG.normal(size=(2, 3, 3, 3)))
    gray = IMAGE[..., :1]
    for image, specs, names in (
        (gray, ["sobel"], [""]),
        (IMAGE, ["sobel"], ["red", "green", "blue"]),
        (gray, ["sobel-x | box:5"], ["sobel-x", "box:5"]),
        (IMAGE, ["box:3..5:2", "relu"], [f"box:{n} {c}" for n in (3, 5) for c in ("red", "green", "blue")]),
        (IMAGE, ["gray", "box | median", "box:3"], ["box", "median"]),
        (np.zeros((5, 5, 2)), ["box"], ["0", "1"]),
    ):
        assert list(run(image, *specs).channels) == names
    done = run_cnn("filter", "-", "-k", f"@{kernel}", "--json", "-p", "1", "-o", tmp_path / "o.npy", stdin=png(IMAGE))
    assert done.code == 0, done.err
    assert done.json["channels"] == ["k.npy[0]", "k.npy[1]"]


def png(pixels):
    return bytes(write_png(pixels, level=1))


def test_opacity_is_kept_or_refused():
    alpha = RNG.integers(0, 256, IMAGE.shape[:2], np.uint8)
    plan = FilterPlan(parse_steps(["box:5 | sobel | median:3"]), range="clip")
    result, shown = filter_with_alpha(IMAGE, alpha, plan, filter_alpha=False)
    assert np.array_equal(shown, alpha)
    for i, name in enumerate(("box:5", "sobel", "median:3")):
        alone, _ = filter_with_alpha(IMAGE, alpha, FilterPlan(parse_steps([name]), range="clip"), filter_alpha=False)
        assert np.array_equal(result.pixels[..., 3 * i : 3 * i + 3], alone.pixels)
    with pytest.raises(UsageError, match="one opacity cannot follow"):
        filter_with_alpha(IMAGE, alpha, plan, filter_alpha=True)


def test_biases_one_for_each_member():
    found = run(IMAGE.astype(float), "identity | identity", bias=(1.0, -2.0)).pixels
    assert np.array_equal(found[..., :3], IMAGE + 1.0)
    assert np.array_equal(found[..., 3:], IMAGE - 2.0)


def test_what_a_bank_refuses(tmp_path):
    picture = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(picture)
    for words, code, said in (
        (["-k", "box | maxpool:2"], 2, "maxpool:2,s=2 cannot be a member of a bank"),
        (["-k", "box | gray"], 2, "cannot be a member"),
        (["-k", "box:3 | box:5", "-p", "valid"], 3, "use --padding same"),
        (["-k", "box | sobbel"], 2, "did you mean sobel"),
        (["-k", "sobel", "--grid", "g.png", "--compare"], 2, "exclude each other"),
        (["-k", "sobel", "--grid", "g.png", "-o", "o.png"], 2, "exclude each other"),
        (["-k", "sobel", "--grid", "g.png", "--print"], 2, "--grid does not apply"),
        (["-k", "sobel", "--grid", "g.pdf"], 2, "extension .pdf is not written"),
    ):
        expect_error(run_cnn("filter", picture, *words, *([] if "--grid" in words else ["-o", "x.tif"])), code, said)


def test_kernel_files_of_several_kernels_are_banks(tmp_path):
    for name, words in (("k.json", ["gabor:0..90:45", "sobel"]), ("k.jsonl", ["sharpen", "box:3"])):
        form = ["--format", name.rpartition(".")[2]]
        assert run_cnn("kernels", *words, *form, "-o", tmp_path / name).code == 0
        stored = parse_steps([f"@{tmp_path / name}"], lambda path: (tmp_path / path).read_bytes())
        (bank,) = stored
        expected = cnncli.filter(IMAGE, " | ".join(words), range="raw")
        assert np.array_equal(cnncli.filter(IMAGE, f"@{tmp_path / name}", range="raw"), expected)
        assert len(bank.members) == expected.shape[2] // 3
        listed = run_cnn("kernels", f"@{tmp_path / name}", "--json").json["kernels"]
        assert [k["kernel"] for k in listed] == [
            k["kernel"] for k in run_cnn("kernels", *words, "--json").json["kernels"]
        ]
    (tmp_path / "bad.json").write_text(json.dumps({"kernels": [[[1, 2]], [[1], [2, 3]]]}))
    expect_error(run_cnn("kernels", f"@{tmp_path / 'bad.json'}"), 3, "bad.json: kernel 2")


def test_the_grid_shows_every_channel(tmp_path):
    picture = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(picture)
    done = run_cnn("filter", picture, "-k", "box:3..7:2", "--grid", tmp_path / "g.png", "--json")
    assert done.code == 0, done.err
    assert done.json["channels"][0] == "box:3 red"
    sheet = np.asarray(Image.open(tmp_path / "g.png"))
    for tile in (IMAGE, *(run(IMAGE, f"box:{n}").pixels for n in (3, 5, 7))):  # magnified to at least 64 px
        assert found_in(sheet, np.repeat(np.repeat(tile, 2, axis=0), 2, axis=1))


def found_in(sheet, tile):
    height, width = tile.shape[:2]
    corners = np.argwhere((sheet[: -height + 1, : -width + 1] == tile[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + height, x : x + width], tile) for y, x in corners)


def test_the_grid_of_large_signed_and_transparent_results(tmp_path):
    large = RNG.integers(0, 256, (40, 1500), np.uint8)
    Image.fromarray(large).save(tmp_path / "l.png")
    done = run_cnn("filter", tmp_path / "l.png", "-k", "sobel-x | sobel-y", "--range", "raw", "--grid",
                   tmp_path / "g.png", "-v")  # fmt: skip
    assert done.code == 0, done.err
    assert "tiles are reduced by 3 to 500 pixels" in done.err
    colours = np.asarray(Image.open(tmp_path / "g.png")).reshape(-1, 3).astype(int)
    assert (colours[:, 0] > colours[:, 2] + 50).any()  # red: above 0
    assert (colours[:, 2] > colours[:, 0] + 50).any()  # blue: below
    Image.fromarray(np.dstack([IMAGE, np.zeros((33, 29), np.uint8)])).save(tmp_path / "t.png")
    assert run_cnn("filter", tmp_path / "t.png", "-k", "box", "--grid", tmp_path / "t2.png").code == 0
    assert np.asarray(Image.open(tmp_path / "t2.png"))[40:60, 20:60].min() > 200  # nothing to see


def test_grids_in_batches_and_pipes(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    words = ["filter", tmp_path / "a.png", tmp_path / "b.png", "-k", "sobel | box", "--manifest", tmp_path / "m.jsonl",
             "--skip-existing", "--workers", "1"]  # fmt: skip
    first = run_cnn(*words, "--grid", f"{tmp_path}/out/")
    assert first.code == 0, first.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a-sobel-box-grid.png",
        "b-sobel-box-grid.png",
    ]
    assert "2 skipped" in run_cnn(*words, "--grid", f"{tmp_path}/out/").err
    response = run_cnn(*words, "-o", f"{tmp_path}/out/")  # another output, other options
    assert "2 skipped" not in response.err
    expect_error(run_cnn(*words, "--grid", tmp_path / "one.png"), 2, "2 inputs cannot all become")
    done = subprocess.run(
        [Path(sys.executable).with_name("cnn"), "filter", "-", "-k", "sobel", "--grid", "-"],
        input=png(IMAGE), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / "p.png").write_bytes(done.stdout)
    run_cnn("filter", tmp_path / "a.png", "-k", "sobel", "--grid", tmp_path / "q.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "p.png")), np.asarray(Image.open(tmp_path / "q.png")))
