"""One layer as an argument of the command line: ``conv:5,p=1,s=1,out=8``, ``maxpool:2``, ``flatten``, ``dense:10``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cnncli.errors import UsageError
from cnncli.language.items import Item, Keywords, layer_hint, nearest
from cnncli.language.tree import ListNode, Mark, ScalarNode, TreeNode, plain_value, shorten

# what a value without a key means here: in the lecture the kernel comes first
MAIN = {"conv": "kernel", "depthwise": "kernel", "locally_connected": "kernel", "conv_transpose": "kernel"}
SHORT = {
    "k": "kernel", "f": "kernel", "s": "stride", "p": "padding", "pad": "padding", "d": "dilation", "g": "groups",
    "out": "filters", "n": "filters", "n_c": "filters", "act": "activation", "op": "output_padding",
}  # fmt: skip
OTHER_KINDS = {
    "pool": "maxpool",
    "max": "maxpool",
    "avg": "avgpool",
    "fc": "dense",
    "linear": "dense",
    "bn": "batchnorm",
}
MAX_LENGTH = 500

_PAIR = re.compile(r"[^/]+(/[^/]+){1,3}")


def parse_layer(text: str, keywords: Mapping[str, Keywords]) -> Item:
    """Return the entry for one argument.

    Parameters
    ----------
    text : str
        ``kind[:value][,key=value]...``; pairs as ``5x3`` (rows x columns), padding also as top/bottom/left/right.
    keywords : mapping
        Layer kinds and their options.

    Raises
    ------
    UsageError
        For anything else; the argument is its location.

    Examples
    --------
    >>> item = parse_layer("conv:5,s=2,out=16", {"conv": Keywords("filters", ("filters", "kernel", "stride"))})
    >>> [(name, node.value) for name, node in item.options.items()]
    [('kernel', 5), ('stride', 2), ('filters', 16)]
    """
    mark = Mark(shorten(text, 80), 0, 0)
    if len(text) > MAX_LENGTH:
        raise UsageError(f"layer of {len(text)} characters", where=str(mark), hint="write conv:5,out=8")
    kind, _, rest = text.strip().partition(":")
    kind = kind.strip().lower().replace("-", "_")
    kind = kind if kind in keywords else OTHER_KINDS.get(kind, kind)
    if kind not in keywords:
        raise UsageError(f"unknown layer {shorten(kind)!r}", where=str(mark), hint=layer_hint(kind, keywords))
    known = keywords[kind].options
    options: dict[str, TreeNode] = {}
    for number, part in enumerate(rest.split(",") if rest else ()):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = MAIN.get(kind, keywords[kind].main), part
            if number or not key:
                hint = "write key=value, as in conv:5,s=2,out=16"
                raise UsageError(f"{shorten(part)!r} has no key", where=str(mark), hint=hint)
        key = _full_key(key.strip().lower(), known)
        if key not in known:
            short = [word for word in SHORT if _full_key(word, known) in known and len(word) > 1]
            hint = nearest(key, (*known, *short))
            raise UsageError(f"unknown key {shorten(key)!r} of {kind}", where=str(mark), hint=hint)
        if key in options:
            raise UsageError(f"{key} twice", where=str(mark), hint="keep one of them")
        options[key] = value_node(value.strip(), mark)
    if kind in ("conv", "conv_transpose", "locally_connected") and "filters" not in options:
        options["filters"] = ScalarNode(1, "1", mark)
    return Item(kind, mark, options)


def value_node(text: str, mark: Mark) -> TreeNode:
    """Return the node of one value; slashes separate the sides of a padding."""
    if _PAIR.fullmatch(text) and "//" not in text:
        parts = text.split("/")
        return ListNode(tuple(ScalarNode(plain_value(part), part, mark) for part in parts), mark)
    return ScalarNode(plain_value(text), text, mark)


def parse_layers(texts: Sequence[str], keywords: Mapping[str, Keywords]) -> tuple[Item, ...]:
    """Return the entries for several arguments."""
    return tuple(parse_layer(text, keywords) for text in texts)


def _full_key(key: str, known: tuple[str, ...]) -> str:
    if key in known:
        return key
    if key in ("k", "f", "kernel") and "size" in known:
        return "size"
    if key in ("out", "n", "n_c", "filters") and "units" in known:
        return "units"
    return SHORT.get(key, key)
