"""Lists of layers: each entry checked against the keywords of the language, its values left as they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cnncli.errors import InvalidInputError, did_you_mean
from cnncli.language.tree import ListNode, MapNode, Mark, ScalarNode, TreeNode, describe, shorten

COMMON_KEYS = ("name", "repeat", "from")
RESIDUAL_KEYS = ("main", "shortcut", "activation")
JOINS = ("concat", "add", "multiply")
SHORTCUTS = ("auto", "identity", "project")


# what other programs call the layers
OTHER_WORDS = {
    "fc": "dense", "linear": "dense", "fully_connected": "dense", "bn": "batchnorm", "batch_norm": "batchnorm",
    "batchnorm2d": "batchnorm", "batchnormalization": "batchnorm", "pool": "maxpool", "max_pool": "maxpool",
    "maxpooling2d": "maxpool", "avg_pool": "avgpool", "averagepooling2d": "avgpool", "gap": "globalavgpool",
    "concatenate": "concat", "cat": "concat", "sum": "add", "plus": "add", "conv2d": "conv",
    "depthwiseconv2d": "depthwise", "swish": "silu", "zeropadding2d": "pad", "upsampling2d": "upsample",
    "deconv": "conv_transpose", "convtranspose2d": "conv_transpose", "conv2dtranspose": "conv_transpose",
    "group_norm": "groupnorm", "layer_norm": "layernorm",
    "mul": "multiply", "cropping2d": "crop", "view": "reshape", "adaptiveavgpool2d": "avgpool",
}  # fmt: skip
_UNKNOWN = "the language has no such layer"
ABSENT = {
    "input": "the input shape stands at the top: `input: [28, 28, 1]`",
    "instancenorm": f"{_UNKNOWN}; groupnorm with `groups: in` has one group per channel",
}


@dataclass(frozen=True)
class Keywords:
    """The keywords of one layer kind: the option that a bare value stands for, and all options."""

    main: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """One entry of a list of layers.

    `kind` is a layer kind, the name of a block, ``residual`` or one of `JOINS`; `branches` are the parallel lists of
    the last two (main and, where it is a list, shortcut for a residual).
    """

    kind: str
    mark: Mark
    options: Mapping[str, TreeNode] = field(default_factory=dict)
    name: ScalarNode | None = None
    repeat: TreeNode | None = None
    sources: tuple[ScalarNode, ...] = ()
    branches: tuple[tuple[Item, ...], ...] = ()


@dataclass(frozen=True)
class Block:
    """A named list of layers with parameters; a parameter without a default is required."""

    name: str
    params: Mapping[str, ScalarNode | None]
    layers: tuple[Item, ...]
    mark: Mark


def fail(node: TreeNode | Mark, message: str, hint: str = "") -> InvalidInputError:
    """Return an error at the line and column of `node`."""
    mark = node if isinstance(node, Mark) else node.mark
    return InvalidInputError(message, where=str(mark), hint=hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them.

    Examples
    --------
    >>> nearest("kernal", ("kernel", "stride"))
    'did you mean kernel?'
    """
    known = list(known)
    if not known:
        return "there are none"
    return did_you_mean(word.lower(), known, f"one of {', '.join(known)}", cutoff=0.5)


def layer_hint(kind: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown layer: its name here, what to use instead, or the nearest keyword.

    Examples
    --------
    >>> layer_hint("linear", ("conv", "dense")), layer_hint("cnov", ("conv", "dense"))
    ('did you mean dense?', 'did you mean conv?')
    """
    lower = kind.lower().replace("-", "_")
    if lower in OTHER_WORDS:
        return f"did you mean {OTHER_WORDS[lower]}?"
    if lower in ABSENT:
        return ABSENT[lower]
    return nearest(kind, known)


def keys(node: MapNode, known: Iterable[str], what: str) -> dict[str, TreeNode]:
    """Return the entries of a mapping by key; raise for a key that is not `known`."""
    known = tuple(known)
    for key, _ in node.entries:
        if key.text not in known:
            raise fail(key, f"unknown key {shorten(key.text)!r} of {what}", nearest(key.text, known))
    return {key.text: value for key, value in node.entries}


def word(node: TreeNode, what: str, longest: int = 64) -> str:
    """Return a name: letters, digits and ``_ - . +``."""
    if not isinstance(node, ScalarNode) or not node.text:
        raise fail(node, f"{what}: expected a name, got {describe(node)}", "use letters, digits, - and _")
    text = node.text
    if len(text) > longest or not all(c.isalnum() or c in "_-.+ " for c in text) or text != text.strip():
        hint = f"use at most {longest} letters, digits, - and _"
        raise fail(node, f"{what}: {shorten(text)!r} cannot be a name", hint)
    return text


class ItemReader:
    """Reads lists of layers with the keywords of the language."""

    def __init__(self, keywords: Mapping[str, Keywords], block_names: tuple[str, ...]) -> None:
        self.keywords = keywords
        self.block_names = block_names
        self.block_params: dict[str, tuple[str, ...]] = {}

    def blocks(self, node: TreeNode) -> dict[str, Block]:
        """Return the blocks; their parameters are read first, as a block may use a later one."""
        if not isinstance(node, MapNode):
            raise fail(node, f"blocks: expected a mapping of blocks, got {describe(node)}")
        params: dict[str, dict[str, ScalarNode | None]] = {}
        bodies: dict[str, tuple[TreeNode, Mark]] = {}
        for key, body in node.entries:
            if not isinstance(body, MapNode):
                raise fail(body, f"block {key.text}: expected a mapping with 'layers:', got {describe(body)}")
            entries = keys(body, ("params", "layers"), f"block {key.text}")
            if "layers" not in entries:
                raise fail(body, f"block {key.text} has no layers", "list them under `layers:`")
            params[key.text] = _params(entries["params"]) if "params" in entries else {}
            self.block_params[key.text] = tuple(params[key.text])
            bodies[key.text] = entries["layers"], key.mark
        return {
            name: Block(name, params[name], self.items(layers, f"block {name}"), mark)
            for name, (layers, mark) in bodies.items()
        }

    def items(self, node: TreeNode, what: str, *, empty: bool = False) -> tuple[Item, ...]:
        """Return a list of layers; an empty one is the input itself and only a branch may be it."""
        return tuple(self.item(entry) for entry in self.entries(node, what, empty=empty))

    def entries(self, node: TreeNode, what: str, *, empty: bool = False) -> tuple[TreeNode, ...]:
        """Return what stands in a list of layers."""
        if not isinstance(node, ListNode):
            raise fail(node, f"{what}: expected a list of layers, got {describe(node)}", "begin each with '- '")
        if not node.items and not empty:
            raise fail(node, f"{what}: the list is empty", "add a layer")
        return node.items

    def item(self, node: TreeNode) -> Item:
        """Return one entry: ``kind``, ``kind: value`` or ``kind: {options}``."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            key, value = node, None
        elif isinstance(node, MapNode) and len(node.entries) == 1:
            key, value = node.entries[0]
        elif isinstance(node, MapNode) and node.entries:
            raise fail(
                node.entries[1][0],
                f"a layer has one kind, here are {len(node.entries)} keys",
                "begin each layer with '- ', or indent its options",
            )
        else:
            raise fail(node, f"expected a layer, got {describe(node)}", "write `- conv: {filters: 8, kernel: 3}`")
        kind = key.text
        if kind == "residual":
            return self._residual(key, value)
        if kind in JOINS:
            return self._join(key, value)
        if kind in self.block_names:
            return self._call(key, value)
        if kind not in self.keywords:
            everything = (*self.keywords, "residual", *JOINS, *self.block_names)
            raise fail(key, f"unknown layer {shorten(kind)!r}", layer_hint(kind, everything))
        return self._layer(key, value)

    def _layer(self, key: ScalarNode, value: TreeNode | None) -> Item:
        known = self.keywords[key.text]
        if isinstance(value, MapNode):
            return _item(key, keys(value, (*known.options, *COMMON_KEYS), key.text))
        if value is None or (isinstance(value, ScalarNode) and value.value is None):
            return Item(key.text, key.mark)
        if not known.main:
            options = f"its options are {', '.join(known.options)}" if known.options else "it has no options"
            raise fail(value, f"{key.text} takes no value, got {describe(value)}", options)
        return Item(key.text, key.mark, {known.main: value})

    def _call(self, key: ScalarNode, value: TreeNode | None) -> Item:
        params = self.block_params.get(key.text, ())
        if isinstance(value, MapNode):
            return _item(key, keys(value, (*params, *COMMON_KEYS), f"block {key.text}"))
        if value is None or (isinstance(value, ScalarNode) and value.value is None):
            return Item(key.text, key.mark)
        if len(params) != 1:
            raise fail(value, f"block {key.text} has {len(params)} parameters", "write them as {name: value}")
        return Item(key.text, key.mark, {params[0]: value})

    def _residual(self, key: ScalarNode, value: TreeNode | None) -> Item:
        if not isinstance(value, MapNode):
            hint = "write `residual: {main: [...], shortcut: auto}`"
            raise fail(value or key, "residual: expected a mapping with 'main:'", hint)
        entries = keys(value, (*RESIDUAL_KEYS, *COMMON_KEYS), "residual")
        if "main" not in entries:
            raise fail(value, "residual has no 'main:'", "list the layers of the main path under `main:`")
        branches = [self.items(entries.pop("main"), "main")]
        shortcut = entries.get("shortcut")
        if isinstance(shortcut, ListNode):
            branches.append(self.items(entries.pop("shortcut"), "shortcut", empty=True))
        elif shortcut is not None and not (isinstance(shortcut, ScalarNode) and shortcut.text in SHORTCUTS):
            text = shortcut.text if isinstance(shortcut, ScalarNode) else ""
            raise fail(
                shortcut,
                f"shortcut: expected {', '.join(SHORTCUTS)} or a list, got {describe(shortcut)}",
                nearest(text, SHORTCUTS),
            )
        return _item(key, entries, tuple(branches))

    def _join(self, key: ScalarNode, value: TreeNode | None) -> Item:
        entries: dict[str, TreeNode] = {}
        branches: TreeNode | None = value
        if isinstance(value, MapNode):
            entries = keys(value, ("branches", *COMMON_KEYS), key.text)
            branches = entries.pop("branches", None)
        if branches is None and "from" in entries:
            return _item(key, entries)
        if not isinstance(branches, ListNode) or len(branches.items) < 2:
            raise fail(
                branches or key,
                f"{key.text}: expected a list of two or more branches",
                f"write `{key.text}: [[...], [...]]`; [] is the input itself",
            )
        return _item(
            key,
            entries,
            tuple(self.items(branch, f"a branch of {key.text}", empty=True) for branch in branches.items),
        )


def _item(key: ScalarNode, entries: Mapping[str, TreeNode], branches: tuple[tuple[Item, ...], ...] = ()) -> Item:
    options = {name: value for name, value in entries.items() if name not in COMMON_KEYS}
    name = entries.get("name")
    sources: list[ScalarNode] = []
    if "from" in entries:
        written = entries["from"]
        for source in written.items if isinstance(written, ListNode) else (written,):
            # a layer inside a block is named as in a table: block1/conv1
            path = source.text.split("/") if isinstance(source, ScalarNode) else ()
            for part in path if len(path) > 1 and isinstance(source, ScalarNode) else ():
                word(ScalarNode(part, part, source.mark), "from", 200)
            if len(path) < 2:
                word(source, "from", 200)
            if isinstance(source, ScalarNode):
                sources.append(source)
        if not sources:
            raise fail(written, "from: the list is empty", "name a layer above")
    if name is not None and word(name, "name") == "input":
        raise fail(name, "name: 'input' is the input of the network", "choose another name")
    return Item(
        key.text,
        key.mark,
        options,
        name if isinstance(name, ScalarNode) else None,
        entries.get("repeat"),
        tuple(sources),
        branches,
    )


def _params(node: TreeNode) -> dict[str, ScalarNode | None]:
    """Return parameters and defaults of ``[a, b]`` or ``{a: required, b: 1}``."""
    if isinstance(node, ListNode):
        pairs: list[tuple[TreeNode, TreeNode | None]] = [(entry, None) for entry in node.items]
    elif isinstance(node, MapNode):
        pairs = [(key, value) for key, value in node.entries]
    else:
        raise fail(node, f"params: expected a list or a mapping, got {describe(node)}", "write `params: [c]`")
    found: dict[str, ScalarNode | None] = {}
    for key, value in pairs:
        name = word(key, "parameter")
        if not name.isidentifier() or name in ("in", "in_channels", "classes", *COMMON_KEYS):
            raise fail(key, f"{name!r} cannot be a parameter", "use another word, for instance c")
        if name in found:
            raise fail(key, f"parameter {name!r} twice", "keep one")
        if value is not None and not isinstance(value, ScalarNode):
            raise fail(value, f"parameter {name}: expected a number or 'required', got {describe(value)}")
        required = value is None or value.text == "required"
        found[name] = None if required else value
    return found
