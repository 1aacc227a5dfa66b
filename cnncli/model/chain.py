"""A network from the arguments of the command line: an input shape and layers in a row."""

from __future__ import annotations

from collections.abc import Sequence

from cnncli.errors import InvalidInputError, UsageError
from cnncli.model.assembly import LayerError
from cnncli.model.build import build_model
from cnncli.model.network import Model
from cnncli.model.vocabulary import vocabulary
from cnncli.shapes import Shape
from cnncli.spec.chain import parse_chain
from cnncli.spec.document import Document
from cnncli.spec.tree import Place, ScalarNode


def chain_model(input_shape: Shape, layers: Sequence[str], *, rounding: str = "floor") -> Model:
    """Return the network of ``conv:3,out=8 maxpool:2 ...`` on an input; any number of parameters is allowed.

    Raises
    ------
    UsageError
        A layer that cannot be read, an option out of range.
    LayerError
        Shapes that do not fit.
    """
    document = Document("chain", input_shape, None, round_defaults(rounding), {}, parse_chain(layers, vocabulary()))
    try:
        return build_model(document, max_parameters=None, where="chain")
    except LayerError:
        raise
    except InvalidInputError as error:
        raise UsageError(error.message, where=error.where, hint=error.hint) from None


def round_defaults(rounding: str) -> dict[str, dict[str, ScalarNode]]:
    """Return defaults that round every window's output length up, for ``ceil``."""
    if rounding != "ceil":
        return {}
    word = {"round": ScalarNode("ceil", "ceil", Place("--round", 0, 0))}
    return {kind: dict(word) for kind in ("conv", "depthwise", "locally_connected", "maxpool", "avgpool")}
