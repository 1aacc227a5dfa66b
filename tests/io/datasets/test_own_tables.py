"""Pictures that a CSV file lists, with their labels."""

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.own.table import table_source
from cnncli.tasks.data.load import load_data
from cnncli.tasks.data.request import DataRequest


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a table beside nine pictures in a folder."""
    (tmp_path / "pics").mkdir()
    for number in range(9):
        Image.fromarray(np.full((4, 6), 20 * number, np.uint8)).save(tmp_path / f"pics/{number}.png")

    def write(text, name="t.csv"):
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return str(tmp_path / name)

    return write


def test_classes_with_a_column_for_the_parts(table):
    path = table("label,split,path\nzebra,train,pics/3.png\nant,train,pics/1.png\nant,test,pics/2.png\n"
                 "zebra,val,pics/0.png\n")  # fmt: skip
    data = load_data(DataRequest(path))
    assert data.classes == ("ant", "zebra")
    assert data.train.images[:, 0, 0, 0].tolist() == [20, 60]
    assert data.train.labels.tolist() == [0, 1]
    assert data.test.images[0, 0, 0, 0] == 40
    assert data.validation.labels.tolist() == [1]
    assert (data.name, data.targets) == ("t", "classes")


@pytest.mark.parametrize("text", [
    "pics/1.png,10\npics/2.png,9\n", "\ufeffpath;label\r\npics/1.png;10\r\n\r\npics/2.png;9\r\n",
    'image\tlabel\n"pics/1.png"\t10\n pics/2.png \t 9 \n',
])  # fmt: skip
def test_headers_separators_and_marks(table, text):
    source = table_source(table(text))
    assert source.classes == ("9", "10")  # whole numbers in their order
    assert {(picture.name, source.classes[picture.target]) for picture in source.pictures} == {
        ("pics/1.png", "10"), ("pics/2.png", "9"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "loss", "targets", "names", "values"),
    [
        ("path,age\npics/1.png,3\npics/2.png,7.5\n", "auto", "numbers", ("age",), [(3.0,), (7.5,)]),
        ("path,age\npics/1.png,3\npics/2.png,7\n", "mse", "numbers", ("age",), [(3.0,), (7.0,)]),
        ("path,x,y\npics/1.png,3,-1e2\npics/2.png,7,0\n", "auto", "numbers", ("x", "y"), [(3, -100), (7, 0)]),
        ("path,red,round\npics/1.png,1,1\npics/2.png,0,1\n", "auto", "labels", ("red", "round"), [(1, 1), (0, 1)]),
        ("path,red,round\npics/1.png,1,1\npics/2.png,0,1\n", "mse", "numbers", ("red", "round"), [(1, 1), (0, 1)]),
        ("pics/1.png,1,1\npics/2.png,0,1\n", "auto", "labels", ("y1", "y2"), [(1, 1), (0, 1)]),
    ],
)
def test_numbers_and_labels(table, text, loss, targets, names, values):
    source = table_source(table(text), loss)
    assert (source.targets, source.classes) == (targets, names)
    assert [picture.target for picture in source.pictures] == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"t\.csv: file is empty"),
        ("path,label\n", "lists no pictures"),
        ("pics/1.png\npics/2.png\n", "no column of labels"),
        ("path,label\npics/1.png,a\npics/2.png\n", r"t\.csv:3: 1 cells, not 2"),
        ("path,label\npics/1.png,a\npics/2.png,a\n", r"found 1 class \('a'\)"),
        ("path,label\n/etc/passwd,a\npics/2.png,b\n", r"t\.csv:2: path '/etc/passwd' does not lie below"),
        ("path,label\npics/1.png,a\npics/../../2.png,b\n", r"t\.csv:3: path"),
        ("path,label\npics/1.png,a\n,b\n", r"t\.csv:3: path ''"),
        ("path,split,label\npics/1.png,a,b\n", r"t\.csv:2: split 'a'; write train, val or test"),
        ("path,split,label\npics/1.png,test,b\n", "no picture is for training"),
        (
            "path,split,label\npics/1.png,train,b\npics/2.png,train,a\npics/3.png,test,c\n",
            r"t\.csv:4: class 'c' is in no",
        ),
        ("path,x,y\npics/1.png,1,2\npics/2.png,1,nan\n", r"t\.csv:3: 'nan' is not a number"),
        ("path,x,y\npics/1.png,1,2\npics/2.png,1_0,3\n", r"t\.csv:3: '1_0' is not a number"),
        (b"path,label\npics/1.png,\xff\n", "not UTF-8 at byte 22"),
        ('path,label\n"pics/1.png"x,a\n', r"t\.csv:2: "),
    ],
)
def test_bad_tables_are_refused(table, text, words):
    with pytest.raises(InvalidInputError, match=words):
        table_source(table(text))


def test_a_link_out_of_the_folder_is_refused(table, tmp_path):
    (tmp_path / "pics/out").symlink_to("/etc")
    with pytest.raises(InvalidInputError, match="does not lie below"):
        table_source(table("path,label\npics/out/hostname.png,a\n"))


def test_pictures_that_are_missing_are_named(table):
    path = table("path,label\npics/1.png,a\npics/2.png,b\npics/77.png,b\n")
    with pytest.raises(InvalidInputError, match=r"1 of 3 pictures cannot be read \(pics/77\.png: no such file\)"):
        load_data(DataRequest(path))
    assert len(load_data(DataRequest(path, skip_bad=True)).train) == 2
