"""Everything a session allocates: parameters, buffers, and the plans that are bound to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cnncli.compute.arguments import Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op
from cnncli.engine.few.channel_lanes import NotForFewError
from cnncli.engine.losses import LOSSES, PLAIN, Objective, Targets, loss_name, record_answers, record_loss
from cnncli.engine.memory import Memory
from cnncli.engine.plan import BoundPlan, Plan, Signals
from cnncli.engine.record import Record, record
from cnncli.engine.update import Update
from cnncli.engine.weights import Weights
from cnncli.layers.recording import Bound, Graph, Step, Value, lanewise
from cnncli.model import Model
from cnncli.optim.optimizers import Recipe


class Layout:
    """The arrays of a network for a batch size, and its plans for training, testing and answering.

    Parameters
    ----------
    model : Model
    batch_size, threads : int
    recipe : Recipe, optional
        None: no training.
    objective : Objective
        What training minimises; tests measure its loss without smoothing and weights.
    dtype : {"float32", "float64"}
    is_counted_only : bool
        Allocate no large array: only `size_bytes` is wanted.
    is_stepwise : bool
        Every step can be run by itself, for all images.

    Raises
    ------
    InvalidInputError
        If a layer has no arithmetic, or the network does not end in a vector.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int,
        threads: int,
        recipe: Recipe | None,
        dtype: str,
        *,
        objective: Objective = PLAIN,
        is_counted_only: bool = False,
        is_stepwise: bool = False,
    ) -> None:
        self.model, self.threads, self.dtype, self._is_stepwise = model, threads, dtype, is_stepwise
        self.blocks = blocks = -(-batch_size // LANES)
        self.loss = loss_name(model, objective)
        self.memory = Memory(dtype, is_counted_only=is_counted_only)
        self.weights = Weights(model, self.memory, with_gradients=recipe is not None)
        self.source = np.zeros(1, np.int64)  # address of the images
        self.picks = np.zeros(blocks * LANES, np.int64)
        self.labels = np.full(blocks * LANES, -1, np.int64)
        self.losses = np.zeros(blocks * LANES, np.float64)
        self.hits = np.zeros(blocks * LANES, np.int64)
        self.share = np.zeros(1, dtype)
        self.signals = Signals(np.zeros(1, np.int64), np.zeros(1, np.uint64))
        self._scale, self._shift = np.zeros(model.input_shape[0], dtype), np.zeros(model.input_shape[0], dtype)
        self._scratch = self.memory.zeros(threads * LANES * LANES)
        classes = model.output_shape[0]
        self.probs = self.memory.zeros(blocks * LANES * classes)
        unused = Operand(self.memory.zeros(threads * LANES * classes), worker_step=LANES * classes)
        self.rows = self.memory.zeros(blocks * LANES * classes if LOSSES[self.loss].has_rows else 0)
        self.logits = self.memory.zeros(blocks * LANES * classes)
        self._answers = answers = record_answers(
            self.loss, *(Operand(rows, task_step=LANES * classes) for rows in (self.probs, self.logits))
        )
        self.answer = self._bound(is_training=False, loss=answers)
        plain = record_loss(self.loss, replace(PLAIN, target_std=objective.target_std), self._targets(), unused)

        def both(graph: Graph, logits: Value, unread: Value) -> None:
            plain(graph, logits, unread)
            answers(graph, logits, unread)

        self.test = self._bound(is_training=False, loss=both)
        self.training: BoundPlan | None = None
        self.update: Update | None = None
        if recipe is not None:
            self.update = Update(self.weights, self.memory, recipe)
            self.training = self._bound(is_training=True, loss=record_loss(self.loss, objective, self._targets()))

    @property
    def size_bytes(self) -> int:
        """Return the bytes of parameters, gradients, optimizer state and feature maps."""
        return self.memory.size_bytes

    def normalise(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let a pixel p in 0..255 enter as (p / 255 - mean) / std; one number per channel, or one for all."""
        deviations = np.broadcast_to(np.asarray(std, np.float64), self._scale.shape)
        self._scale[:] = 1 / (255 * deviations)
        self._shift[:] = -np.broadcast_to(np.asarray(mean, np.float64), self._shift.shape) / deviations

    def _bound(self, *, is_training: bool, loss: Callable[[Graph, Value, Value], None]) -> BoundPlan:
        """Return the network between the images and what `loss` records, in memory."""
        return self.bind(self._recorded(self.blocks, is_training=is_training, loss=loss))

    def _recorded(self, blocks: int, *, is_training: bool, loss: Callable[[Graph, Value, Value], None]) -> Record:
        fused = bool(self.model.nodes) and self.model.nodes[-1].layer.loss == self.loss
        return record(self.model, blocks=blocks, is_training=is_training, loss=loss, fused_activation=fused)

    def bind_few(self) -> BoundPlan | None:
        """Return the prediction of the one image at picks[0], its answer in the first row; more memory is taken.

        None where a layer can be done for LANES images only.
        """
        channels, height, width = self.model.input_shape
        if channels * height * width < LANES:  # so few numbers are scaled with another rounding
            return None
        recorded = self._recorded(1, is_training=False, loss=self._answers)
        places = {"source": self.source, "scale": self._scale, "shift": self._shift, "picks": self.picks}
        operands: dict[str, Operand | int] = {name: Operand(array) for name, array in places.items()}
        operands |= {"scratch": Operand(self._scratch, worker_step=LANES * LANES), "channels": channels}

        def emit(b: Bound) -> list[Op]:
            return [Op("few.maps.gather_image", {"x": b.writes[0], **operands})]

        recorded.graph.steps.insert(0, Step("images", (), (recorded.input,), emit, few=lanewise))
        try:
            plan = Plan(recorded, self.threads, self.dtype, is_few=True)
        except NotForFewError:
            return None
        return plan.bind(self.memory, self.weights, self.signals)

    def bind(self, recorded: Record) -> BoundPlan:
        """Return what was recorded of this network, in the memory of this layout, with the images in front."""
        places = {"source": self.source, "scale": self._scale, "shift": self._shift}
        operands = {name: Operand(array) for name, array in places.items()}
        operands["picks"] = Operand(self.picks, task_step=LANES)
        operands["scratch"] = Operand(self._scratch, worker_step=LANES * LANES)

        def emit(b: Bound) -> list[Op]:
            return [Op("gather.gather_images", {"x": b.writes[0], **operands})]

        recorded.graph.steps.insert(0, Step("images", (), (recorded.input,), emit))
        plan = Plan(recorded, self.threads, self.dtype, is_stepwise=self._is_stepwise)
        return plan.bind(self.memory, self.weights, self.signals)

    def _targets(self) -> Targets:
        labels, losses, hits = (Operand(array, task_step=LANES) for array in (self.labels, self.losses, self.hits))
        rows = Operand(self.rows, task_step=LANES * self.model.output_shape[0])
        return Targets(labels, rows, losses, hits, Operand(self.share))


def session_bytes(
    model: Model,
    *,
    batch_size: int,
    threads: int,
    recipe: Recipe | None = None,
    objective: Objective = PLAIN,
    is_stepwise: bool = False,
) -> int:
    """Return the bytes that a session of these arguments allocates when it is made, exactly, without doing so."""
    layout = Layout(
        model,
        batch_size,
        threads,
        recipe,
        "float32",
        objective=objective,
        is_counted_only=True,
        is_stepwise=is_stepwise,
    )
    return layout.size_bytes
