"""Update rules: what each keeps, the numbers of its steps, and the defaults that train well without tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cnncli.errors import UsageError

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, section 2
RMS_ALPHA, RMS_EPS = 0.99, 1e-8  # PyTorch's defaults


@dataclass(frozen=True)
class Recipe:
    """How parameters are updated.

    Parameters
    ----------
    name : {"sgd", "momentum", "adam", "adamw", "rmsprop"}
        ``sgd`` has no momentum.
    momentum : float, optional
        Of ``momentum`` and ``rmsprop``; None: the rule's own.
    nesterov : bool
        Nesterov's form of ``momentum``.
    weight_decay : float
        Added to the gradient (an L2 penalty); ``adamw`` takes it off the parameters instead (decoupled).
    decay_all : bool
        Biases and the parameters of normalisations decay, too.
    clip_norm : float, optional
        Largest Euclidean norm of all gradients together.
    """

    name: str
    momentum: float | None = None
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_all: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for an optimizer that does not exist."""
        if self.name not in OPTIMIZERS:
            raise UsageError(f"unknown optimizer {self.name!r}", hint=f"one of {', '.join(OPTIMIZERS)}")


@dataclass(frozen=True)
class Optimizer:
    """One optimizer: its kernel, its vectors by name, and the numbers of a step.

    Parameters
    ----------
    kernel : str
        Its name.
    lr : float
        Learning rate where none is given.
    vectors : tuple of str
        State vectors, as long as the parameters; also the names of the kernel's operands.
    rates : callable
        ``rates(recipe, lr, step)`` returns the numbers the kernel reads.
    momentum : float, optional
        Where none is given; None: it takes none.
    """

    kernel: str
    lr: float
    vectors: tuple[str, ...]
    rates: Callable[[Recipe, float, int], tuple[float, ...]]
    momentum: float | None = None

    @property
    def bytes_per_parameter(self) -> int:
        """Return what its float32 vectors take for each parameter [bytes]."""
        return 4 * len(self.vectors)


def _sgd_rates(recipe: Recipe, lr: float, step: int) -> tuple[float, ...]:
    del step
    return lr, momentum_of(recipe), recipe.weight_decay, float(recipe.nesterov)


def _adam_rates(recipe: Recipe, lr: float, step: int) -> tuple[float, ...]:
    unbias = 1 - BETA1**step, 1 - BETA2**step
    is_decoupled = recipe.name == "adamw"
    l2, decay = (0.0, lr * recipe.weight_decay) if is_decoupled else (recipe.weight_decay, 0.0)
    return lr, BETA1, BETA2, EPS, *unbias, l2, decay


def _rmsprop_rates(recipe: Recipe, lr: float, step: int) -> tuple[float, ...]:
    del step
    return lr, RMS_ALPHA, RMS_EPS, momentum_of(recipe), recipe.weight_decay


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer("optimizer.adam", 0.002, ("m", "v"), _adam_rates),
    "adamw": Optimizer("optimizer.adam", 0.002, ("m", "v"), _adam_rates),
    "momentum": Optimizer("optimizer.sgd", 0.02, ("velocity",), _sgd_rates, momentum=0.9),
    "rmsprop": Optimizer("optimizer.rmsprop", 0.001, ("v", "velocity"), _rmsprop_rates, momentum=0.0),
    "sgd": Optimizer("optimizer.sgd", 0.1, ("velocity",), _sgd_rates),
}


def momentum_of(recipe: Recipe) -> float:
    """Return the momentum of a recipe, 0 where its optimizer takes none."""
    default = OPTIMIZERS[recipe.name].momentum
    return 0.0 if default is None else default if recipe.momentum is None else recipe.momentum
