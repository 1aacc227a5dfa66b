"""What names of files say about classes and parts."""

import pytest

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.own.layout import Listing, arrange
from cnncli.io.datasets.own.source import source_name


def listing(*files, links=(), folders=()):
    around = {"/".join(name.split("/")[:k]) for name in files for k in range(1, name.count("/") + 1)}
    return Listing(list(files), sorted(around | set(folders)), list(links))


def table(layout):
    return [(picture.part, layout.classes[picture.target], picture.name) for picture in layout.pictures]


def test_flat_folders_take_turns_and_are_for_training():
    layout = arrange(listing("b/2.png", "a/1.jpg", "b/1.png", "a/deep/er/0.PNG"), "d")
    assert layout.classes == ("a", "b")
    assert table(layout) == [
        ("train", "a", "a/1.jpg"),
        ("train", "b", "b/1.png"),
        ("train", "a", "a/deep/er/0.PNG"),
        ("train", "b", "b/2.png"),
    ]
    assert layout.notes == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_parts_come_in_their_order(val):
    layout = arrange(listing("test/a/1.png", "test/b/1.png", f"{val}/a/1.png", f"{val}/b/1.png", "train/a/1.png",
                             "train/b/1.png"), "d")  # fmt: skip
    assert [row[:2] for row in table(layout)] == [
        (part, label) for part in ("train", "validation", "test") for label in "ab"
    ]


def test_classes_are_sorted_by_bytes():
    layout = arrange(listing(*(f"{name}/1.png" for name in ("é", "Z", "a", "10", "9"))), "d")
    assert layout.classes == ("10", "9", "Z", "a", "é")


def test_a_folder_around_everything_is_looked_through():
    layout = arrange(listing("x/y/train/a/1.png", "x/y/train/b/1.png"), "d")
    assert table(layout)[0] == ("train", "a", "x/y/train/a/1.png")


def test_what_is_left_out_is_counted():
    layout = arrange(
        listing("a/1.png", "b/1.png", ".git/x.png", "a/.DS_Store", "__MACOSX/a/1.png", "a/Thumbs.db", "me.png",
                links=["a/l"]), "d"
    )  # fmt: skip
    assert len(layout.pictures) == 2
    assert layout.notes == (
        "files left out: 3 hidden; 1 link (a/l); 1 not a picture (a/Thumbs.db); 1 beside the class folders (me.png)",
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (listing(), "d: holds no pictures; put the pictures of each class"),
        (listing("a/readme.txt"), "holds no pictures .1 other files, such as a/readme.txt"),
        (listing("all.zip"), "give all.zip in it"),
        (listing("cat/1.png", "cat/2.png"), r"found 1 class \('cat'\); need 2 or more"),
        (listing("1.png"), "pictures in no class folder"),
        (listing("a/1.png", "b/1.png", folders=["c"]), "class 'c' holds no pictures"),
        (listing("train/a/1.png", "train/b/1.png", folders=["train/c"]), "class 'train/c' holds no pictures"),
        (listing("test/a/1.png", "test/b/1.png"), "holds test/ but no train/"),
        (
            listing("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/c/1.png"),
            "classes of validation and train differ: validation has 'c' and lacks 'b'",
        ),
        (listing("a/1.png", "b" * 201 + "/1.png"), "has 201 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused(found, words):
    with pytest.raises(InvalidInputError, match=words):
        arrange(found, "d")


def test_names_of_own_sets_fit_into_names_of_folders():
    assert [source_name(path) for path in ("x/photos/", "a b.zip", "t.tar.gz", "..data", "/")] == [
        "photos", "a-b", "t", "data", "pictures",
    ]  # fmt: skip
