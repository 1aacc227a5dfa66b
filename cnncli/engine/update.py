"""The optimizer's vectors, its step counter, and the ops that use them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnncli.compute.arguments import Learner, Operand
from cnncli.compute.host import LANES
from cnncli.compute.program import Op, OpSequence
from cnncli.engine.memory import Memory
from cnncli.engine.weights import Weights
from cnncli.optim.optimizers import OPTIMIZERS, Recipe

_NUMBERS = 4096  # parameters that one task updates


def recipe_of(optimizer: str | Recipe | None, momentum: float | None, weight_decay: float) -> Recipe | None:
    """Return the recipe of an optimizer given by its name, or the recipe itself."""
    return Recipe(optimizer, momentum, weight_decay=weight_decay) if isinstance(optimizer, str) else optimizer


class Update:
    """One optimizer at work on a flat vector of parameters.

    Attributes
    ----------
    before : list of OpSequence
        Phases to be run one after the other before `sequence`.
    sequence : OpSequence
        The update itself.
    """

    def __init__(self, weights: Weights, memory: Memory, recipe: Recipe) -> None:
        self._recipe, self._rule = recipe, OPTIMIZERS[recipe.name]
        self._step = 0
        self._rates = np.zeros(8)
        tasks = max(1, -(-weights.padded // _NUMBERS))
        self._checks = memory.zeros(tasks)
        self._vectors = {name: memory.zeros(weights.padded) for name in self._rule.vectors}
        self._count = weights.model.parameter_count
        scale = np.ones(1)
        sizes = {"count": weights.padded, "per_task": _NUMBERS}
        self.before: list[OpSequence] = []
        if recipe.clip_norm is not None:
            sums = memory.zeros(tasks, "float64")
            gradients = {"gradients": Operand(weights.gradients), "sums": Operand(sums)}
            clip = {"sums": Operand(sums), "scale": Operand(scale), "count": tasks, "largest": recipe.clip_norm}
            self.before = [
                OpSequence((Op("optimizer.square_sums", gradients | sizes),), tasks),
                OpSequence((Op("optimizer.clip_scale", clip),), 1),
            ]
        mask, mask_step = self._mask(weights, memory)
        arrays = (weights.values, weights.gradients, mask, self._rates, scale, self._checks)
        p, g, decays, rates, scales, checks = map(Operand, arrays)
        learner = Learner(p, g, decays, rates, scales, checks, mask_step, weights.padded, _NUMBERS)
        vectors = {name: Operand(array) for name, array in self._vectors.items()}
        self.sequence = OpSequence((Op(self._rule.kernel, {"learner": learner, **vectors}),), tasks)

    def _mask(self, weights: Weights, memory: Memory) -> tuple[np.ndarray, int]:
        """Return 1 where weight decay applies, and how far apart the vectors of the mask are."""
        if self._recipe.weight_decay == 0 or self._recipe.decay_all:
            mask = memory.zeros(LANES)
            mask[:] = 1
            return mask, 0
        mask = memory.zeros(weights.padded)
        for slot in weights.model.slots:
            # biases, slopes and most parameters of normalisations are vectors; those of layernorm are maps
            if len(slot.shape) > 1 and slot.param.decays:
                mask[slot.offset : slot.offset + slot.size] = 1
        return mask, 1

    def begin(self, lr: float) -> None:
        """Set the numbers of the next step."""
        self._step += 1
        rates = self._rule.rates(self._recipe, lr, self._step)
        self._rates[: len(rates)] = rates

    def undo(self) -> None:
        """Forget a step that was begun but did not update anything."""
        self._step -= 1

    def is_finite(self) -> bool:
        """Return whether every gradient of the last step was finite."""
        return bool(np.isfinite(self._checks).all())

    def state(self) -> dict[str, np.ndarray]:
        """Return the vectors, as they are until the next step, and the number of steps taken."""
        vectors = {name: vector[: self._count] for name, vector in self._vectors.items()}
        return {**vectors, "step": np.array([self._step], np.int64)}

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, vector in self._vectors.items():
            vector[: self._count] = state[name]
        self._step = int(state["step"][0])
