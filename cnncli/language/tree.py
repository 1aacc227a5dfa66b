"""YAML text as a tree; every value has its line and column.

Only what an architecture file needs is read, event by event: mappings, lists and plain values of YAML 1.2. Anchors,
aliases, merge keys, tags, directives, duplicate keys and second documents are refused, so that a small file can
neither grow without bound nor run anything. Depth, size and number of values are limited before a tree is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from cnncli.errors import InvalidInputError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_NUMBER_LENGTH = 40  # characters; a longer number stays text and is refused where a number is wanted


class Mark(NamedTuple):
    """A file, line and column; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """Return ``file:line:column``; an argument of the command line has no line and shows its text alone."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True)
class ScalarNode:
    """A plain value: text, whole number, number, true, false or nothing."""

    value: str | int | float | bool | None
    text: str
    mark: Mark
    quoted: bool = False


@dataclass(frozen=True)
class ListNode:
    """A list of nodes."""

    items: tuple[TreeNode, ...]
    mark: Mark


@dataclass(frozen=True)
class MapNode:
    """A mapping whose keys are text, in the order of the file."""

    entries: tuple[tuple[ScalarNode, TreeNode], ...]
    mark: Mark


TreeNode: TypeAlias = ScalarNode | ListNode | MapNode

_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".inf": float("inf"), ".Inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan"),
    ".NaN": float("nan"),
}  # fmt: skip


def describe(node: TreeNode) -> str:
    """Return what a value is, in words for a message: ``a list``, ``text 'abc'``, ``true``, ``12``."""
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        if node.quoted and _INT.fullmatch(node.text):
            return f"text {shorten(node.value)!r} (without the quotation marks it is a number)"
        if _INT.fullmatch(node.text):
            return f"a number of {len(node.text)} digits"
        return f"text {shorten(node.value)!r}"
    return shorten(node.text)


def shorten(text: str, width: int = 40) -> str:
    """Return `text`, cut with an ellipsis where it is long."""
    return text if len(text) <= width else text[: width - 1] + "…"


def plain_value(text: str) -> str | int | float | bool | None:
    """Return what an unquoted YAML 1.2 value means.

    Examples
    --------
    >>> plain_value("1e-3"), plain_value("010"), plain_value("no"), plain_value("12:30")
    (0.001, 10, 'no', '12:30')
    """
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) > MAX_NUMBER_LENGTH:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OTHER_INT.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def decode(data: bytes, file: str) -> str:
    """Return UTF-8 bytes as text; a byte-order mark is accepted."""
    if len(data) > MAX_BYTES:
        # standard input is read no further than one byte beyond the limit
        size = f"{len(data):,} B" if len(data) > MAX_BYTES + 1 else f"more than {MAX_BYTES:,} B"
        raise InvalidInputError(f"has {size}, the limit is {MAX_BYTES:,} B", where=file, hint="shorten it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        where = str(Mark(file, before.count(b"\n") + 1, column))
        raise InvalidInputError(
            f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8", where=where, hint="save the file as UTF-8"
        ) from None


def read_tree(text: str, file: str) -> TreeNode:
    """Return the tree of a YAML document.

    Parameters
    ----------
    text : str
        The document.
    file : str
        Its name for places in messages.

    Raises
    ------
    InvalidInputError
        With ``file:line:column`` for everything that is not a plain YAML document.
    """
    if len(text) > MAX_BYTES:
        raise InvalidInputError(
            f"has {len(text):,} characters, the limit is {MAX_BYTES:,}", where=file, hint="shorten it"
        )
    _refuse_control_characters(text, file)
    events = _Events(text, file)
    events.expect("StreamStartEvent")
    if events.name() == "StreamEndEvent":
        raise InvalidInputError(
            "is empty, expected a mapping with 'layers:'",
            where=file,
            hint="see `cnn new lenet5` for a file to start from",
        )
    start = events.expect("DocumentStartEvent")
    if start.version or start.tags:
        raise InvalidInputError("YAML directives (%YAML, %TAG) are not used here", where=file, hint="remove them")
    root = _read_node(events, 1)
    events.expect("DocumentEndEvent")
    if events.name() != "StreamEndEvent":
        raise InvalidInputError(
            "a second document begins here", where=str(events.mark()), hint="one file holds one network"
        )
    return root


def _refuse_control_characters(text: str, file: str) -> None:
    found = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if found:
        before = text[: found.start()]
        mark = Mark(file, before.count("\n") + 1, found.start() - before.rfind("\n"))
        raise InvalidInputError(
            f"character U+{ord(found.group()):04X} is not allowed in YAML", where=str(mark), hint="remove it"
        )


class _Events:
    """The parser's events, one looked ahead, every failure of the parser located."""

    def __init__(self, text: str, file: str) -> None:
        from ruamel.yaml import YAML

        self.file = file
        self.values = 0
        self._stream: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._ahead: Any = None
        self.advance()

    def advance(self) -> Any:
        """Return the current event and step to the next one."""
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        current = self._ahead
        try:
            self._ahead = next(self._stream, None)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = str(Mark(self.file, mark.line + 1, mark.column + 1)) if mark else self.file
            problem = " ".join(str(error.problem or error.context or "cannot be read").split())
            raise InvalidInputError(
                f"not valid YAML: {shorten(problem, 120)}", where=where, hint="check indentation and punctuation"
            ) from None
        except (
            YAMLError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:
            # the reader meets some malformed texts with errors of its own making
            problem = shorten(" ".join(str(error).split()), 120) or type(error).__name__
            raise InvalidInputError(
                f"not valid YAML: {problem}", where=self.file, hint="check indentation and punctuation"
            ) from None
        return current

    def name(self) -> str:
        """Return the class name of the current event."""
        return type(self._ahead).__name__

    def mark(self) -> Mark:
        """Return where the current event begins."""
        mark = self._ahead.start_mark
        return Mark(self.file, mark.line + 1, mark.column + 1)

    def expect(self, name: str) -> Any:
        """Return the current event, which must be of class `name`."""
        if self.name() != name:
            raise InvalidInputError("not valid YAML here", where=str(self.mark()), hint="check the indentation")
        return self.advance()


def _read_node(events: _Events, depth: int) -> TreeNode:
    mark = events.mark()
    name = events.name()
    events.values += 1
    if events.values > MAX_VALUES:
        raise InvalidInputError(f"more than {MAX_VALUES:,} values", where=str(mark), hint="use `repeat` and `blocks`")
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"nested deeper than {MAX_DEPTH} levels", where=str(mark), hint="use `blocks`")
    if name == "AliasEvent":
        raise InvalidInputError(
            "aliases (*name) are not used here", where=str(mark), hint="use `blocks` and `repeat` instead"
        )
    event = events.advance()
    if event.anchor is not None:
        raise InvalidInputError(
            "anchors (&name) are not used here", where=str(mark), hint="use `blocks` and `repeat` instead"
        )
    if getattr(event, "tag", None) is not None:
        raise InvalidInputError(
            f"tags ({shorten(str(event.tag))}) are not used here", where=str(mark), hint="remove the tag"
        )
    if name == "ScalarEvent":
        quoted = bool(event.style)
        return ScalarNode(event.value if quoted else plain_value(event.value), event.value, mark, quoted)
    if name == "SequenceStartEvent":
        items: list[TreeNode] = []
        while events.name() != "SequenceEndEvent":
            items.append(_read_node(events, depth + 1))
        events.advance()
        return ListNode(tuple(items), mark)
    return _read_mapping(events, depth, mark)


def _read_mapping(events: _Events, depth: int, mark: Mark) -> MapNode:
    entries: list[tuple[ScalarNode, TreeNode]] = []
    seen: dict[str, Mark] = {}
    while events.name() != "MappingEndEvent":
        key = _read_node(events, depth + 1)
        if not isinstance(key, ScalarNode):
            raise InvalidInputError(f"{describe(key)} cannot be a key", where=str(key.mark), hint="use a word")
        if key.text == "<<" and not key.quoted:
            raise InvalidInputError(
                "merge keys (<<) are not used here", where=str(key.mark), hint="use `defaults` or `blocks`"
            )
        if key.text in seen:
            raise InvalidInputError(
                f"duplicate key {shorten(key.text)!r}, first on line {seen[key.text].line}",
                where=str(key.mark),
                hint="keep one of them",
            )
        seen[key.text] = key.mark
        entries.append((key, _read_node(events, depth + 1)))
    events.advance()
    return MapNode(tuple(entries), mark)
