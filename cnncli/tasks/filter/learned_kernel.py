"""The kernels a network has learned, as kernels for images: `RUN:conv1[3]`."""

from __future__ import annotations

import re

import numpy as np

from cnncli.errors import InvalidInputError, did_you_mean
from cnncli.filters.kernel import Kernel
from cnncli.io.checkpoint import read_checkpoint

_SPEC = re.compile(r"(?P<source>.+):(?P<layer>[\w./-]+)\[(?P<index>[0-9]+|\*)\]")


def layers_with_kernels(source: str) -> list[str]:
    """Return the names of the convolution layers of a run directory or checkpoint; errors as `read_learned_kernel`."""
    arrays = read_checkpoint(source).parameters
    names = [
        name.removesuffix("/weight") for name, array in arrays.items() if name.endswith("/weight") and array.ndim == 4
    ]
    if not names:
        raise InvalidInputError("has no convolution layer", where=source, hint="its layers are dense")
    return names


def read_learned_kernel(text: str) -> Kernel:
    """Return one filter of a convolution layer, or with ``[*]`` all of them.

    Parameters
    ----------
    text : str
        ``SOURCE:layer[i]`` with a run directory or a checkpoint as source; filters are counted from 0.

    Returns
    -------
    Kernel
        Over the input channels of the layer, with the layer's bias. A layer of one input channel gives a
        two-dimensional kernel, which meets every channel of an image by itself.

    Raises
    ------
    InvalidInputError
        A source that is no checkpoint; a layer or filter it does not have.
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"'{text}' is not RUN:layer[i]", hint="for instance runs/digits-1:conv1[3]")
    source, layer, index = match["source"], match["layer"], match["index"]
    arrays = read_checkpoint(source).parameters
    layers = {name.removesuffix("/weight"): array for name, array in arrays.items() if name.endswith("/weight")}
    convolutions = {name: array for name, array in layers.items() if array.ndim == 4}
    if layer not in convolutions:
        what = "has no kernels" if layer in layers else "does not exist"
        hint = did_you_mean(layer, convolutions, f"choose {', '.join(convolutions)}")
        raise InvalidInputError(f"layer {layer} {what}", where=source, hint=hint)
    weights = convolutions[layer].astype(np.float64)
    biases = np.asarray(arrays.get(f"{layer}/bias", np.zeros(len(weights))), dtype=np.float64)
    if index != "*":
        if int(index) >= len(weights):
            message = f"{layer} has {len(weights)} filters, counted from 0; there is no {index}"
            raise InvalidInputError(message, where=source)
        weights, biases = weights[int(index) : int(index) + 1], biases[int(index) : int(index) + 1]
    single = weights.shape[:2] == (1, 1)
    return Kernel(f"{layer}[{index}]", np.ascontiguousarray(weights), bias=biases, per_channel=single)
