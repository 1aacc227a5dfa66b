"""A network from the arguments of the command line: an input shape and layers in a row."""

from __future__ import annotations

from collections.abc import Sequence

from cnncli.errors import InvalidInputError, UsageError
from cnncli.language.arguments import OTHER_KINDS, parse_layers
from cnncli.language.document import Document
from cnncli.language.items import Item
from cnncli.language.notation import parse_shape
from cnncli.language.tree import Mark, ScalarNode
from cnncli.model.assembly import LayerError
from cnncli.model.build import build_model
from cnncli.model.network import Model
from cnncli.model.vocabulary import vocabulary
from cnncli.shapes import Shape

MAX_DIGITS = 12  # of the length of a vector


def input_from_arguments(text: str, layers: Sequence[str]) -> Shape:
    """Return the input shape before `layers`: a single number in front of a dense layer is a vector.

    Raises
    ------
    UsageError
        Not a shape.

    Examples
    --------
    >>> input_from_arguments("400", ["dense:120"]), input_from_arguments("28", ["conv:5"])
    ((400,), (1, 28, 28))
    """
    kind = layers[0].partition(":")[0].strip().lower() if layers else ""
    if text.strip().isdecimal() and len(text) <= MAX_DIGITS and OTHER_KINDS.get(kind, kind) == "dense" and int(text):
        return (int(text),)
    try:
        return parse_shape(text)
    except InvalidInputError as error:
        raise UsageError(error.message, hint=error.hint) from None


def model_from_arguments(input_shape: Shape, layers: Sequence[str], *, rounding: str = "floor") -> Model:
    """Return the network of ``conv:3,out=8 maxpool:2 ...`` on an input; any number of parameters is allowed.

    Raises
    ------
    UsageError
        A layer that cannot be read, an option out of range.
    LayerError
        Shapes that do not fit.
    """
    return model_from_items(input_shape, parse_layers(layers, vocabulary()), rounding=rounding)


def model_from_items(input_shape: Shape, items: tuple[Item, ...], *, rounding: str = "floor") -> Model:
    """Return the network of layers that `parse_layer` has read; errors as for `model_from_arguments`."""
    document = Document("chain", input_shape, None, round_defaults(rounding), {}, items)
    try:
        return build_model(document, max_parameters=None, where="chain")
    except InvalidInputError as error:
        if isinstance(error, LayerError) and error.is_misfit:
            raise
        raise UsageError(error.message, where=error.where, hint=error.hint) from None


def round_defaults(rounding: str) -> dict[str, dict[str, ScalarNode]]:
    """Return defaults that round every window's output length up, for ``ceil``."""
    if rounding != "ceil":
        return {}
    word = {"round": ScalarNode("ceil", "ceil", Mark("--round", 0, 0))}
    return {kind: dict(word) for kind in ("conv", "depthwise", "locally_connected", "maxpool", "avgpool")}
