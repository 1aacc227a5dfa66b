"""Archives of pictures: read as streams, and refused where they are more than that."""

import io
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import CnnError, InvalidInputError
from cnncli.io.datasets.own import archive
from cnncli.io.datasets.own.archive import archive_source
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest


def picture(number):
    stream = io.BytesIO()
    Image.fromarray(np.full((5, 4), number, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


FILES = {f"photos/{label}/{k}.png": picture(10 * k + n) for n, label in enumerate("ab") for k in range(4)}


def zipped(path, files=FILES, compression=zipfile.ZIP_DEFLATED, mode=None):
    with zipfile.ZipFile(path, "w", compression) as pack:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.external_attr = (mode or stat.S_IFREG | 0o644) << 16
            pack.writestr(info, content)
    return str(path)


def tarred(path, files=FILES, form="w", **more):
    with tarfile.open(path, form) as pack:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in more.items():
                setattr(info, key, value)
            pack.addfile(info, io.BytesIO(content))
    return str(path)


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tgz", "p.tar.bz2", "p.tar.xz"])
def test_every_archive_gives_the_pictures_of_its_folder(tmp_path, name):
    for file, content in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    expected = load_data(DataRequest(str(tmp_path / "photos")))
    form = {"bz2": "w:bz2", "xz": "w:xz", "tar": "w"}.get(name.rsplit(".", 1)[1], "w:gz")
    turned = dict(reversed(FILES.items()))
    path = zipped(tmp_path / name, turned) if name.endswith("zip") else tarred(tmp_path / name, turned, form)
    data = load_data(DataRequest(path), threads=2)
    assert data.sha256 == expected.sha256
    assert data.name == "p"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name, "photos"]


def test_what_systems_add_is_left_out(tmp_path):
    more = {"__MACOSX/photos/a/._0.png": b"x", "photos/.DS_Store": b"x", "photos/notes.txt": b"x"}
    source = archive_source(zipped(tmp_path / "p.zip", FILES | more))
    assert source.notes == ("files left out: 2 hidden; 1 not a picture (photos/notes.txt)",)


BAD_NAMES = {
    "../a/1.png": "a name with ..",
    "a/../../1.png": "a name with ..",
    "..\\a\\1.png": "a name with ..",
    "/a/1.png": "an absolute name",
    "C:/a/1.png": "an absolute name",
    "a/1\n.png": "control characters",
    "photos/a/0.PNG": "differs from photos/a/0.png in case alone",
    "photos/inner.zip": "an archive inside the archive",
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused(tmp_path, kind, name):
    pack = zipped if kind == "zip" else tarred
    with pytest.raises(InvalidInputError, match=BAD_NAMES[name]) as caught:
        archive_source(pack(tmp_path / f"p.{kind}", FILES | {name: b"x"}))
    assert name in caught.value.where


def test_a_name_that_stands_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as pack:
        for name, content in FILES.items():
            pack.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate"):
            pack.writestr("photos/a/0.png", b"")
    with pytest.raises(InvalidInputError, match="stands twice"):
        archive_source(str(tmp_path / "p.zip"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "a link, a device"),
        ({"type": tarfile.LNKTYPE, "linkname": "b", "size": 0}, "a link, a device"),
        ({"type": tarfile.FIFOTYPE, "size": 0}, "a link, a device"),
        ({"type": tarfile.CHRTYPE, "size": 0}, "a link, a device"),
        ({"mode": 0o4755}, "setuid"),
    ],
)
def test_special_members_of_a_tar_are_refused(tmp_path, more, words):
    with pytest.raises(InvalidInputError, match=words):
        archive_source(tarred(tmp_path / "p.tar", **more))


@pytest.mark.parametrize(("mode", "words"), [(stat.S_IFLNK | 0o777, "a link"), (stat.S_IFREG | 0o4755, "setuid")])
def test_special_members_of_a_zip_are_refused(tmp_path, mode, words):
    with pytest.raises(InvalidInputError, match=words):
        archive_source(zipped(tmp_path / "p.zip", mode=mode))


def test_encrypted_members_are_refused(tmp_path):
    content = bytearray((tmp_path / "p.zip").read_bytes() if zipped(tmp_path / "p.zip") else b"")
    place = content.index(b"PK\1\2")
    content[place + 8] |= 1
    (tmp_path / "p.zip").write_bytes(content)
    with pytest.raises(InvalidInputError, match="encrypted"):
        archive_source(str(tmp_path / "p.zip"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused(tmp_path, kind):
    files = FILES | {"photos/a/x.bmp": bytes(30 << 20)}
    path = zipped(tmp_path / "p.zip", files) if kind == "zip" else tarred(tmp_path / "p.tar.gz", files, "w:gz")
    with pytest.raises(InvalidInputError, match="200 times"):
        archive_source(path)


def test_limits_on_members_bytes_and_index(tmp_path, monkeypatch):
    path = zipped(tmp_path / "p.zip")
    for name, value, words in [
        ("MAX_PICTURES", 5, "more than 5 members"),
        ("_MOST_BYTES", 300, "unpacks to more than 0 GiB"),
        ("MAX_FILE_BYTES", 20, "the limit is 20 B"),
        ("_LARGEST_INDEX", 100, "an index of"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(archive, name, value)
            with pytest.raises(InvalidInputError, match=words):
                archive_source(path)


def test_a_zip64_index_is_limited_too(tmp_path):
    path = zipped(tmp_path / "p.zip")
    content = (tmp_path / "p.zip").read_bytes()
    end = content.rindex(b"PK\5\6")
    wide = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 8, 8, 1 << 40, 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, end, 1)
    tail = bytearray(content[end:])
    tail[12:16] = b"\xff\xff\xff\xff"
    (tmp_path / "p.zip").write_bytes(content[:end] + wide + locator + bytes(tail))
    with pytest.raises(InvalidInputError, match="an index of 1099511627776 B"):
        archive_source(path)


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tar.bz2", "p.tar.xz"])
def test_cut_and_damaged_archives_are_refused(tmp_path, name):
    form = {"bz2": "w:bz2", "xz": "w:xz", "gz": "w:gz"}.get(name.rsplit(".", 1)[1], "w")
    path = zipped(tmp_path / name) if name == "p.zip" else tarred(tmp_path / name, form=form)
    whole = (tmp_path / name).read_bytes()
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(60):
        content = bytearray(whole[: random.integers(0, len(whole))] if random.random() < 0.5 else whole)
        for _ in range(random.integers(0, 4)):
            if content:
                content[random.integers(0, len(content))] = random.integers(0, 256)
        (tmp_path / name).write_bytes(content)
        try:
            load_data(DataRequest(path, skip_bad=bool(random.integers(0, 2))))
        except CnnError:
            refused += 1
    assert refused > 30


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    path = tarred(tmp_path / "p.tar")
    (tmp_path / "p.tar").write_bytes((tmp_path / "p.tar").read_bytes()[: 1024 * 6])
    with pytest.raises(InvalidInputError, match="damaged or truncated"):
        archive_source(path)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "p.zip").write_bytes(b"hello")
    with pytest.raises(InvalidInputError, match=r"p\.zip: damaged or truncated archive"):
        archive_source(str(tmp_path / "p.zip"))
    with pytest.raises(InvalidInputError, match="no such file"):
        archive_source(str(tmp_path / "q.zip"))
