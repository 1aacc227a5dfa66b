"""Losses with the activation that belongs to them, and the answers of a network as rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cnncli.compute.arguments import Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op
from cnncli.errors import InvalidInputError, UsageError
from cnncli.layers.recording import Bound, Graph, Value
from cnncli.model import Model


@dataclass(frozen=True)
class Loss:
    """One loss: its kernel and that of the answers.

    Parameters
    ----------
    kernel, answer : str
        Names of kernels.
    has_rows : bool
        Its targets are a row of numbers per image, not a class.
    """

    kernel: str
    answer: str
    has_rows: bool = True


LOSSES = {
    "cross_entropy": Loss("losses.softmax_cross_entropy", "losses.softmax_rows", has_rows=False),
    "binary_cross_entropy": Loss("losses.sigmoid_cross_entropy", "losses.sigmoid_rows"),
    "mse": Loss("losses.squared_error", "losses.value_rows"),
}


@dataclass(frozen=True)
class Objective:
    """What training minimises.

    Parameters
    ----------
    loss : str
        A key of `LOSSES`, or ``auto``: binary cross-entropy for a network that ends in a sigmoid or in one
        unit, else cross-entropy.
        Cross-entropy and binary cross-entropy are computed from the values before the softmax or sigmoid, which may
        also be left out of the network; ``mse`` from the output as it is.
    label_smoothing : float
        Of cross-entropy, 0 <= s < 1: a target is 1 - s + s / K for its class and s / K for the others.
    class_weights : tuple of float, optional
        Of cross-entropy, one per class. The mean of a batch is weighted, as PyTorch's: divided by the sum of the
        weights of its labels.
    target_mean, target_std : tuple of float, optional
        Of the mean squared error, one per unit: the network learns (target - mean) / std. Answers and losses are in the
        units of the targets; the gradient is that of the loss of what is learnt.
    """

    loss: str = "auto"
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()


PLAIN = Objective()


@dataclass(frozen=True)
class Targets:
    """What the loss of each image is computed from and written to; LANES numbers per block of images.

    Parameters
    ----------
    labels : ndarray of int64
        Negative for padding.
    rows : ndarray
        Targets of losses that have rows, (LANES, K) per block.
    losses : ndarray of float64
    hits : ndarray of int64
    share : ndarray (1,)
        Factor of the gradient: 1 / images of the batch, or 1 / the sum of their weights.
    """

    labels: Operand
    rows: Operand
    losses: Operand
    hits: Operand
    share: Operand


def loss_name(model: Model, objective: Objective) -> str:
    """Return the name of the loss that an objective means for a network.

    Raises
    ------
    InvalidInputError
        The network does not end in a vector, or in the activation of another loss.
    UsageError
        Label smoothing or class weights without cross-entropy, or not one weight per class.
    """
    last = model.nodes[-1] if model.nodes else None
    ending = last.layer.loss if last else ""
    bare = "binary_cross_entropy" if model.output_shape == (1,) else "cross_entropy"
    name = (ending or bare) if objective.loss == "auto" else objective.loss
    if name not in LOSSES:
        raise UsageError(f"unknown loss {name!r}", hint=f"one of {', '.join(LOSSES)}")
    shape, where = model.output_shape, last.where if last else ""
    fewest = 2 if name == "cross_entropy" else 1
    if last is None or len(shape) != 1 or shape[0] < fewest:
        what = "2 or more classes" if fewest == 2 else "numbers"
        message = f"{model.name} does not end in a vector of {what}"
        raise InvalidInputError(message, where=where, hint="end it with flatten, dense: classes, softmax")
    if ending and ending != name and name != "mse":
        message = f"{model.name} ends in {last.layer.kind}, which belongs to the loss {ending}, not {name}"
        raise InvalidInputError(message, where=where, hint=f"use the loss {ending}, or another last layer")
    if name != "cross_entropy" and (objective.label_smoothing or objective.class_weights):
        raise UsageError(f"the loss {name} has no label smoothing and no class weights", hint="leave them away")
    if objective.class_weights and len(objective.class_weights) != shape[0]:
        raise UsageError(f"{len(objective.class_weights)} class weights for {shape[0]} classes", hint="one per class")
    return name


def record_loss(
    name: str, objective: Objective, targets: Targets, unused: Operand | None = None
) -> Callable[[Graph, Value, Value], None]:
    """Return what records the loss of the logits and their gradient; the gradient goes to `unused` if that is given."""
    loss = LOSSES[name]
    operands = {"labels": targets.labels, "losses": targets.losses, "hits": targets.hits, "share": targets.share}

    def recorder(graph: Graph, logits: Value, dlogits: Value) -> None:
        def emit(b: Bound) -> list[Op]:
            classes = b.reads[0].shape[0]
            dz = b.writes[0].operand if b.writes else unused
            own: dict[str, Operand | float] = {"targets": targets.rows}
            if not loss.has_rows:
                weights = np.asarray(objective.class_weights or np.ones(classes), np.float64)
                own = {"weights": Operand(weights), "smoothing": objective.label_smoothing}
            elif name == "mse":
                own["scale"] = Operand(np.asarray(objective.target_std or np.ones(classes), np.float64))
            return [Op(loss.kernel, {"z": b.reads[0].operand, "dz": dz, **operands, **own, "classes": classes})]

        graph.step("", [logits], [dlogits] if unused is None else [], emit)

    return recorder


def record_answers(name: str, answers: Operand, logits: Operand) -> Callable[[Graph, Value, Value], None]:
    """Return what records the answers and the values before the loss's activation: one row of numbers per image."""
    loss = LOSSES[name]

    def recorder(graph: Graph, source: Value, _: Value) -> None:
        classes = source.shape[0]

        def emitter(lanes: int) -> Callable[[Bound], list[Op]]:
            return lambda b: [
                Op(kernel, {"z": b.reads[0].operand, "rows": rows, "classes": classes, "lanes": lanes})
                for kernel, rows in ((loss.answer, answers), ("losses.value_rows", logits))
            ]

        # the channels of one image follow each other as those of a single lane would
        graph.step("answers", [source], [], emitter(LANES), few=lambda step: (replace(step, emit=emitter(1)),))

    return recorder
