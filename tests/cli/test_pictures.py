"""Pictures: nothing overlaps, every line can be distinguished, every number can be read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from command_line import run_cnn

SVG = "{http://www.w3.org/2000/svg}"

LONG = """name: a-network-with-a-rather-long-name-that-nobody-would-choose
input: [64, 64, 3]
layers:
  - conv: {name: feature_extractor_first_convolution, filters: 8, kernel: 3, activation: relu}
  - maxpool: {name: featureextractorfirstpoolinglayerwithoutanybreak, size: 2}
  - conv: {name: 最初の畳み込み層, filters: 16, kernel: 3, activation: relu}
  - flatten
  - dense: {name: classification_head_fully_connected, units: 10, activation: softmax}
"""

UNET = """input: [32, 32, 1]
blocks: {d: {params: [f], layers: [conv: {filters: f, kernel: 3, padding: same}]}}
layers:
  - d: {f: 2, name: d1}
  - maxpool: 2
  - d: {f: 4, name: d2}
  - maxpool: 2
  - d: {f: 8, name: d3}
  - upsample: 2
  - concat: {from: [upsample1, d2]}
  - d: 4
  - upsample: 2
  - concat: {from: [upsample2, d1]}
  - d: 2
"""


def drawn(path, text, *options):
    result = run_cnn("params", "-", *options, "-o", path, "-f", stdin=text)
    assert result.code == 0, result.err
    return ElementTree.parse(path).getroot()


def extent(element):
    """Return about where a text begins and ends: 0.5 em a letter, 1 em an East Asian one."""
    size = float(element.attrib["font-size"])
    width = sum(0.5 if sign.isascii() else 1 for sign in element.text or "") * size
    x = float(element.attrib["x"]) - (width / 2 if element.attrib["text-anchor"] == "middle" else 0)
    return x, x + width, float(element.attrib["y"])


def test_long_names_do_not_overlap(tmp_path):
    root = drawn(tmp_path / "net.svg", LONG)
    places = [extent(element) for element in root.iter(f"{SVG}text")]
    for number, (left, right, y) in enumerate(places):
        assert left >= 0
        assert right <= float(root.attrib["width"])
        for other_left, other_right, other_y in places[:number]:
            assert abs(y - other_y) > 8 or right <= other_left or other_right <= left
    words = "".join(element.text for element in root.iter(f"{SVG}text"))
    assert "featureextractorfirstpoolinglayerwithoutanybreak" in words
    assert "最初の畳み込み層" in words


def test_the_whole_drawing_is_used(tmp_path):
    for text in (LONG, UNET):
        root = drawn(tmp_path / "net.svg", text, "--depth", "1")
        lowest = max(float(element.attrib["y"]) for element in root.iter(f"{SVG}text"))
        assert lowest < float(root.attrib["height"]) < lowest + 40


def test_every_shortcut_has_a_line_of_its_own(tmp_path):
    root = drawn(tmp_path / "net.svg", UNET, "--depth", "1")
    ways = [element.attrib["d"] for element in root.iter(f"{SVG}path")]
    beside = [float(re.search(r"Q([\d.]+),", way)[1]) for way in ways if " Q" in way]
    assert len(beside) == 2
    assert abs(beside[0] - beside[1]) >= 10
    assert max(beside) < float(root.attrib["width"])


def test_a_picture_has_a_title(tmp_path):
    root = drawn(tmp_path / "net.svg", "name: a<b\ninput: [4, 4, 1]\nlayers: [relu]".replace("a<b", "a+b"))
    assert root.find(f"{SVG}title").text == "a+b: 0 parameters"


def luminance(colour):
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("arguments", [("7x7", "-k", "3"), ("9x9", "-k", "5", "-p", "2"), ("8x8", "maxpool:3,s=2")])
def test_every_number_of_a_coverage_can_be_read(arguments, tmp_path):
    path = tmp_path / "coverage.svg"
    assert run_cnn("shape", *arguments, "--coverage", "-o", path).code == 0
    root = ElementTree.parse(path).getroot()
    cells = [element.attrib["fill"] for element in root.iter(f"{SVG}rect") if "x" in element.attrib]
    inks = [element.attrib["fill"] for element in root.iter(f"{SVG}text")][1:]
    assert len(cells) == len(inks)
    for cell, ink in zip(cells, inks, strict=True):
        dark, light = sorted((luminance(cell), luminance(ink)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (cell, ink)
