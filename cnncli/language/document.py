"""An architecture file as a document: its sections, checked against the keywords of the language.

Values stay as they were written (a number may be an expression that needs the incoming channels); only the structure
and every key are checked here, also in blocks that nobody uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cnncli.errors import InvalidInputError
from cnncli.language.items import JOINS, Block, Item, ItemReader, Keywords, fail, keys, nearest, word
from cnncli.language.notation import checked_shape, checked_vector, parse_shape
from cnncli.language.tree import ListNode, MapNode, ScalarNode, TreeNode, describe, shorten
from cnncli.shapes import Shape

TOP_KEYS = ("cnn", "name", "input", "classes", "defaults", "blocks", "layers")


@dataclass(frozen=True)
class Document:
    """A whole architecture file."""

    name: str
    input_shape: Shape | None
    classes: int | None
    defaults: Mapping[str, Mapping[str, TreeNode]]
    blocks: Mapping[str, Block]
    layers: tuple[Item, ...]


class DocumentError(InvalidInputError):
    """A wrong entry in the list of layers; `document` holds everything before it."""

    document: Document


def parse_document(tree: TreeNode, keywords: Mapping[str, Keywords]) -> Document:
    """Return the document of a tree.

    Parameters
    ----------
    tree : TreeNode
        From `read_tree`.
    keywords : mapping
        Layer kinds and their options; joins and ``residual`` are known here.

    Raises
    ------
    InvalidInputError
        With a place, for a wrong structure, an unknown key or a missing one.
    """
    if not isinstance(tree, MapNode):
        raise fail(tree, f"expected a mapping with 'layers:', got {describe(tree)}", "see `cnn new lenet5`")
    top = keys(tree, TOP_KEYS, "an architecture file")
    if "cnn" in top and not _is_int(top["cnn"], 1):
        raise fail(top["cnn"], f"cnn: expected schema version 1, got {describe(top['cnn'])}", "write `cnn: 1`")
    if "layers" not in top:
        raise fail(tree, "expected a mapping with 'layers:'", "list the layers under `layers:`")
    block_names = _block_names(top.get("blocks"), keywords)
    reader = ItemReader(keywords, block_names)
    document = Document(
        name=word(top["name"], "name", 64) if "name" in top else "",
        input_shape=_input_shape(top["input"], vector=_begins_with_dense(top["layers"])) if "input" in top else None,
        classes=_classes(top["classes"]) if "classes" in top else None,
        defaults=_defaults(top["defaults"], keywords) if "defaults" in top else {},
        blocks=reader.blocks(top["blocks"]) if "blocks" in top else {},
        layers=(),
    )
    layers: list[Item] = []
    for entry in reader.entries(top["layers"], "layers"):
        try:
            layers.append(reader.item(entry))
        except InvalidInputError as error:
            failure = DocumentError(error.message, where=error.where, hint=error.hint)
            failure.document = replace(document, layers=tuple(layers))
            raise failure from None
    return replace(document, layers=tuple(layers))


def _begins_with_dense(layers: TreeNode) -> bool:
    """Return whether the first layer of a list is a dense one."""
    first = layers.items[0] if isinstance(layers, ListNode) and layers.items else None
    key = first.entries[0][0] if isinstance(first, MapNode) and first.entries else first
    return isinstance(key, ScalarNode) and key.text == "dense"


def _block_names(node: TreeNode | None, keywords: Mapping[str, Keywords]) -> tuple[str, ...]:
    if node is None:
        return ()
    if not isinstance(node, MapNode):
        raise fail(node, f"blocks: expected a mapping of blocks, got {describe(node)}")
    for key, _ in node.entries:
        word(key, "block")
        if key.text in keywords or key.text == "residual" or key.text in JOINS:
            raise fail(key, f"block {key.text!r} has the name of a layer", "choose another name")
    return tuple(key.text for key, _ in node.entries)


def _defaults(node: TreeNode, keywords: Mapping[str, Keywords]) -> dict[str, dict[str, TreeNode]]:
    if not isinstance(node, MapNode):
        raise fail(node, f"defaults: expected a mapping of layer kinds, got {describe(node)}")
    found: dict[str, dict[str, TreeNode]] = {}
    for key, value in node.entries:
        if key.text not in keywords:
            raise fail(key, f"defaults: unknown layer {shorten(key.text)!r}", nearest(key.text, keywords))
        if not isinstance(value, MapNode):
            hint = "write `conv: {kernel: 3}`"
            raise fail(value, f"defaults of {key.text}: expected options, got {describe(value)}", hint)
        found[key.text] = keys(value, keywords[key.text].options, f"defaults of {key.text}")
    return found


def _is_int(node: TreeNode, value: int) -> bool:
    return isinstance(node, ScalarNode) and type(node.value) is int and node.value == value


def _classes(node: TreeNode) -> int:
    if isinstance(node, ScalarNode) and type(node.value) is int and 1 <= node.value <= 1_000_000:
        return node.value
    raise fail(node, f"classes: expected a whole number from 1 to 1,000,000, got {describe(node)}")


def _input_shape(node: TreeNode, *, vector: bool) -> Shape:
    """Return the input shape; with `vector`, one number is a vector, as it is before `dense` on the command line."""
    hint = "write [height, width, channels], [values] for a vector, or text such as 28x28x1 or 1@28x28"
    if isinstance(node, ListNode):
        sizes = [n.value for n in node.items if isinstance(n, ScalarNode) and type(n.value) is int]
        if len(sizes) != len(node.items) or len(sizes) not in (1, 2, 3):
            raise fail(node, "input: expected three whole numbers", hint)
        try:
            if len(sizes) == 1:
                return checked_vector(sizes[0])
            return checked_shape(sizes[0], sizes[1], sizes[2] if len(sizes) == 3 else 1)
        except InvalidInputError as error:
            raise error.located(str(node.mark)) from None
    if isinstance(node, ScalarNode) and isinstance(node.value, str | int) and not isinstance(node.value, bool):
        try:
            if vector and type(node.value) is int:
                return checked_vector(node.value)
            return parse_shape(node.text)
        except InvalidInputError as error:
            raise error.located(str(node.mark)) from None
    raise fail(node, f"input: expected three whole numbers, got {describe(node)}", hint)
