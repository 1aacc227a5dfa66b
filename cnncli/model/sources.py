"""Where a network comes from: the name of a preset, an architecture file, a run, or standard input."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from cnncli.errors import InvalidInputError, UsageError, did_you_mean
from cnncli.language.document import DocumentError, parse_document
from cnncli.language.restate import restate
from cnncli.language.tree import MAX_BYTES, MapNode, ScalarNode, TreeNode, decode, read_tree
from cnncli.model.arguments import round_defaults
from cnncli.model.assembly import MAX_PARAMETERS, LayerError
from cnncli.model.build import build_model
from cnncli.model.network import Model
from cnncli.model.vocabulary import vocabulary
from cnncli.shapes import Shape, format_hwc, user_shape

ALIASES = {
    "googlenet": "inception-v1", "lenet": "lenet5", "mobilenet": "mobilenet-v1", "resnet20": "resnet20-cifar",
    "squeezenet1_0": "squeezenet",
}  # fmt: skip
# models and pictures of other programs
FOREIGN = (".onnx", ".h5", ".hdf5", ".keras", ".pt", ".pth", ".pb", ".tflite", ".caffemodel", ".prototxt", ".cfg",
           ".pkl", ".npz", ".npy", ".mat", ".png", ".jpg", ".jpeg", ".zip")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The text of an architecture and the name that messages use for it."""

    text: str
    where: str


def parse_model(
    text: str,
    where: str = "<text>",
    *,
    input_shape: Shape | None = None,
    classes: int | None = None,
    max_parameters: int | None = MAX_PARAMETERS,
    rounding: str = "floor",
) -> Model:
    """Return the network that `text` describes.

    Parameters
    ----------
    text : str
        An architecture file.
    where : str
        Its name for messages.
    input_shape, classes : optional
        In place of what the file says; the text of the model then says it too.
    max_parameters : int or None
        More are refused.
    rounding : str
        ``ceil`` rounds up the output length of every window that does not say otherwise.

    Raises
    ------
    InvalidInputError
        With ``file:line:column``.

    Examples
    --------
    >>> model = parse_model("{input: [4, 4, 1], layers: [flatten, dense: 3]}")
    >>> model.nodes[1].name, model.parameter_count
    ('fc1', 51)
    """
    tree = read_tree(text, where)
    try:
        document = parse_document(tree, vocabulary())
    except DocumentError as error:
        raise _reached(error, input_shape, classes) from None
    values = {}
    if input_shape and input_shape != document.input_shape:
        values["input"] = str(user_shape(input_shape))
    if classes and classes != document.classes:
        values["classes"] = str(classes)
    if values and isinstance(tree, MapNode):
        text = restate(text, tree, values)
    if rounding == "ceil":
        defaults = round_defaults(rounding)
        merged = {kind: {**words, **document.defaults.get(kind, {})} for kind, words in defaults.items()}
        document = replace(document, defaults={**document.defaults, **merged})
    return build_model(
        document, text=text, input_shape=input_shape, classes=classes, max_parameters=max_parameters, where=where
    )


def check_classes(model: Model, classes: int | None) -> None:
    """Raise `UsageError` where a number of classes was given and the file does not ask for it."""
    if classes is not None and not _mentions(read_tree(model.text, model.name), "classes"):
        hint = "write `dense: classes` in the file, or leave --classes out"
        raise UsageError(f"--classes {classes} changes nothing, no layer uses `classes`", where=model.name, hint=hint)


def _mentions(node: TreeNode, name: str) -> bool:
    """Return whether an expression of the tree uses `name`."""
    if isinstance(node, ScalarNode):
        return isinstance(node.value, str) and re.search(rf"\b{name}\b", node.value) is not None
    children = [value for _, value in node.entries] if isinstance(node, MapNode) else node.items
    return any(_mentions(child, name) for child in children)


def _reached(error: DocumentError, input_shape: Shape | None, classes: int | None) -> InvalidInputError:
    """Return `error` with the network before the wrong entry, where that can be built."""
    try:
        before = build_model(error.document, input_shape=input_shape, classes=classes, max_parameters=None)
    except InvalidInputError:
        return error
    message = error.message
    if before.nodes:
        message += f" (the layers above give {format_hwc(before.output_shape)})"
    return LayerError(message, where=error.where, hint=error.hint, done=before.nodes, input_shape=before.input_shape)


def load_model(source: str, *, input_shape: Shape | None = None, classes: int | None = None) -> Model:
    """Return the network of a preset (``lenet5``), a file, a run directory or ``-`` for standard input.

    A file with the name of a preset is reached as ``./lenet5``.
    """
    found = read_source(source)
    return parse_model(found.text, found.where, input_shape=input_shape, classes=classes)


def read_source(source: str) -> Source:
    """Return the text of an architecture, wherever it is."""
    if source == "-":
        return Source(decode(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"), "<stdin>")
    preset = ALIASES.get(source, source)
    if preset in preset_names():
        return Source(preset_text(preset), preset)
    path = Path(source)
    if path.is_dir() and (path / "model.yaml").is_file():
        path = path / "model.yaml"
    elif path.is_dir() and (path / "best.safetensors").is_file():
        path = path / "best.safetensors"
    elif not path.exists() and not path.suffix and "/" not in source:
        hint = did_you_mean(source.lower(), preset_names(), f"presets: {', '.join(preset_names())}")
        raise InvalidInputError("no preset and no file of this name", where=source, hint=hint)
    if path.suffix == ".safetensors":
        from cnncli.io.checkpoint import read_checkpoint

        return Source(read_checkpoint(path).architecture, str(path))
    if path.suffix.lower() in FOREIGN:
        hint = "write the network as an architecture file, see `cnn new lenet5`"
        raise InvalidInputError(f"{path.suffix} files are not read by cnn", where=source, hint=hint)
    from cnncli.io.atomic import read_regular_file

    where = source if path == Path(source) else str(path)
    return Source(decode(read_regular_file(where, MAX_BYTES), where), where)


@cache
def preset_names() -> tuple[str, ...]:
    """Return the names of all presets in alphabetical order."""
    folder = files("cnncli") / "presets"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """Return the architecture file of a preset."""
    return (files("cnncli") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
