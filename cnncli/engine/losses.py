"""Losses with the activation that belongs to them, and the answers of a network as rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnncli.kernels.arguments import Operand
from cnncli.kernels.program import Op
from cnncli.layers.recording import Bound, Graph, Value


@dataclass(frozen=True)
class Loss:
    """One loss: its kernel and that of the answers; what it needs of the last layer.

    Parameters
    ----------
    name : str
    kernel, answer : str
        Names of kernels.
    """

    name: str
    kernel: str
    answer: str


LOSSES = {"cross_entropy": Loss("cross_entropy", "softmax.softmax_cross_entropy", "softmax.softmax_rows")}


@dataclass(frozen=True)
class Targets:
    """What the loss of each image is computed from and written to; LANES numbers per block of images.

    Parameters
    ----------
    labels : ndarray of int64
    losses : ndarray of float64
    hits : ndarray of int64
    share : ndarray (1,)
        Factor of the gradient: 1 / images of the batch.
    """

    labels: Operand
    losses: Operand
    hits: Operand
    share: Operand


def record_loss(loss: Loss, targets: Targets, unused: Operand | None = None) -> Callable[[Graph, Value, Value], None]:
    """Return what records the loss of the logits and their gradient; the gradient goes to `unused` if that is given."""

    def recorder(graph: Graph, logits: Value, dlogits: Value) -> None:
        def emit(b: Bound) -> list[Op]:
            given = {"labels": targets.labels, "losses": targets.losses, "hits": targets.hits, "share": targets.share}
            dz = b.writes[0].operand if b.writes else unused
            sizes = {"classes": b.reads[0].shape[0]}
            return [Op(loss.kernel, {"z": b.reads[0].operand, "dz": dz, **given, **sizes})]

        graph.step("", [logits], [dlogits] if unused is None else [], emit)

    return recorder


def record_answers(loss: Loss, rows: Operand) -> Callable[[Graph, Value, Value], None]:
    """Return what records the answers: one row of numbers per image."""

    def recorder(graph: Graph, logits: Value, _: Value) -> None:
        def emit(b: Bound) -> list[Op]:
            return [Op(loss.answer, {"z": b.reads[0].operand, "rows": rows, "classes": b.reads[0].shape[0]})]

        graph.step("answers", [logits], [], emit)

    return recorder
