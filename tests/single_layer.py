"""The passes of one convolution on the real engine, on maps and weights that the caller chooses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from graph_models import model_of

from cnncli.compute.host import LANES
from cnncli.compute.program import OpSequence, Program
from cnncli.engine.memory import Memory
from cnncli.engine.plan import Plan, Signals
from cnncli.engine.record import Record, _groups
from cnncli.engine.weights import Weights
from cnncli.layers.base import Layer
from cnncli.layers.recording import Graph, Scope, Step, Value
from cnncli.shapes import Shape


@dataclass
class Passes:
    """Programs that fill y, dx and the gradient of the weights from x, dy and the weights; arrays are (N, C, H, W).

    Attributes
    ----------
    forward, input_gradient, weight_gradient : Program
        The second one writes nothing where no gradient with respect to x is wanted.
    """

    forward: Program
    input_gradient: Program
    weight_gradient: Program
    _views: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]

    def put(self, name: str, maps: np.ndarray) -> None:
        """Set x or dy."""
        count, *shape = maps.shape
        self._views[name][...] = maps.reshape(count // LANES, LANES, *shape).transpose(0, 2, 3, 4, 1)

    def get(self, name: str) -> np.ndarray:
        """Return y or dx."""
        maps = self._views[name].transpose(0, 4, 1, 2, 3)
        return maps.reshape(-1, *maps.shape[2:]).copy()


def passes(layer: Layer, shape: Shape, count: int, *, threads: int = 2, dtype: str = "float32") -> Passes:
    """Return the passes of a convolution on `count` images, a multiple of LANES."""
    model = model_of(shape, [(layer, (-1,))])
    blocks = count // LANES
    graph = Graph(True, blocks, _groups(model, blocks))
    graph.node, graph.label = 0, "conv"
    x = Value(shape, "x", is_pinned=True)
    y = layer.forward(graph, (x,))
    graph.wanted = frozenset([x, y])
    dy = Value(y.shape, "dy", is_pinned=True)
    (dx,) = layer.backward(graph, (x,), y, dy)
    y.is_pinned = dx.is_pinned = True
    graph.finish()
    # a step of the batch that touches a value makes every block of it be kept
    graph.steps.append(Step("look", (x, dy, y, dx), (), lambda _: [], scope=Scope.BATCH))
    plan = Plan(Record(graph, x, y, model.macs), threads, dtype)
    memory = Memory(dtype)
    weights = Weights(model, memory, with_gradients=True)
    bound = plan.bind(memory, weights, Signals(np.full(1, count), np.zeros(1, np.uint64)))
    views = {name: _view(bound.view(value), blocks) for name, value in {"x": x, "y": y, "dy": dy, "dx": dx}.items()}
    programs = []
    for words in (("forward", "weights"), ("dx", "turned"), ("dweight", "sum")):
        steps = [step for phase in plan.phases for step in (*phase.batch_steps, *phase.block_steps)
                 if step.name.split()[-1] in words]  # fmt: skip
        programs.append(Program([[sequence] for step in steps for sequence in _sequences(bound, step)], threads, dtype))
    slots = {slot.name.split("/")[1]: slot for slot in model.slots}
    named = {
        name: weights.gradients[slot.offset : slot.offset + slot.size].reshape(slot.shape)
        for name, slot in slots.items()
    }
    values = {name.split("/")[1]: array for name, array in weights.named().items()}
    return Passes(*programs, views, values, named)


def _sequences(bound, step):
    plan, ops = bound.plan, tuple(bound._ops(step))
    if step.scope is Scope.BATCH:
        return [OpSequence(ops, step.tasks)] if ops else []
    if not plan.is_shared:
        return [OpSequence(ops, plan.blocks, plan.together)]
    shared = [op.shared_out(plan.parts, str(plan.dtype)) for op in ops]
    return [OpSequence((op,), plan.blocks * op.parts) for op in shared]


def _view(view, blocks: int) -> np.ndarray:
    operand, item = view.operand, view.operand.array.itemsize
    steps = operand.task_step, view.channel_step, view.row_step, view.lanes, 1
    return np.lib.stride_tricks.as_strided(
        operand.array[operand.offset :], (blocks, *view.shape, LANES), [step * item for step in steps]
    )
