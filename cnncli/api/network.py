"""`cnncli.model` and `cnncli.load`: a network by name or file, and one with the weights of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnncli import threads as thread_count
from cnncli.errors import UsageError
from cnncli.io.checkpoint import BEST, Checkpoint, read_checkpoint
from cnncli.io.images.image import Image
from cnncli.io.images.npy import array_image
from cnncli.io.images.read import read_image
from cnncli.model.network import Model
from cnncli.reporting import params_answers as answers
from cnncli.shapes import Shape, user_shape
from cnncli.tasks.predict.predict import (
    FailedPicture,
    Prediction,
    checkpoint_model,
    load_weights,
    make_engine_session,
    predict,
)

if TYPE_CHECKING:
    from cnncli.engine.session import Session

#: the path of a picture, or its pixels
Picture: TypeAlias = "str | os.PathLike[str] | NDArray[Any]"
_BATCH = 64

__all__ = ["Network", "Prediction", "TrainedNetwork", "load", "model"]


class Network:
    """A network whose shapes and counts are known.

    Attributes
    ----------
    name : str
    input_shape, output_shape : tuple of int
        (H, W, C) or (features,).
    parameters : int
        Trainable ones.
    macs : int
        Multiply-accumulates for one image; biases are not counted.
    text : str
        The architecture file, complete.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.name = model.name
        self.input_shape = tuple(user_shape(model.input_shape))
        self.output_shape = tuple(user_shape(model.output_shape))
        self.parameters = model.parameter_count
        self.macs = model.macs
        self.text = model.text

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.parameters:,} parameters>"

    def summary(self, *, formula: bool = False, columns: str | None = None, depth: int | None = None) -> str:
        """Return the table of layers, shapes and counts that ``cnn params`` prints.

        Parameters
        ----------
        formula : bool
            Each count with its numbers: ``5*5*3*8 + 8``.
        columns : str, optional
            As ``--columns``: ``"layer,shape,macs"`` or ``"all"``.
        depth : int, optional
            Open blocks down to this depth, 2 by default.
        """
        wanted = answers.ParamsOptions(self.name, formula=formula, columns=columns, depth=depth)
        notes = "".join(f"note: {note}\n" for note in answers.notes(self._model))
        return answers.render(answers.params_view(self._model, wanted), "plain") + notes

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``cnn params --json`` writes: every layer with shapes, counts and formula."""
        return answers.as_json(self._model, answers.ParamsOptions(self.name))


class TrainedNetwork(Network):
    """A network with the weights of a checkpoint.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, in the order of the outputs.
    checkpoint : Checkpoint
        Weights by name (``checkpoint.parameters["conv1/weight"]``), preprocessing, and what it was trained on.
    """

    def __init__(self, checkpoint: Checkpoint, model: Model) -> None:
        super().__init__(model)
        self.checkpoint = checkpoint
        self.classes = checkpoint.classes

    def predict(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        invert: str = "auto",
        exif: bool = True,
        threads: int | None = None,
    ) -> list[Prediction]:
        """Return the answer for every picture, in order: what ``cnn predict`` says of the same files.

        Parameters
        ----------
        pictures : path, ndarray, or several
            A path of a picture; an array (H, W) or (H, W, C) as in a ``.npy`` file; a list of these; or an array
            (N, H, W, C) of N pictures.
        invert : str
            As ``--invert``: ``auto``, ``yes`` or ``no``.
        exif : bool
            Turn pictures of files upright; False is ``--no-exif``.
        threads : int, optional
            All processors by default. The answer has the same bits for any number, and alone or among others.

        Returns
        -------
        list of Prediction
            With `label`, `index`, `probs` (K,), `classes`, `top(count)` and `notes`: what was done to the picture.

        Raises
        ------
        CnnError
            A picture that cannot be read; the first one.
        """
        if invert not in ("auto", "yes", "no"):
            raise UsageError(f"'{invert}' is not auto, yes or no", where="--invert")
        given = _several(pictures)
        names = [f"picture {i}" if isinstance(p, np.ndarray) else os.fspath(p) for i, p in enumerate(given)]
        arrays = {name: picture for name, picture in zip(names, given, strict=True) if isinstance(picture, np.ndarray)}

        def read(name: str) -> Image:
            return array_image(arrays[name], name) if name in arrays else read_image(name, exif=exif)

        def start() -> Session:
            batch = min(len(names), _BATCH)
            session = make_engine_session(
                self._model, self.checkpoint, batch_size=batch, threads=thread_count.resolve(threads)
            )
            load_weights(session, self.checkpoint)
            return session

        found = []
        for answer in predict(self.checkpoint, start, names, read, invert=invert):
            if isinstance(answer, FailedPicture):
                raise answer.error.located(answer.path)
            found.append(answer)
        return found


def model(
    arch: str | os.PathLike[str], *layers: str, input_shape: Shape | None = None, classes: int | None = None
) -> Network:
    """Return a network by the name of a preset, an architecture file, a run, or an input shape with layers behind it.

    Parameters
    ----------
    arch : str or path
        As the argument of ``cnn params``: ``"lenet5"``, ``"my.yaml"``, ``"runs/m"``, ``"28x28x1"``.
    *layers : str
        Behind an input shape: ``cnncli.model("28x28x1", "conv:5,out=8", "relu")``.
    input_shape : (H, W, C), optional
        In place of the file's.
    classes : int, optional
        In place of the file's.

    Raises
    ------
    CnnError
        As the command: no such preset or file, or what is wrong in it, with line and column.

    Examples
    --------
    >>> import cnncli
    >>> print(cnncli.model("6x6x3", "conv:3,out=2", "relu").summary())
    Layer                    Activation shape  Activation size  # parameters
    Input                           (6, 6, 3)              108             -
    conv1 (f=3, s=1, n_c=2)         (4, 4, 2)               32            56
    relu1                           (4, 4, 2)               32             -
    total 56 (trainable 56) · 224 B fp32 · 864 MACs/image (bias not counted) · receptive field 3
    <BLANKLINE>
    """
    channels_first = None if input_shape is None else (input_shape[-1], *input_shape[:-1])
    return Network(answers.read_model(os.fspath(arch), layers, channels_first, classes))


def load(run: str | os.PathLike[str]) -> TrainedNetwork:
    """Return the network of a run directory, with its best weights, or of a ``.safetensors`` file of ``cnn train``.

    Raises
    ------
    InvalidInputError
        Missing, damaged, or of another program.
    """
    name = os.fspath(run)
    checkpoint = read_checkpoint(name)
    where = name if name.endswith(".safetensors") else f"{name}/{BEST}"
    return TrainedNetwork(checkpoint, checkpoint_model(checkpoint, where))


def _several(pictures: Picture | Iterable[Picture]) -> list[Picture]:
    """Return one picture or several as a list."""
    if isinstance(pictures, str | os.PathLike):
        return [pictures]
    if isinstance(pictures, np.ndarray):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    return list(pictures)
