"""The parameters of a network as flat vectors: values, gradients, running statistics, and where each array lies."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from math import prod

import numpy as np

from cnncli.compute.arguments import Operand
from cnncli.compute.host import LANES
from cnncli.engine.memory import Memory
from cnncli.layers.initialisers import spread
from cnncli.model import Model, Slot

_MANY = 1 << 20  # numbers: from here on it pays to start threads that draw them


class Weights:
    """What training changes and what it keeps besides.

    Parameters
    ----------
    model : Model
    memory : Memory
    with_gradients : bool
    """

    def __init__(self, model: Model, memory: Memory, *, with_gradients: bool) -> None:
        self.model = model
        self.padded = -(-max(1, model.parameter_count) // LANES) * LANES
        self.values = memory.zeros(self.padded)
        self.gradients = memory.zeros(self.padded if with_gradients else 0)
        self.statistics = memory.zeros(max(1, model.non_trainable_count))
        self._slots = {slot.name: slot for slot in (*model.slots, *model.state_slots)}
        self._nodes = dict(enumerate(model.nodes))

    def of(self, node: int) -> dict[str, Operand]:
        """Return where the parameters of a node lie, running statistics included."""
        return {name: Operand(*self._place(node, name)) for name in self._names(node)}

    def gradients_of(self, node: int) -> dict[str, Operand]:
        """Return where the gradients of a node's parameters go."""
        if not len(self.gradients):
            return {}
        params = self._nodes[node].params if node in self._nodes else {}
        slots = {name: self._slots[f"{self._nodes[node].name}/{name}"] for name in params if params[name].trainable}
        return {name: Operand(self.gradients, slot.offset) for name, slot in slots.items()}

    def named(self) -> dict[str, np.ndarray]:
        """Return views of all arrays by name, as in ``conv1/weight``, in the order of the nodes."""
        found = {}
        for node in self.model.nodes:
            for name in node.params:
                slot = self._slots[f"{node.name}/{name}"]
                array = self.values if slot.param.trainable else self.statistics
                found[slot.name] = array[slot.offset : slot.offset + slot.size].reshape(slot.shape)
        return found

    def _names(self, node: int) -> tuple[str, ...]:
        return tuple(self._nodes[node].params) if node in self._nodes else ()

    def _place(self, node: int, name: str) -> tuple[np.ndarray, int]:
        slot = self._slots[f"{self._nodes[node].name}/{name}"]
        return (self.values if slot.param.trainable else self.statistics), slot.offset


def initial_values(slots: tuple[Slot, ...], seed: int, threads: int = 1) -> np.ndarray:
    """Return the first values of arrays, float64: each array from the seed and its own number."""
    return begin_drawing(slots, seed, threads)()


def begin_drawing(slots: tuple[Slot, ...], seed: int, threads: int) -> Callable[[], np.ndarray]:
    """Begin to draw what `initial_values` returns, in other threads where it is much; return what waits for it."""
    if threads < 2 or sum(prod(slot.shape) for slot in slots) <= _MANY:
        return lambda: _joined([_draw(slot, seed, number) for number, slot in enumerate(slots)])
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads)  # drawing leaves Python's lock free
    draws = pool.map(_draw, slots, repeat(seed), range(len(slots)))
    pool.shutdown(wait=False)  # its threads end with the last array
    return lambda: _joined(list(draws))


def _joined(draws: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(draws) if draws else np.zeros(0)


def _draw(slot: Slot, seed: int, number: int) -> np.ndarray:
    generator = np.random.default_rng([seed, number])
    kind, size = spread(slot.param)
    count = prod(slot.shape)
    if kind == "normal":
        return generator.normal(0.0, size, count)
    if kind == "uniform":
        return generator.uniform(-size, size, count)
    return np.full(count, size)
