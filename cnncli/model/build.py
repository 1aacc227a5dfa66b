"""A document becomes a network: blocks and repeats unfold, expressions get values, shapes flow from layer to layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnncli.errors import InvalidInputError, ShapeError
from cnncli.language.document import Document
from cnncli.language.items import Item, fail, nearest
from cnncli.language.tree import ScalarNode, TreeNode
from cnncli.layers import KINDS
from cnncli.layers.base import REQUIRED, Layer
from cnncli.layers.batchnorm import BatchNorm
from cnncli.layers.conv import Conv2D
from cnncli.layers.joins import Add, Concat, Multiply
from cnncli.model.assembly import MAX_LAYERS, MAX_PARAMETERS, Assembly, LayerError
from cnncli.model.network import NETWORK_INPUT, Model
from cnncli.model.values import read_choice, read_int, read_option
from cnncli.model.vocabulary import ACTIVATIONS, options_of
from cnncli.shapes import Shape, format_hwc

MAX_STEPS = 10_000  # entries visited; an empty block repeated in an empty block ends here
MAX_NESTING = 64  # blocks in blocks, and branches in them
_JOINS: dict[str, type[Layer]] = {"add": Add, "concat": Concat, "multiply": Multiply}


def build_model(
    document: Document,
    *,
    text: str = "",
    input_shape: Shape | None = None,
    classes: int | None = None,
    max_parameters: int | None = MAX_PARAMETERS,
    where: str = "",
) -> Model:
    """Return the network of a document.

    Parameters
    ----------
    document : Document
        From `parse_document`.
    text : str
        The file it came from.
    input_shape, classes : optional
        In place of what the file says.
    max_parameters : int or None
        More are refused; None counts without a limit.
    where : str
        Name of the file, for messages without a line.

    Raises
    ------
    InvalidInputError
        The input shape is not known.
    LayerError
        Shapes that do not fit, a value out of range, a missing option, an unknown name; with the nodes before it.
    """
    shape = input_shape or document.input_shape
    if shape is None:
        raise InvalidInputError("the input shape is not set", where=where, hint="add `input: [28, 28, 1]`")
    classes = classes or document.classes
    builder = _Builder(document, shape, classes, max_parameters)
    try:
        builder.sequence(document.layers, NETWORK_INPUT, _Frame({}, ()))
    except InvalidInputError as error:
        raise LayerError(
            error.message, where=error.where, hint=error.hint, done=tuple(builder.nodes), input_shape=shape,
            is_misfit=isinstance(error, ShapeError),
        ) from None  # fmt: skip
    return Model(document.name or where, shape, tuple(builder.nodes), classes, text, builder.repeats)


@dataclass
class _Frame:
    """What is known inside one block call: values of its parameters and the names given so far."""

    names: Mapping[str, int]
    scope: tuple[str, ...]
    calls: tuple[str, ...] = ()
    outputs: dict[str, int] = field(default_factory=dict)
    outer: _Frame | None = None

    def find(self, name: str) -> int | None:
        """Return the index that `name` stands for, here or further out."""
        frame: _Frame | None = self
        while frame is not None:
            if name in frame.outputs:
                return frame.outputs[name]
            frame = frame.outer
        return None

    def known(self) -> list[str]:
        """Return all names that can be referred to."""
        return [*self.outputs, *(self.outer.known() if self.outer else ())]


class _Builder(Assembly):
    """Unfolds a document into nodes."""

    def __init__(self, document: Document, shape: Shape, classes: int | None, max_parameters: int | None) -> None:
        super().__init__(shape, max_parameters)
        self.document = document
        self.globals = {} if classes is None else {"classes": classes}
        self.steps = 0
        self.nesting = 0
        self.called = ""  # label of the block that was unfolded last
        self.repeats: dict[tuple[str, ...], str] = {}
        self.reserve(document.layers)

    def reserve(self, items: tuple[Item, ...]) -> None:
        """Keep the names that are written at the top level from being given to layers without a name."""
        for item in items:
            if item.name is not None and item.repeat is None:
                self.reserved.add(item.name.text)
            elif item.name is not None and isinstance(item.repeat, ScalarNode) and type(item.repeat.value) is int:
                self.reserved.update(f"{item.name.text}{n + 1}" for n in range(min(item.repeat.value, MAX_LAYERS)))
            for branch in item.branches:
                self.reserve(branch)

    def names(self, frame: _Frame, index: int) -> dict[str, int]:
        return {**self.globals, **frame.names, "in_channels": self.shape_of(index)[0]}

    def sequence(self, items: tuple[Item, ...], index: int, frame: _Frame) -> int:
        """Add `items` one after the other behind node `index`; return the last node's index."""
        self.nesting += 1
        if self.nesting > MAX_NESTING and items:
            raise fail(items[0].mark, f"blocks and branches nested deeper than {MAX_NESTING}", "use fewer levels")
        for item in items:
            repeat = 1
            if item.repeat is not None:
                repeat = read_int("repeat", item.repeat, self.names(frame, index), 1, MAX_LAYERS)
            labels: list[str] = []
            for number in range(repeat):
                self.called = ""
                index = self.item(item, index, frame, number if repeat > 1 else None)
                labels.append(self.called)
            if repeat > 1 and item.kind in self.document.blocks:
                stem = labels[0].rstrip("0123456789")
                group = f"{labels[0]}-{labels[-1][len(stem) :]}"
                if "/".join((*frame.scope, group)) not in self.taken | self.reserved:
                    self.repeats.update({(*frame.scope, label): group for label in labels})
        self.nesting -= 1
        return index

    def item(self, item: Item, index: int, frame: _Frame, number: int | None) -> int:
        """Add one entry; return the index of its last node."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise fail(item.mark, f"more than {MAX_STEPS:,} entries once repeats are unfolded", "repeat less")
        sources = [self.source(source, frame) for source in item.sources]
        if len(sources) > 1 and item.kind not in _JOINS:
            raise fail(
                item.sources[1],
                f"{item.kind} takes one input, `from` names {len(sources)}",
                f"join them with `{'`, `'.join(_JOINS)}` first",
            )
        if sources:
            index = sources[0]
        name = ""
        if item.name is not None:
            name = item.name.text if number is None else f"{item.name.text}{number + 1}"
            if name in frame.outputs or "/" in name:
                raise fail(item.name, f"the name {name!r} is used twice", "choose another name")
        before = len(self.nodes)
        if item.kind in self.document.blocks:
            last = self.call(item, index, frame, name)
        elif item.kind == "residual":
            last = self.residual(item, index, frame, name)
        elif item.kind in _JOINS:
            last = self.join(item, index, sources, frame, name)
        else:
            last = self.layer(item, index, frame, name)
        if name:
            frame.outputs[name] = last
            if item.name is not None:
                frame.outputs[item.name.text] = last
        for made in range(before, len(self.nodes)):
            # automatic names can be referred to as well; the one of a layer means what its options made of it
            node = self.nodes[made]
            if len(node.scope) == len(frame.scope) and node.owner == made:
                fused = [i for i in range(made, len(self.nodes)) if self.nodes[i].owner == made]
                frame.outputs.setdefault(node.name.rpartition("/")[2], fused[-1])
        return last

    def source(self, node: ScalarNode, frame: _Frame) -> int:
        """Return the index that `from: name` stands for."""
        if node.text == "input":
            return NETWORK_INPUT
        found = self.inside(node.text) if "/" in node.text else frame.find(node.text)
        if found is None:
            raise fail(node, f"from: no layer named {node.text!r} above", nearest(node.text, [*frame.known(), "input"]))
        return found

    def inside(self, path: str) -> int | None:
        """Return the index of a layer in a block, named as in a table: ``stage1/conv``."""
        for index, node in enumerate(self.nodes):
            if node.name == path and node.owner == index:
                return [i for i in range(index, len(self.nodes)) if self.nodes[i].owner == index][-1]
        return None

    def call(self, item: Item, index: int, frame: _Frame, name: str) -> int:
        """Add the layers of a block with the parameters of this call; return the index of the last node."""
        block = self.document.blocks[item.kind]
        if item.kind in frame.calls:
            chain = " > ".join((*frame.calls, item.kind))
            raise fail(item.mark, f"block {item.kind} contains itself ({chain})", "unfold it with `repeat`")
        outside = self.names(frame, index)
        values: dict[str, int] = {}
        for parameter, default in block.params.items():
            written: TreeNode | None = item.options.get(parameter, default)
            if written is None:
                hint = f"write `{item.kind}: {{{parameter}: 64}}`"
                raise fail(item.mark, f"block {item.kind} needs a value for {parameter}", hint)
            known = outside if parameter in item.options else {**outside, **values}
            values[parameter] = read_int(parameter, written, known, -1_000_000, 1_000_000)
        label = name or self.numbered(item.kind, frame.scope)
        self.claim(label, frame.scope, item.name.mark if item.name else item.mark)
        inner = _Frame(values, (*frame.scope, label), (*frame.calls, item.kind), {}, frame)
        last = self.sequence(block.layers, index, inner)
        self.called = label
        return last

    def residual(self, item: Item, index: int, frame: _Frame, name: str) -> int:
        """Add main path, shortcut, addition and the activation after it."""
        last = self.sequence(item.branches[0], index, frame)
        if len(item.branches) > 1:
            short = self.sequence(item.branches[1], index, frame)
        else:
            written = item.options.get("shortcut")
            how = written.text if isinstance(written, ScalarNode) else "auto"
            short = self.shortcut(item, how, index, last, frame)
        if self.shape_of(short) != self.shape_of(last):
            main, shortcut = self.shape_of(last), self.shape_of(short)
            raise ShapeError(
                f"residual: main gives {format_hwc(main)} but shortcut is {format_hwc(shortcut)}",
                where=str(item.mark),
                hint=_residual_hint(item, main, self.shape_of(index)),
            )
        owner = self.add(Add(), (last, short), item.mark, frame.scope, name, "residual")
        return self.activation(item, owner, owner, frame)

    def shortcut(self, item: Item, how: str, index: int, last: int, frame: _Frame) -> int:
        """Return the input itself, or a 1x1 convolution with batch normalisation that gives main's shape."""
        have, want = self.shape_of(index), self.shape_of(last)
        if how == "identity" or (how == "auto" and have == want):
            return index
        if len(have) != 3 or len(want) != 3:
            return index
        strides = [max(1, round(n / m)) for n, m in zip(have[1:], want[1:], strict=True)]
        conv = Conv2D(want[0], (1, 1), (strides[0], strides[1]), bias=False)
        projected = self.add(conv, (index,), item.mark, frame.scope, "", "shortcut")
        return self.add(BatchNorm(), (projected,), item.mark, frame.scope, "", "shortcut")

    def join(self, item: Item, index: int, sources: list[int], frame: _Frame, name: str) -> int:
        """Add parallel branches and the layer that joins them."""
        layer = _JOINS[item.kind]()
        if item.branches:
            if len(sources) > 1:
                raise fail(item.sources[1], "branches read one input", "give `from` one name")
            ends = tuple(self.sequence(branch, index, frame) for branch in item.branches)
        else:
            ends = tuple(sources)
            if len(ends) < 2:
                raise fail(item.mark, f"{item.kind} joins two or more inputs", f"write `{item.kind}: {{from: [a, b]}}`")
        return self.add(layer, ends, item.mark, frame.scope, name, item.kind)

    def layer(self, item: Item, index: int, frame: _Frame, name: str) -> int:
        """Add a layer and what its ``bn:`` and ``activation:`` options ask for."""
        known = {option.name: option for option in options_of(item.kind)}
        written = self.written(item)
        names = self.names(frame, index)
        values: dict[str, Any] = {}
        for key, option in known.items():
            if key in written:
                try:
                    values[key] = read_option(option, written[key], names)
                except InvalidInputError as error:
                    message = f"{self.number(name or item.kind)}: {error.message}"
                    raise InvalidInputError(message, where=error.where, hint=error.hint) from None
            elif option.default is REQUIRED:
                given = [f"{k}: {node.text}" for k, node in item.options.items() if isinstance(node, ScalarNode)]
                hint = f"write `{item.kind}: {{{', '.join([*given, f'{key}: ...'])}}}`"
                if not item.mark.line:  # an argument of the command line
                    hint = f"write {item.kind}:3, or {item.kind}:{key}=3"
                raise fail(item.mark, f"{item.kind} needs {key}", hint)
        normalise = values.pop("bn", False)
        values.pop("activation", None)
        if normalise and values.get("bias") is None:
            values["bias"] = False
        try:
            layer = KINDS[item.kind].build(values, self.shape_of(index))
        except ShapeError as error:
            raise self.failure(item.mark, name or item.kind, error) from None
        owner = self.add(layer, (index,), item.mark, frame.scope, name, item.kind)
        last = owner
        if normalise:
            last = self.add(BatchNorm(), (last,), item.mark, frame.scope, "", item.kind, owner)
        return self.activation(item, owner, last, frame)

    def written(self, item: Item) -> dict[str, TreeNode]:
        """Return the options of a layer with the defaults of its kind; those that exclude each other are not mixed."""
        groups = KINDS[item.kind].one_of
        defaults = self.document.defaults.get(item.kind, {})
        if any(key in words for words in groups for key in item.options):
            left = {key for words in groups if not set(words) & set(item.options) for key in words}
            defaults = {key: node for key, node in defaults.items() if key not in left}
        written = {**defaults, **item.options}
        used = [[key for key in written if key in words] for words in groups]
        used = [found for found in used if found]
        if len(used) > 1:
            one, other = used[0][0], used[1][0]
            raise fail(written[other], f"{item.kind}: {other} does not go with {one}", "keep one of them")
        if groups and not any(words[0] in written for words in groups):
            first = groups[0][0]
            hint = f"write `{item.kind}: {{{first}: 3}}`"
            if not item.mark.line:  # an argument of the command line
                hint = f"write {item.kind}:3, or {item.kind}:{first}=3"
            raise fail(item.mark, f"{item.kind} needs {' or '.join(words[0] for words in groups)}", hint)
        return written

    def activation(self, item: Item, owner: int, last: int, frame: _Frame) -> int:
        """Add the activation that an option asks for."""
        written = item.options.get("activation", self.document.defaults.get(item.kind, {}).get("activation"))
        if written is None:
            return last
        kind = read_choice("activation", written, ("none", *ACTIVATIONS))
        if kind == "none":
            return last
        defaults = self.document.defaults.get(kind, {})
        options = {
            option.name: read_option(option, defaults[option.name], self.globals)
            for option in KINDS[kind].options
            if option.name in defaults
        }
        return self.add(
            KINDS[kind].build(options, self.shape_of(last)), (last,), item.mark, frame.scope, "", kind, owner
        )


def _residual_hint(item: Item, main: Shape, source: Shape) -> str:
    """Return what makes both paths of a residual fit; a 1x1 convolution can change channels and divide sizes."""
    if len(main) != len(source):
        return "give main and shortcut the same number of axes"
    written = item.options.get("shortcut")
    fixed = len(item.branches) > 1 or (isinstance(written, ScalarNode) and written.text == "identity")
    projected = tuple(-(-n // max(1, round(n / m))) for n, m in zip(source[1:], main[1:], strict=True))
    if fixed and projected == main[1:]:
        return "use shortcut: auto or project"
    return "keep the size in main with `padding: same`, or give shortcut as a list of layers"
