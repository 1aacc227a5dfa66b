"""`--frame all`: every picture of an animation or stack, to a file of the same kind, read back by other readers."""

import importlib
import json

import numpy as np
import pytest
import tifffile
from command_line import expect_error, run_cnn
from PIL import Image, ImageCms, ImageSequence

import cnncli
from cnncli.filtering.plan import FilterPlan
from cnncli.tasks.filter.names import Job
from cnncli.tasks.filter.one_file import load
from cnncli.tasks.filter.options import FileOptions

RNG = np.random.default_rng(8)
COLOUR = [RNG.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(4)]
GRAY = [frame[..., 0] for frame in COLOUR]
DURATIONS = [40, 80, 120, 200]


def save(path, frames, **settings):
    pictures = [Image.fromarray(frame) for frame in frames]
    times = (DURATIONS * 2)[: len(frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, **settings)
    return path


def read(path):
    """Return pictures and durations [ms] as Pillow reads them."""
    frames, times = [], []
    with Image.open(path) as opened:
        for frame in ImageSequence.Iterator(opened):
            frame.load()
            frames.append(np.asarray(frame.convert("RGB" if frame.mode != "L" else "L")))
            times.append(frame.info.get("duration"))
    return frames, times


@pytest.mark.parametrize(
    ("name", "frames", "settings", "words"),
    [
        ("a.webp", COLOUR, {"lossless": True, "loop": 3}, ["--quality", "100"]),
        ("a.png", COLOUR, {"loop": 2}, []),
        ("a.png", GRAY, {}, []),
        ("a.gif", GRAY, {"loop": 0}, []),
    ],
    ids=["webp", "apng", "gray-apng", "gray-gif"],
)
def test_same_kind_same_times(tmp_path, name, frames, settings, words):
    source = save(tmp_path / name, frames, **settings)
    out = tmp_path / f"out-{name}"
    done = run_cnn("filter", source, "-k", "box:3", "--frame", "all", "-o", out, "--json", *words)
    assert done.code == 0, done.err
    assert done.json["pictures"] == 4
    found, times = read(out)
    assert times == DURATIONS
    with Image.open(out) as opened:
        assert opened.format.lower() == name.rpartition(".")[2]
        if "loop" in settings:
            assert opened.info["loop"] == settings["loop"]
    for frame, result in zip(frames, found, strict=True):
        expected = cnncli.filter(frame, "box:3")
        shown = result if result.ndim == expected.ndim else result[..., 0]
        assert np.array_equal(shown, expected)


def test_a_gif_of_colours_says_that_they_become_a_palette(tmp_path):
    source = save(tmp_path / "a.gif", [frame // 64 * 64 for frame in COLOUR])
    done = run_cnn("filter", source, "-k", "identity", "--frame", "all", "-o", tmp_path / "b.gif", "-v")
    assert done.code == 0, done.err
    assert "each picture has a palette" in done.err
    found, times = read(tmp_path / "b.gif")
    assert times == DURATIONS
    for frame, result in zip(COLOUR, found, strict=True):
        assert np.abs(frame // 64 * 64 - result.astype(int)).mean() < 20


def test_pages_of_a_tiff_keep_type_and_size(tmp_path):
    pages = [RNG.integers(0, 65536, (11 + i, 20), np.uint16) for i in range(3)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages:
            writer.write(page)
    assert run_cnn("filter", tmp_path / "a.tif", "-k", "median", "--frame", "all", "-o", tmp_path / "b.tif").code == 0
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert len(file.pages) == 3
        for page, stored in zip(pages, file.pages, strict=True):
            assert np.array_equal(stored.asarray(), cnncli.filter(page, "median"))
    again = run_cnn("filter", tmp_path / "b.tif", "-k", "identity", "--frame", "2", "-o", tmp_path / "c.npy")
    assert again.code == 0
    assert np.array_equal(np.load(tmp_path / "c.npy"), cnncli.filter(pages[2], "median"))
    words = ["-k", "box", "--dtype", "uint8", "--frame", "all", "-o", tmp_path / "d.gif"]
    expect_error(run_cnn("filter", tmp_path / "a.tif", *words), 3, "3 sizes")


def test_default_names_batches_and_manifest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("a.webp", COLOUR, lossless=True)
    Image.fromarray(GRAY[0]).save("b.png")
    words = ["filter", "a.webp", "b.png", "-k", "box:3", "--frame", "all", "--manifest", "m.jsonl", "--skip-existing",
             "--workers", "1", "-o", "out/"]  # fmt: skip
    first = run_cnn(*words)
    assert first.code == 0, first.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-box-3.webp", "b-box-3.png"]
    assert len(read("out/a-box-3.webp")[0]) == 4
    assert "2 skipped" in run_cnn(*words).err
    alone = [word for word in words if word not in ("all", "--frame")]
    assert "2 skipped" not in run_cnn(*alone).err  # other options
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert lines[0]["settings"]["all_frames"] is True
    assert run_cnn("filter", "a.webp", "-k", "sobel", "--frame", "all").code == 0
    assert len(read("a-sobel.webp")[0]) == 4


def test_what_is_refused(tmp_path):
    source = save(tmp_path / "a.webp", COLOUR, lossless=True)
    for words, code, said in (
        (["-o", tmp_path / "b.jpg"], 1, "JPEG holds one picture"),
        (["-o", tmp_path / "b.png", "--dtype", "uint16"], 1, "an animated PNG holds 8 bits"),
        (["--print"], 2, "--print does not apply"),
        (["--split-channels", "-o", tmp_path / "b.png"], 2, "--split-channels does not apply"),
        (["--max-pixels", "1000", "-o", tmp_path / "b.webp"], 3, "4 pictures have 2400 pixels"),
    ):
        expect_error(run_cnn("filter", source, "-k", "box", "--frame", "all", *words), code, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp"]
    expect_error(run_cnn("filter", source, "-k", "box", "--frame", "some"), 2, "some")


def test_grids_of_an_animation(tmp_path):
    source = save(tmp_path / "a.png", COLOUR)
    done = run_cnn("filter", source, "-k", "sobel | box", "--frame", "all", "--grid", tmp_path / "g.png")
    assert done.code == 0, done.err
    assert len(read(tmp_path / "g.png")[0]) == 4


def bouncing_dot(count):
    """Return RGBA pictures that differ in a small place, so that encoders store parts and leave the rest."""
    frames = []
    for number in range(count):
        frame = np.zeros((24, 32, 4), np.uint8)
        frame[4:20, 4:28] = (40, 90, 160, 255)
        frame[5 + number : 9 + number, 6 + 2 * number : 12 + 2 * number] = (250, 200 - 20 * number, 30, 255)
        frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.gif", {"disposal": 0}),
        ("a.gif", {"disposal": 2, "transparency": 0}),
        ("a.png", {"disposal": 1, "blend": 1}),
        ("a.webp", {"lossless": True}),
        ("a.tif", {"compression": "tiff_lzw"}),
    ],
    ids=["gif", "transparent-gif", "apng", "webp", "tiff"],
)
def test_each_picture_is_what_it_is_alone(tmp_path, name, settings):
    """Stepping through an animation gives what reading each picture from the start gives, transparency included."""
    source = save(tmp_path / name, bouncing_dot(6), **settings)
    stack = tmp_path / "all.tif"  # holds every result as it is
    assert run_cnn("filter", source, "-k", "box:3", "--frame", "all", "-o", stack).code == 0
    with tifffile.TiffFile(stack) as file:
        assert len(file.pages) == 6
        pages = [page.asarray() for page in file.pages]
    for number, page in enumerate(pages):
        alone = tmp_path / f"{number}.tif"
        assert run_cnn("filter", source, "-k", "box:3", "--frame", number, "-o", alone).code == 0
        expected = tifffile.imread(alone)
        if expected.ndim == 3 and expected.shape[2] < page.shape[2]:  # this one alone is opaque
            assert (page[..., 3] == 255).all()
            page = page[..., :3]
        assert np.array_equal(page, expected)


@pytest.mark.parametrize(
    ("name", "module", "reader"),
    [
        ("a.gif", "PIL.GifImagePlugin", "GifImageFile"),
        ("a.png", "PIL.PngImagePlugin", "PngImageFile"),
        ("a.webp", "PIL.WebPImagePlugin", "WebPImageFile"),
        ("a.tif", "PIL.TiffImagePlugin", "TiffImageFile"),
        ("b.tif", "tifffile", "TiffFile"),
    ],
)
def test_a_file_is_opened_once(tmp_path, monkeypatch, name, module, reader):
    """A decoder of animations starts at the first picture when it is opened: once is one pass, N times are N^2/2."""
    if name == "b.tif":
        tifffile.imwrite(tmp_path / name, RNG.integers(0, 65536, (5, 8, 9, 3), np.uint16), photometric="rgb")
    else:
        save(tmp_path / name, COLOUR)
    decoder, opened = getattr(importlib.import_module(module), reader), []
    begin = decoder.__init__
    monkeypatch.setattr(
        decoder, "__init__", lambda self, *given, **named: [opened.append(1), begin(self, *given, **named)][1]
    )
    loaded = load(Job(str(tmp_path / name), None), FilterPlan(()), FileOptions(all_frames=True))
    assert len(loaded.further) in (3, 4)
    assert len(opened) == 1


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_profile_and_exif_go_along(tmp_path, name):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x013B], exif[0x0112] = "the artist", 6
    source = save(tmp_path / name, COLOUR, icc_profile=profile, exif=exif, lossless=True)
    out = tmp_path / f"out-{name}"
    assert run_cnn("filter", source, "-k", "identity", "--frame", "all", "-o", out).code == 0
    with Image.open(out) as opened:
        assert opened.n_frames == 4
        assert opened.info["icc_profile"] == profile
        found = opened.getexif()
        assert found[0x013B] == "the artist"
        assert found.get(0x0112, 1) == 1
        assert opened.size == (20, 30)  # upright


def test_pages_have_their_own_words_and_density(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, page in enumerate([*COLOUR, GRAY[0].astype(np.uint16)]):
            density = {"resolution": (100 + number, 50), "resolutionunit": "INCH"} if number % 2 else {}
            writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None,
                         description=f"page {number}", contiguous=False, **density)  # fmt: skip
    done = run_cnn("filter", tmp_path / "a.tif", "-k", "box:3", "--dtype", "uint8", "--frame", "all", "-o",
                   tmp_path / "b.tif")  # fmt: skip
    assert done.code == 0, done.err
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [page.description for page in file.pages] == [f"page {number}" for number in range(5)]
        found = [page.get_resolution("inch") for page in file.pages if page.resolutionunit == 2]
        assert found == [(101, 50), (103, 50)]
    assert run_cnn("filter", tmp_path / "a.tif", "-k", "box:3", "--frame", "3", "-o", tmp_path / "c.tif").code == 0
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.pages[0].description == "page 3"
