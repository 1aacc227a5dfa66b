"""The pictures and the page of a run: written at its end, written again on request, safe with any class name."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from command_line import expect_error, run_cnn
from PIL import Image

FILES = {"curves.png", "confusion.png", "report.html"}
HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta", "img", "br", "rect", "path", "polyline"}


class Page(HTMLParser):
    """Checks that every tag that is opened is closed, and collects texts, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    assert run_cnn("train", "-d", "digits", "-e", 2, "-q", "-o", folder, "--report").code == 0
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a run on pictures whose class names are HTML."""
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(2)
    for label in (HOSTILE.replace("/", "∕"), "ein sehr langer Name, der nicht passt"):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / f"{number}.png")
    assert run_cnn("train", "-d", folder / "data", "-e", 1, "-q", "-o", folder / "run", "--report").code == 0
    return folder


def test_a_run_ends_with_pictures_and_a_page(run):
    assert {path.name for path in run.iterdir()} >= FILES | {"command.txt"}
    with Image.open(run / "curves.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (1520, 500))
        assert len(picture.getcolors(10**6)) > 20
    page = Page((run / "report.html").read_text())
    text = " ".join(page.texts)
    result = run_cnn("eval", run, "--json").json
    assert f"{result['acc']:.2%}".replace("%", " %") in text
    assert f"cnn train -d digits -e 2 -q -o {run} --report" in text
    assert (run / "command.txt").read_text() == f"cnn train -d digits -e 2 -q -o {run} --report\n"
    for word in ("conv1", "fc2", "38,282", "data SHA-256", "numpy", "batch_size", "Worst mistakes", "precision"):
        assert word in text, word
    for row in csv.DictReader((run / "history.csv").read_text().splitlines()):
        assert row["epoch"] in page.texts
    mistakes = result["images"] - result["correct"]
    assert page.tags.count("figure") == min(mistakes, 24)
    assert page.tags.count("svg") == 3


def test_the_page_needs_nothing_else(run, hostile):
    for folder in (run, hostile / "run"):
        text = (folder / "report.html").read_text()
        page = Page(text)
        assert not {"script", "link", "iframe", "object"} & set(page.tags)
        for name, value in page.attributes:
            if name in ("src", "href"):
                assert value.startswith("data:image/png;base64,")
            assert not name.startswith("on")
        assert "default-src 'none'" in text
        assert 'name="viewport"' in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_class_names_are_texts(hostile):
    text = (hostile / "run/report.html").read_text()
    page = Page(text)
    assert "<script" not in text
    assert any("<script>alert(1)<∕script>" in one for one in page.texts)


def test_the_confusion_matrix_stands_on_the_page(run):
    page = Page((run / "report.html").read_text())
    confusion = run_cnn("eval", run, "--json").json["confusion"]
    drawn = [one for one in page.texts if re.fullmatch(r"[\d,]+", one)]
    for count in {count for row in confusion for count in row if count}:
        assert str(count) in drawn


def test_report_writes_them_again(run, tmp_path):
    before = {name: (run / name).read_bytes() for name in FILES}
    assert run_cnn("report", run, "-o", tmp_path / "new/page").code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "new/page").iterdir()} == before
    (run / "report.html").write_text("old")
    result = run_cnn("report", run)
    assert (result.code, result.err) == (0, f"wrote {run}/report.html\n")
    assert {name: (run / name).read_bytes() for name in FILES} == before


def test_mistakes_in_files_are_named(hostile, tmp_path):
    assert run_cnn("report", hostile / "run", "-q", "-o", tmp_path).code == 0
    page = (tmp_path / "report.html").read_text()
    assert ".png" in " ".join(Page(page).texts)
    assert page == (hostile / "run/report.html").read_text()  # as at the end of the training


def test_no_report(tmp_path):
    given = ("train", "-d", "digits", "-e", 1, "-q", "--limit", 60, "-o", tmp_path / "run")
    assert run_cnn(*given, "--no-report").code == 0
    assert not FILES & {path.name for path in (tmp_path / "run").iterdir()}
    assert run_cnn(*given, "--report", "--force").code == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} >= FILES
    assert run_cnn(*given, "--no-report", "--force").code == 0  # nothing of the run before is left
    assert not FILES & {path.name for path in (tmp_path / "run").iterdir()}


def test_a_report_that_cannot_be_written_leaves_the_run_whole(tmp_path):
    folder = tmp_path / "run"
    assert run_cnn("train", "-d", "digits", "-e", 1, "-q", "--limit", 60, "-o", folder).code == 0
    (folder / "curves.png").mkdir()
    result = run_cnn("report", folder)
    assert result.code == 1
    assert "curves.png" in result.err
    assert not (folder / "report.html").exists()


def test_what_is_no_run_is_refused(run, tmp_path):
    expect_error(run_cnn("report", tmp_path / "none"), 3, "is no run directory")
    expect_error(run_cnn("report", run / "best.safetensors"), 3, "is no run directory")
    expect_error(run_cnn("report", tmp_path), 3, "holds no best.safetensors")
    expect_error(run_cnn("report", run, "-o", ""), 2, "--output is empty")
