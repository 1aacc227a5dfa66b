"""The keywords of the architecture language: every layer kind with its options, and the names that nodes get."""

from __future__ import annotations

from cnncli.language.items import Keywords
from cnncli.layers import KINDS
from cnncli.layers.base import Option

ACTIVATIONS = tuple(kind for kind, layer in KINDS.items() if layer.is_activation)
FUSED = (
    Option("bn", "bool", False, help="batch normalisation after it"),
    Option("activation", "activation", "none", choices=("none", *ACTIVATIONS), help="activation after it"),
)
WITH_FUSED = ("conv", "depthwise", "dense", "locally_connected", "conv_transpose")

# what a node is called where the file gives no name: conv1, pool1, fc1, ...
PREFIXES = {
    "maxpool": "pool", "avgpool": "pool", "dense": "fc", "batchnorm": "bn", "globalavgpool": "gap",
    "globalmaxpool": "gmp", "locally_connected": "local", "conv_transpose": "convt", "groupnorm": "gn",
    "layernorm": "ln",
}  # fmt: skip


def options_of(kind: str) -> tuple[Option, ...]:
    """Return all options of a layer kind, the fused ones included."""
    return (*KINDS[kind].options, *FUSED) if kind in WITH_FUSED else KINDS[kind].options


def vocabulary() -> dict[str, Keywords]:
    """Return the keywords of every layer kind that an architecture file may name."""
    return {
        kind: Keywords(layer.main, tuple(option.name for option in options_of(kind)))
        for kind, layer in KINDS.items()
        if layer.inputs == 1
    }
