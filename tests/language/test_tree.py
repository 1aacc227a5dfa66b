"""YAML is read event by event, located, and refused where it could surprise."""

from __future__ import annotations

import time

import pytest

from cnncli.errors import InvalidInputError
from cnncli.language.tree import MAX_DEPTH, ListNode, MapNode, ScalarNode, decode, plain_value, read_tree


def refused(text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_tree(text, "a.yaml")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_places_count_from_one():
    tree = read_tree("a: 1\nb:\n  - x\n  - {c: 2}\n", "a.yaml")
    assert isinstance(tree, MapNode)
    (_, one), (_, items) = tree.entries
    assert isinstance(one, ScalarNode)
    assert (one.value, str(one.mark)) == (1, "a.yaml:1:4")
    assert isinstance(items, ListNode)
    inner = items.items[1]
    assert isinstance(inner, MapNode)
    assert str(inner.entries[0][1].mark) == "a.yaml:4:9"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("010", 10), ("0x10", 16), ("0o10", 8), ("-3", -3), ("1e-3", 0.001), ("1.", 1.0), (".5", 0.5),
        ("no", "no"), ("off", "off"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"),
        ("true", True), ("True", True), ("yes", "yes"), ("~", None), ("", None), ("1e5x", "1e5x"),
    ],
)  # fmt: skip
def test_plain_values_follow_yaml_1_2(text, value):
    found = plain_value(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_make_text():
    tree = read_tree("a: '12'", "a.yaml")
    assert isinstance(tree, MapNode)
    value = tree.entries[0][1]
    assert isinstance(value, ScalarNode)
    assert value.value == "12"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["a.yaml", "empty", "layers"]),
        ("   \n\n", ["empty"]),
        ("a: 1\n---\nb: 2", ["a.yaml:2:1", "second document"]),
        ("a: !!python/object/apply:os.system ['ls']", ["a.yaml:1:4", "tags"]),
        ("a: !x 1", ["a.yaml:1:4", "tags"]),
        ("a: &x 1\nb: *x", ["a.yaml:1:4", "anchors"]),
        ("- *x", ["a.yaml:1:3", "aliases"]),
        ("<<: {a: 1}", ["a.yaml:1:1", "merge keys"]),
        ("a: 1\nb: 2\na: 3", ["a.yaml:3:1", "duplicate key 'a'", "line 1"]),
        ("a:\n\t- b", ["a.yaml:2:1", "\\t"]),
        ("a: [1, 2", ["a.yaml:1:", "not valid YAML"]),
        ("%YAML 1.1\n---\na: 1", ["directives"]),
        ("? [a, b]\n: 1", ["a.yaml:1:3", "cannot be a key"]),
        ("a: \x00", ["a.yaml:1:4", "U+0000"]),
        ("a: b: c", ["a.yaml:1:5", "not valid YAML"]),
    ],
)
def test_refused(text, words):
    message = refused(text)
    for word in words:
        assert word in message, message


def test_alias_bomb_is_refused_at_its_first_anchor():
    text = "a: &a [x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True))
    assert "a.yaml:1:4" in refused(text)


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 50_000, "- " * 50_000])
def test_deep_nesting_ends_at_once(text):
    start = time.process_time()
    assert str(MAX_DEPTH) in refused(text)
    assert time.process_time() - start < 5


def test_many_values_are_refused():
    assert "10,000 values" in refused("[" + "1," * 20_000 + "]")


def test_size_is_limited():
    assert "limit" in refused("a" * ((1 << 20) + 1))
    with pytest.raises(InvalidInputError, match="limit"):
        decode(b"a" * ((1 << 20) + 1), "a.yaml")


def test_huge_integers_stay_text():
    tree = read_tree("a: " + "9" * 5000, "a.yaml")
    assert isinstance(tree, MapNode)
    value = tree.entries[0][1]
    assert isinstance(value, ScalarNode)
    assert isinstance(value.value, str)


def test_byte_order_mark_is_accepted_and_other_bytes_are_located():
    assert decode(b"\xef\xbb\xbfa: 1", "a.yaml") == "a: 1"
    with pytest.raises(InvalidInputError) as caught:
        decode(b"a: 1\nb: \xff", "a.yaml")
    assert str(caught.value).startswith("a.yaml:2:4: byte 8 (0xff) is not UTF-8")


def test_the_depth_limit_is_32_levels():
    """A list in a list, exactly to the limit and one beyond it."""
    read_tree("[" * 32 + "]" * 32, "a.yaml")
    with pytest.raises(InvalidInputError, match=r"a.yaml:1:33: nested deeper than 32 levels"):
        read_tree("[" * 33 + "]" * 33, "a.yaml")
