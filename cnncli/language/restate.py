"""An architecture file with another input or number of classes, everything else left as its author wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cnncli.language.tree import ListNode, MapNode, ScalarNode, TreeNode


def restate(text: str, tree: MapNode, values: Mapping[str, str]) -> str:
    r"""Return `text` with top-level keys set to `values`.

    Parameters
    ----------
    text : str
        The file.
    tree : MapNode
        Its tree, with the line of every key.
    values : mapping
        Key and what stands behind it, on one line.

    Returns
    -------
    str
        A key that is there keeps its place; one that is not comes before the first key. A file in one pair of
        braces (keys do not begin their lines) is returned as it is.

    Examples
    --------
    >>> from cnncli.language.tree import read_tree
    >>> text = "name: a\ninput: [8, 8, 1]  # small\nlayers: [relu]\n"
    >>> restate(text, read_tree(text, "a"), {"input": "[9, 9, 1]", "classes": "3"})
    'classes: 3\nname: a\ninput: [9, 9, 1]\nlayers: [relu]\n'
    """
    if any(key.mark.column != 1 for key, _ in tree.entries) or not tree.entries:
        return text
    lines = text.splitlines(keepends=True)
    starts = [key.mark.line - 1 for key, _ in tree.entries]
    if len(set(starts)) != len(starts):
        return text
    known = {key.text: number for number, (key, _) in enumerate(tree.entries)}
    for name in sorted(values, key=lambda name: -known.get(name, -1)):
        line = f"{name}: {values[name]}\n"
        if name not in known:
            lines.insert(starts[0], line)
            continue
        first = starts[known[name]]
        following = starts[known[name] + 1] if known[name] + 1 < len(starts) else len(lines)
        last = following
        while last > first + 1 and lines[last - 1].lstrip()[:1] in ("", "#"):
            last -= 1  # comments and blank lines before the next key stay
        lines[first:last] = [line]
    return "".join(lines)


def without_last_layer(text: str, tree: TreeNode, kind: str) -> str:
    r"""Return `text` without its last layer where that is `kind`, on a line of its own and without options.

    Parameters
    ----------
    text : str
        The file.
    tree : TreeNode
        Its tree.
    kind : str
        As in ``softmax``.

    Returns
    -------
    str
        The same text where the last layer is another one, or shares its line.

    Examples
    --------
    >>> from cnncli.language.tree import read_tree
    >>> text = "layers:\n  - flatten\n  - softmax  # end\n"
    >>> without_last_layer(text, read_tree(text, "a"), "softmax")
    'layers:\n  - flatten\n'
    """
    entries = tree.entries if isinstance(tree, MapNode) else ()
    layers = next((node for key, node in entries if key.text == "layers"), None)
    if not isinstance(layers, ListNode) or not layers.items:
        return text
    last = layers.items[-1]
    lines = text.splitlines(keepends=True)
    if not isinstance(last, ScalarNode) or last.text != kind:
        return text
    if not re.fullmatch(rf"\s*-\s+{kind}\s*(#.*)?", lines[last.mark.line - 1].rstrip("\n")):
        return text
    return "".join(lines[: last.mark.line - 1] + lines[last.mark.line :])
