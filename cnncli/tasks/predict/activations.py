"""What the layers of a network make of pictures, and what the files that show it are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CnnError, InterruptedRunError, UsageError, did_you_mean
from cnncli.io.checkpoint import Checkpoint
from cnncli.io.images.image import Image
from cnncli.model import Model
from cnncli.tasks.predict.fit_picture import fit_picture


@dataclass(frozen=True)
class Activation:
    """What a layer made of a picture: (C, H, W), or (n,)."""

    picture: int
    layer: str
    maps: NDArray[np.float32]


def chosen_layers(model: Model, text: str | None) -> tuple[str, ...]:
    """Return the names of layers that ``conv1,conv2`` says, in the order of the network; None: all.

    Raises
    ------
    UsageError
        A layer that there is not, with the nearest name.
    """
    known = tuple(node.name for node in model.nodes)
    if text is None:
        return known
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}")
            raise UsageError(f"--layers: {model.name} has no layer {name!r}", hint=hint)
    return tuple(name for name in known if name in wanted)


def activation_names(paths: Sequence[str], layers: Sequence[str]) -> list[list[str]]:
    """Return the name of a file for each picture and layer: no name stands twice.

    Pictures are told by their names without extension; where that is not enough by the folders in which they differ,
    by their extensions, and in the end by their place among the others.

    Examples
    --------
    >>> activation_names(["a/1.png", "a/2.png"], ["conv1"])
    [['1-conv1.png'], ['2-conv1.png']]
    >>> activation_names(["a/1.png", "b/1.png"], ["conv1"])
    [['a-1-conv1.png'], ['b-1-conv1.png']]
    >>> activation_names(["1.png", "1.jpg"], ["conv1"])
    [['1.png-conv1.png'], ['1.jpg-conv1.png']]
    """
    absolute = [PurePath(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links are not followed
    common = os.path.commonpath([path.parent for path in absolute])
    below = ["-".join(path.relative_to(common).parts) for path in absolute]
    forms = (
        [path.stem for path in absolute],
        [name.removesuffix(path.suffix) for name, path in zip(below, absolute, strict=True)],
        below,
        [f"{number}-{name}" for number, name in enumerate(below, start=1)],
    )
    for form in forms:
        names = [[f"{name}-{layer.replace('/', '-')}.png" for layer in layers] for name in form]
        if len({name for row in names for name in row}) == len(paths) * len(layers):
            return names
    raise RuntimeError("names that begin with different numbers differ")


def activations(
    checkpoint: Checkpoint,
    model: Model,
    paths: Sequence[str],
    read: Callable[[str], Image],
    *,
    layers: Sequence[str],
    invert: str,
    batch_size: int,
    threads: int,
) -> Iterator[Activation]:
    """Yield what every layer makes of every picture; those that cannot be read are left out.

    Parameters
    ----------
    checkpoint, model
        Of the run.
    paths, read, invert
        As `predict` takes them.
    layers : sequence of str
        Names.
    batch_size : int
        How many pictures go through the network at a time; no bit depends on it.
    threads : int
    """
    from cnncli.engine.feature_maps import FeatureMaps

    prepared, size = checkpoint.preprocessing, min(batch_size, len(paths))
    network = FeatureMaps(
        model, checkpoint.parameters, mean=prepared.mean, std=prepared.std, layers=layers, batch_size=size,
        threads=threads,
    )  # fmt: skip
    for first in range(0, len(paths), size):
        numbers, pixels = [], []
        for number, path in enumerate(paths[first : first + size], start=first):
            try:
                pixels.append(fit_picture(read(path), prepared, invert, path).pixels)
            except InterruptedRunError:
                raise
            except CnnError:  # it has its row already
                continue
            numbers.append(number)
        if not pixels:
            continue
        maps = network.of(np.stack(pixels))
        for place, number in enumerate(numbers):
            for layer, found in maps.items():
                yield Activation(number, layer, found[place])
