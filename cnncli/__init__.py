"""Image filters and small convolutional networks, from the command line and from Python.

>>> import cnncli
>>> cnncli.filter([[1.0, 2, 4]], "-1 0 1")              # kernels on arrays, as `cnn filter`
array([[1., 3., 2.]])
>>> cnncli.model("lenet5").parameters                   # what a network holds, as `cnn params`
61706

`cnncli.train(arch, dataset, ...)` yields the events of `cnn train`, and `cnncli.load(run).predict(pictures)` classifies
as `cnn predict`. Whatever is wrong is a `CnnError` with the text of the command. Importing cnncli imports neither NumPy
nor Numba: the first call does.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnncli.api.filter import filter
    from cnncli.api.network import Network, Prediction, TrainedNetwork, load, model
    from cnncli.api.train import train
    from cnncli.errors import CnnError, InvalidInputError, NumericError, ShapeError, UnavailableError, UsageError

__version__ = "0.1.0"
SCHEMA = "cnncli/1"  # of every JSON object that is written

__all__ = [
    "CnnError",
    "InvalidInputError",
    "Network",
    "NumericError",
    "Prediction",
    "ShapeError",
    "TrainedNetwork",
    "UnavailableError",
    "UsageError",
    "__version__",
    "filter",
    "load",
    "model",
    "train",
]

_ADDRESSES = {
    "filter": "cnncli.api.filter",
    **dict.fromkeys(("Network", "Prediction", "TrainedNetwork", "load", "model"), "cnncli.api.network"),
    "train": "cnncli.api.train",
}


class _Face(ModuleType):
    """The package as a module whose functions are imported when they are first used (PEP 562)."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module 'cnncli' has no attribute {name!r}")
        value = getattr(import_module(_ADDRESSES.get(name, "cnncli.errors")), name)
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # importing the package cnncli.model must not hide the function of this name
        if not (name == "model" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*__all__, *(name for name in vars(self) if name.startswith("__"))})


sys.modules[__name__].__class__ = _Face
