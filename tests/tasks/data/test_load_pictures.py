"""The user's own pictures in memory: the same pixels that `cnn predict` gives the network."""

import io
import os

import numpy as np
import pytest
from PIL import Image as Pillow

from cnncli.errors import CnnError, InvalidInputError, UsageError
from cnncli.io.images.read import read_image
from cnncli.io.preprocessing import Preprocessing
from cnncli.tasks.data import decode
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest
from cnncli.tasks.predict.fit_picture import fit_picture

RANDOM = np.random.default_rng(5)


def encoded(mode="RGB", size=(20, 14), kind="PNG", **more):
    """Return the bytes of a random picture of `size` (width, height)."""
    channels = len(Pillow.new(mode, (1, 1)).getbands())
    pixels = RANDOM.integers(0, 256, (size[1], size[0], channels), np.uint8)
    stream = io.BytesIO()
    Pillow.fromarray(pixels.squeeze(), mode).save(stream, kind, **more)
    return stream.getvalue()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def turned():
    """Return a JPEG that a camera held upright."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return encoded(size=(30, 18), kind="JPEG", exif=exif)


MIXED = {
    "a/gray.png": encoded("L", (7, 9)),
    "a/colour.jpg": encoded("RGB", (50, 31), "JPEG"),
    "b/turned.jpg": turned(),
    "b/alpha.png": encoded("RGBA", (64, 64)),
    "b/wide.png": encoded("RGB", (90, 3)),
    "c/gray-alpha.png": encoded("LA", (11, 40)),
    "c/cmyk.jpg": encoded("CMYK", (16, 16), "JPEG"),
}


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_prediction(tmp_path, fit, channels):
    folder = write(tmp_path / "d", MIXED)
    data = load_data(DataRequest(str(folder), resize=(24, 32), fit=fit, channels=channels), threads=3)
    assert data.train.images.shape == (7, 24, 32, channels)
    preprocessing = Preprocessing.from_json(Preprocessing.of(data).to_json())
    names = [
        "a/colour.jpg",
        "b/alpha.png",
        "c/cmyk.jpg",
        "a/gray.png",
        "b/turned.jpg",
        "c/gray-alpha.png",
        "b/wide.png",
    ]
    for name, image, label in zip(names, data.train.images, data.train.labels, strict=True):
        expected = fit_picture(read_image(folder / name), preprocessing, where=name).pixels
        assert np.array_equal(image, expected), name
        assert data.classes[label] == name[0]


def test_statistics_are_those_of_the_pictures_without_their_padding(tmp_path):
    values = {"a/1.png": (40, 20), "b/1.png": (10, 30)}
    for number, (name, size) in enumerate(values.items()):
        (tmp_path / name).parent.mkdir()
        Pillow.new("L", size, 100 + 50 * number).save(tmp_path / name)
    data = load_data(DataRequest(str(tmp_path), resize=(20, 20)))
    inside = [100] * 20 * 10 + [150] * 7 * 20
    assert np.allclose(data.mean, np.mean(inside) / 255)
    assert np.allclose(data.std, np.std(inside) / 255)
    assert np.array_equal(np.unique(data.train.images), np.unique([*inside, round(np.mean(inside))]))


def test_pad_crop_and_stretch_agree_with_pillow(tmp_path):
    write(tmp_path, {"a/1.png": encoded("L", (40, 20)), "b/1.png": encoded("L", (40, 20))})
    picture = Pillow.open(tmp_path / "a/1.png").convert("F")
    for fit, expected in {
        "pad": picture.resize((16, 8), Pillow.Resampling.BILINEAR),
        "crop": picture.resize((32, 16), Pillow.Resampling.BILINEAR).crop((8, 0, 24, 16)),
        "stretch": picture.resize((16, 16), Pillow.Resampling.BILINEAR),
    }.items():
        image = load_data(DataRequest(str(tmp_path), resize=(16, 16), fit=fit)).train.images[0, ..., 0]
        inside = image[4:12] if fit == "pad" else image
        assert np.array_equal(inside, np.rint(np.asarray(expected))), fit


@pytest.mark.parametrize(
    ("sizes", "modes", "shape", "note"),
    [
        ([(20, 14)] * 4, ["L"] * 4, (1, 14, 20), False),
        ([(20, 14)] * 4, ["L", "L", "L", "RGB"], (3, 14, 20), False),
        ([(20, 14), (20, 14), (20, 14), (14, 20)], ["RGB"] * 4, (3, 64, 64), True),
        ([(97, 14)] * 4, ["L"] * 4, (1, 64, 64), True),
        ([(20, 14), (20, 14), (21, 14), (14, 20)], ["L", "RGB", "L", "RGB"], (3, 64, 64), True),
    ],
)
def test_the_form_that_nobody_names_follows_from_all_pictures(tmp_path, sizes, modes, shape, note):
    names = ["a/1.png", "b/1.png", "a/2.png", "b/2.png"]
    write(tmp_path, {name: encoded(mode, size) for name, mode, size in zip(names, modes, sizes, strict=True)})
    data = load_data(DataRequest(str(tmp_path)))
    assert data.image_shape == shape
    assert any("scaled to 64x64 (pad); --resize HxW" in text for text in data.notes) == note


def test_the_form_of_the_network_is_the_default(tmp_path):
    write(tmp_path, {"a/1.png": encoded(), "b/1.png": encoded()})
    assert load_data(DataRequest(str(tmp_path)), input_shape=(1, 28, 28)).image_shape == (1, 28, 28)
    request = DataRequest(str(tmp_path), resize=(9, 8), channels=3)
    assert load_data(request, input_shape=(1, 28, 28)).image_shape == (3, 9, 8)


def test_the_number_of_threads_changes_nothing(tmp_path):
    names = [f"{label}/{number}.png" for label in "ab" for number in range(40)]
    folder = write(tmp_path / "d", {name: encoded(size=(20 + len(name), 17)) for name in names})
    assert len({load_data(DataRequest(str(folder)), threads=threads).sha256 for threads in (1, 2, 5)}) == 1


def test_parts_of_a_split_folder(tmp_path):
    names = [f"{part}/{label}/{k}.png" for part, many in (("train", 3), ("val", 2), ("test", 1))
             for label in "ab" for k in range(many)]  # fmt: skip
    data = load_data(DataRequest(str(write(tmp_path / "pets", {name: encoded() for name in names}))))
    assert data.name == "pets"
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 4, 2]
    assert data.train.labels.tolist() == [0, 1] * 3
    flat = load_data(DataRequest(str(tmp_path / "pets/train")))
    assert flat.validation is None
    assert len(flat.test) == 0
    assert np.array_equal(flat.train.images, data.train.images)
    assert flat.sha256 != data.sha256


def test_pictures_that_cannot_be_read_are_named_and_left_out_on_request(tmp_path):
    good = {f"{label}/{k}.png": encoded(size=(30, 20 + k)) for label in "ab" for k in range(4)}
    bad = {"a/1.png": good["a/1.png"][:100], "b/2.png": b"hello", "a/9.npy": b"", "b/3.png": b"GIF89a"}
    folder = write(tmp_path / "d", good | bad)
    words = (
        r"d: 4 of 9 pictures cannot be read \(a/1.png: truncated .*; b/2.png: .*; b/3.png: .*; \.\.\.\); .*--skip-bad"
    )
    with pytest.raises(InvalidInputError, match=words):
        load_data(DataRequest(str(folder)))
    data = load_data(DataRequest(str(folder), skip_bad=True))
    assert "4 of 9 pictures cannot be read" in data.notes[-1]
    for name in bad:
        (folder / name).unlink()
    whole = load_data(DataRequest(str(folder)))
    pictures = [
        sorted((int(y), x.tobytes()) for x, y in zip(d.train.images, d.train.labels, strict=True))
        for d in (data, whole)
    ]
    assert pictures[0] == pictures[1]
    assert data.mean == whole.mean


def test_a_class_of_which_nothing_can_be_read_is_refused(tmp_path):
    folder = write(tmp_path / "d", {"a/1.png": encoded(), "b/1.png": b"x"})
    with pytest.raises(InvalidInputError, match="no picture of class 'b' can be read"):
        load_data(DataRequest(str(folder), skip_bad=True))


def test_links_are_not_followed(tmp_path):
    folder = write(tmp_path / "d", {"a/1.png": encoded(), "b/1.png": encoded()})
    (folder / "a/2.png").symlink_to(folder / "b/1.png")
    (folder / "b/again").symlink_to(folder)
    data = load_data(DataRequest(str(folder)))
    assert len(data.train) == 2
    assert data.notes == ("files left out: 2 link (a/2.png, b/again)",)


def test_a_fifo_is_a_picture_that_cannot_be_read(tmp_path):
    folder = write(tmp_path / "d", {"a/1.png": encoded(), "b/1.png": encoded()})
    os.mkfifo(folder / "a/2.png")
    with pytest.raises(InvalidInputError, match=r"a/2\.png: is not a regular file"):
        load_data(DataRequest(str(folder)))


def test_large_sets_are_mapped_from_a_file(tmp_path, monkeypatch):
    folder = write(tmp_path / "d", {f"{label}/{k}.png": encoded() for label in "ab" for k in range(9)})
    plain = load_data(DataRequest(str(folder)))
    monkeypatch.setattr(decode, "free_memory", lambda: 1000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mapped = load_data(DataRequest(str(folder)))
    assert isinstance(mapped.train.images, np.memmap)
    assert mapped.sha256 == plain.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(CnnError, match="none/pictures: the folder"):
        load_data(DataRequest(str(folder)))


@pytest.mark.parametrize("option", [{"resize": (9, 9)}, {"fit": "crop"}, {"channels": 1}, {"skip_bad": True}])
def test_options_that_a_named_set_would_ignore_are_refused(option):
    with pytest.raises(UsageError, match="is for pictures of your own, not for digits"):
        load_data(DataRequest("digits", **option))
