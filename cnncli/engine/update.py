"""The optimizer's vectors, its step counter, and the op that uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnncli.errors import UsageError
from cnncli.kernels.program import Chain, Op, Place

if TYPE_CHECKING:
    from cnncli.engine.memory import Memory
    from cnncli.engine.plan import Weights

_NUMBERS = 4096  # parameters that one task updates
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, section 2
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")


class Update:
    """One optimizer at work on a flat vector of parameters.

    Parameters
    ----------
    weights : Weights
    memory : Memory
    name : {"sgd", "momentum", "adam", "adamw"}
        ``sgd`` has no momentum. Weight decay is added to the gradient by sgd and momentum (an L2 penalty), and taken
        off the parameters by adamw and adam (decoupled).
    momentum, weight_decay : float
    """

    def __init__(self, weights: Weights, memory: Memory, name: str, momentum: float, weight_decay: float) -> None:
        if name not in OPTIMIZERS:
            raise UsageError(f"unknown optimizer {name!r}", hint=f"one of {', '.join(OPTIMIZERS)}")
        self._is_adam = name in ("adam", "adamw")
        self._momentum = momentum if name == "momentum" else 0.0
        self._decay = weight_decay
        self._step = 0
        self._rates = np.zeros(8)
        tasks = max(1, -(-weights.padded // _NUMBERS))
        self._checks = memory.zeros(tasks)
        names = ("m", "v") if self._is_adam else ("velocity",)
        self._vectors = {vector: memory.zeros(weights.padded) for vector in names}
        self._count = weights.model.parameter_count
        vectors = [Place(array) for array in (weights.values, weights.gradients, *self._vectors.values())]
        each = Place(self._checks), weights.padded, _NUMBERS
        self.chain = Chain(
            (Op("optimizer.adam" if self._is_adam else "optimizer.sgd", (*vectors, Place(self._rates), *each)),), tasks
        )

    def begin(self, lr: float) -> None:
        """Set the numbers of the next step."""
        self._step += 1
        if self._is_adam:
            unbias = 1 - BETA1**self._step, 1 - BETA2**self._step
            self._rates[:7] = (lr, BETA1, BETA2, EPS, *unbias, lr * self._decay)
        else:
            self._rates[:3] = lr, self._momentum, self._decay

    def take_back(self) -> None:
        """Forget a step that was begun but did not update anything."""
        self._step -= 1

    def is_finite(self) -> bool:
        """Return whether every gradient of the last step was finite."""
        return bool(np.isfinite(self._checks).all())

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of the vectors and the number of steps taken."""
        vectors = {name: vector[: self._count].copy() for name, vector in self._vectors.items()}
        return {**vectors, "step": np.array([self._step], np.int64)}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, vector in self._vectors.items():
            vector[: self._count] = state[name]
        self._step = int(state["step"][0])
