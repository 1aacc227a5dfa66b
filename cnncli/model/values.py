"""Options as they were written become values of the right type and range."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from cnncli.errors import InvalidInputError
from cnncli.language.expression import evaluate
from cnncli.language.items import fail, nearest
from cnncli.language.tree import ListNode, ScalarNode, TreeNode, describe, plain_value, shorten
from cnncli.layers.base import REQUIRED, Option
from cnncli.layers.initialisers import parse_init
from cnncli.shapes import Pair

PADDING_WORDS = ("valid", "same", "full")

_WORD = re.compile(r"[A-Za-z_]\w*")
_ALWAYS = {"in", "in_channels", "classes"}  # the names that are known outside blocks
_BY = re.compile(r"\s*(\d{1,12})\s*x\s*(\d{1,12})\s*")


def read_option(option: Option, node: TreeNode, names: Mapping[str, int]) -> Any:
    """Return the value of an option.

    Parameters
    ----------
    option : Option
        Type and range.
    node : TreeNode
        What was written.
    names : mapping
        Values of the names that expressions may use.

    Raises
    ------
    InvalidInputError
        With the line of `node`, what was expected and what was found.
    """
    match option.type:
        case "int":
            return read_int(option.name, node, names, option.low, option.high)
        case "pair":
            return _pair(option, node, names)
        case "pads":
            return _pads(option, node, names)
        case "shape":
            return _shape(option, node, names)
        case "number":
            return _number(option, node)
        case "bool":
            if isinstance(node, ScalarNode) and isinstance(node.value, bool):
                return node.value
            if isinstance(node, ScalarNode) and option.default is None and node.text == "auto":
                return None
            raise fail(node, f"{option.name}: expected true or false, got {describe(node)}")
        case "init":
            return _init(option, node)
        case _:
            return read_choice(option.name, node, option.choices)


def read_int(name: str, node: TreeNode, names: Mapping[str, int], low: float = 1, high: float = 1_000_000) -> int:
    """Return a whole number, written as one or as an expression, in `low` to `high`."""
    wanted = f"{name}: expected a whole number from {low:,} to {high:,}"
    value: int
    if isinstance(node, ScalarNode) and type(node.value) is int:
        value = node.value
    elif isinstance(node, ScalarNode) and isinstance(node.value, str) and node.text and not node.text.isdigit():
        known = _ALWAYS.union(names)
        if _WORD.fullmatch(node.text) and known == _ALWAYS and not nearest(node.text, known).startswith("did"):
            # a name where there are no parameters to refer to
            raise fail(node, f"{wanted}, got {describe(node)}")
        try:
            value = evaluate(node.text, names)
        except InvalidInputError as error:
            raise fail(node, f"{name}: {error.message}", error.hint) from None
    else:
        raise fail(node, f"{wanted}, got {describe(node)}")
    if not low <= value <= high:
        shown = f"{shorten(node.text)} = {value:,}" if isinstance(node.value, str) else shorten(node.text)
        raise fail(node, f"{wanted}, got {shown}")
    return value


def read_choice(name: str, node: TreeNode, choices: tuple[str, ...]) -> str:
    """Return one of `choices`."""
    if isinstance(node, ScalarNode) and node.text in choices:
        return node.text
    text = node.text if isinstance(node, ScalarNode) else ""
    hint = nearest(text, choices)
    if hint.startswith("did"):
        raise fail(node, f"{name}: unknown word {shorten(text)!r}", hint)
    raise fail(node, f"{name}: expected one of {', '.join(choices)}, got {describe(node)}")


def _pair(option: Option, node: TreeNode, names: Mapping[str, int]) -> Pair:
    if isinstance(node, ListNode):
        if len(node.items) != 2:
            raise fail(node, f"{option.name}: expected one number or [rows, columns], got {len(node.items)} values")
        rows, columns = (read_int(option.name, n, names, option.low, option.high) for n in node.items)
        return rows, columns
    if isinstance(node, ScalarNode) and (match := _BY.fullmatch(node.text)):
        rows, columns = (
            read_int(option.name, ScalarNode(int(n), n, node.mark), names, option.low, option.high)
            for n in match.groups()
        )
        return rows, columns
    both = read_int(option.name, node, names, option.low, option.high)
    return both, both


def _pads(option: Option, node: TreeNode, names: Mapping[str, int]) -> Any:
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        word = node.text.strip().lower()
        if word in PADDING_WORDS and option.default is not REQUIRED:
            return word
        if word in PADDING_WORDS:  # they have no meaning without a kernel
            raise fail(node, f"{option.name}: expected numbers", "write 1 or [0, 1, 0, 1]")
        near = nearest(word, PADDING_WORDS)
        if node.text.isalpha() and node.text not in names and near.startswith("did"):
            raise fail(node, f"{option.name}: unknown word {shorten(node.text)!r}", near)
    if isinstance(node, ListNode):
        if len(node.items) not in (2, 4):
            raise fail(
                node,
                f"{option.name}: expected a number, [rows, columns] or [top, bottom, left, right], "
                f"got {len(node.items)} values",
            )
        values = [read_int(option.name, n, names, option.low, option.high) for n in node.items]
        return (values[0], values[0], values[1], values[1]) if len(values) == 2 else tuple(values)
    if isinstance(node, ScalarNode) and _BY.fullmatch(node.text):
        rows, columns = _pair(option, node, names)
        return rows, rows, columns, columns
    return (read_int(option.name, node, names, option.low, option.high),) * 4


def _shape(option: Option, node: TreeNode, names: Mapping[str, int]) -> tuple[int, int, int]:
    numbers: tuple[TreeNode, ...] = ()
    if isinstance(node, ListNode):
        numbers = node.items
    elif isinstance(node, ScalarNode):
        numbers = tuple(ScalarNode(plain_value(n.strip()), n.strip(), node.mark) for n in node.text.split("x"))
    if len(numbers) != 3:
        hint = "flatten makes a vector" if len(numbers) == 1 else "write [7, 7, 64]"
        raise fail(node, f"{option.name}: expected [height, width, channels], got {describe(node)}", hint)
    height, width, channels = (read_int(option.name, n, names, option.low, option.high) for n in numbers)
    return height, width, channels


def _number(option: Option, node: TreeNode) -> float:
    above = "above " if option.open_low else ""
    below = "below " if option.open_high else ""
    wanted = f"{option.name}: expected a number from {above}{option.low:g} to {below}{option.high:g}"
    if not isinstance(node, ScalarNode) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise fail(node, f"{wanted}, got {describe(node)}")
    value = float(node.value)
    inside = isfinite(value) and option.low <= value <= option.high
    if not inside or (option.open_high and value == option.high) or (option.open_low and value == option.low):
        raise fail(node, f"{wanted}, got {shorten(node.text)}")
    return value


def _init(option: Option, node: TreeNode) -> str:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise fail(node, f"{option.name}: expected a rule such as he_normal, got {describe(node)}")
    try:
        return parse_init(node.text)
    except InvalidInputError as error:
        raise error.located(str(node.mark)) from None
