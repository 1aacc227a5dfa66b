"""The named kernels: their numbers as constants, what each is for, and how their arguments are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cnncli.errors import UsageError, did_you_mean
from cnncli.filters import formulas
from cnncli.filters.kernel import Kernel, Numbers, exact_kernel
from cnncli.filters.numbers_text import to_float

SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
EDGE4 = [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]
EDGE8 = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
LAPLACIAN = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
EMBOSS = [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]
SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
SOBEL_Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
PREWITT_X = [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]
PREWITT_Y = [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]
SCHARR_X = [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]
SCHARR_Y = [[-3, -10, -3], [0, 0, 0], [3, 10, 3]]
ROBERTS_X = [[1, 0], [0, -1]]
ROBERTS_Y = [[0, 1], [-1, 0]]
KIRSCH_NORTH = [[5, 5, 5], [-3, 0, -3], [-3, -3, -3]]


@dataclass(frozen=True)
class NamedKernel:
    """One entry of the catalogue.

    Parameters
    ----------
    purpose : str
        What it is for, in a few words.
    make : callable
        Returns the kernel; takes the arguments of `parameters` as floats.
    parameters : tuple of str
        Names of the optional arguments after the colon, in order.
    """

    purpose: str
    make: Callable[..., Kernel]
    parameters: tuple[str, ...] = ()


def _constant(name: str, rows: list[list[int]], divisor: int = 1) -> Callable[..., Kernel]:
    return lambda: exact_kernel(name, rows, divisor)


def _gradient(name: str, x_rows: list[list[int]], y_rows: list[list[int]]) -> Callable[..., Kernel]:
    def make(angle: float | None = None) -> Kernel:
        if angle is None:
            return exact_kernel(name, [x_rows, y_rows], combine="magnitude")
        return formulas.turned_pair(name, _array(x_rows), _array(y_rows), 1.0, angle)

    return make


def _compass(name: str, rows: list[list[int]]) -> Callable[..., Kernel]:
    def make(angle: float | None = None) -> Kernel:
        if angle is None:
            turned = [formulas.turned_ring(name, _array(rows), 45 * i).numerators[0, 0] for i in range(8)]
            return exact_kernel(name, turned, combine="maximum")
        return formulas.turned_ring(name, _array(rows), angle)

    return make


def _emboss(angle: float = 0.0) -> Kernel:
    return formulas.turned_ring("emboss", _array(EMBOSS), angle)


def _array(rows: list[list[int]]) -> Numbers:
    return np.array(rows, dtype=np.float64)


CATALOGUE: dict[str, NamedKernel] = {
    "identity": NamedKernel("leave the image as it is", _constant("identity", [[0, 0, 0], [0, 1, 0], [0, 0, 0]])),
    "box": NamedKernel("blur: mean of n x n pixels", formulas.box, ("n",)),
    "gaussian": NamedKernel("blur, smooth, remove noise", formulas.gaussian, ("sigma", "size")),
    "motion": NamedKernel("blur along a line", formulas.motion, ("length", "angle")),
    "sharpen": NamedKernel("centre against its 4 neighbours", _constant("sharpen", SHARPEN)),
    "unsharp": NamedKernel("sharpen by what a blur loses", formulas.unsharp, ("amount", "sigma", "size")),
    "edge4": NamedKernel("edges and lines, 4 neighbours", _constant("edge4", EDGE4)),
    "edge8": NamedKernel("edges and lines, 8 neighbours", _constant("edge8", EDGE8)),
    "highpass": NamedKernel("detail: the image minus its 3x3 mean",
                            _constant("highpass", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], 9)),
    "laplacian": NamedKernel("second derivative, 4 neighbours", _constant("laplacian", LAPLACIAN)),
    "log": NamedKernel("blobs: Laplacian of a Gaussian", formulas.log, ("sigma", "size")),
    "emboss": NamedKernel("relief lit from one side", _emboss, ("angle",)),
    "sobel": NamedKernel("edge strength: both gradients", _gradient("sobel", SOBEL_X, SOBEL_Y), ("angle",)),
    "sobel-x": NamedKernel("vertical edges: change to the right", _constant("sobel-x", SOBEL_X)),
    "sobel-y": NamedKernel("horizontal edges: change downwards", _constant("sobel-y", SOBEL_Y)),
    "prewitt": NamedKernel("edge strength, equal weights", _gradient("prewitt", PREWITT_X, PREWITT_Y), ("angle",)),
    "prewitt-x": NamedKernel("vertical edges, equal weights", _constant("prewitt-x", PREWITT_X)),
    "prewitt-y": NamedKernel("horizontal edges, equal weights", _constant("prewitt-y", PREWITT_Y)),
    "scharr": NamedKernel("edge strength, even over angles", _gradient("scharr", SCHARR_X, SCHARR_Y), ("angle",)),
    "scharr-x": NamedKernel("vertical edges, even over angles", _constant("scharr-x", SCHARR_X)),
    "scharr-y": NamedKernel("horizontal edges, even over angles", _constant("scharr-y", SCHARR_Y)),
    "roberts": NamedKernel("edge strength along the diagonals", _gradient("roberts", ROBERTS_X, ROBERTS_Y)),
    "roberts-x": NamedKernel("edges along one diagonal", _constant("roberts-x", ROBERTS_X)),
    "roberts-y": NamedKernel("edges along the other diagonal", _constant("roberts-y", ROBERTS_Y)),
    "kirsch": NamedKernel("edges: the strongest of 8 directions", _compass("kirsch", KIRSCH_NORTH), ("angle",)),
    "gabor": NamedKernel("texture of one direction and width", formulas.gabor,
                         ("theta", "sigma", "lambda", "gamma", "psi", "size")),
}  # fmt: skip

ALIASES = {
    "edge": "edge8", "edges": "edge8", "outline": "edge8", "blur": "box", "mean": "box", "average": "box",
    "gauss": "gaussian", "high-pass": "highpass", "vertical-edge": "prewitt-x", "horizontal-edge": "prewitt-y",
    "sobelx": "sobel-x", "sobely": "sobel-y", "laplace": "laplacian", "kirsch-compass": "kirsch",
    "motion-blur": "motion", "unsharp-mask": "unsharp",
}  # fmt: skip


def canonical_name(name: str) -> str:
    """Return the catalogue's spelling of `name` (case, underscores and aliases allowed), or `name` itself."""
    plain = name.strip().lower().replace("_", "-")
    return ALIASES.get(plain, plain)


def named_kernel(text: str) -> Kernel:
    """Return the kernel for ``name`` or ``name:arguments``.

    Arguments are numbers by position or ``key=value``: ``gaussian:1.5``, ``gaussian:sigma=1.5,size=9``.

    Raises
    ------
    UsageError
        Unknown name (with the nearest one), unknown or too many arguments, a value out of range.

    Examples
    --------
    >>> named_kernel("sobel-x").numerators[0, 0].tolist()
    [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
    """
    name, _, arguments = text.partition(":")
    name = canonical_name(name)
    if name not in CATALOGUE:
        raise UsageError(f"unknown kernel '{text}'", hint=suggestion(name))
    entry = CATALOGUE[name]
    values = read_arguments(name, arguments, entry.parameters)
    if "lambda" in values:
        values["wavelength"] = values.pop("lambda")
    kernel = entry.make(**values)
    return kernel if kernel.name.startswith(name) else replace(kernel, name=name)


def read_arguments(name: str, text: str, parameters: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers of ``1.5,size=9`` under the names of `parameters`; errors as `named_kernel`."""
    values: dict[str, float] = {}
    if not text.strip():
        return values
    for position, item in enumerate(text.split(",")):
        key, equals, number = item.partition("=")
        if not equals:
            key, number = (parameters[position] if position < len(parameters) else ""), key
        key = key.strip().lower()
        if key not in parameters:
            takes = f"it takes {', '.join(parameters)}" if parameters else "it takes no arguments"
            raise UsageError(f"{name} does not understand '{item.strip()}'", hint=takes)
        if key in values:
            raise UsageError(f"{name} got {key} twice")
        try:
            values[key] = to_float(number.strip())
        except ValueError as error:
            raise UsageError(f"{name}: {key}: {error}", hint=f"write for example {name}:{key}=1") from None
    return values


_NOT_LINEAR = "is not a sum of products, as kernels are: use scipy.ndimage or OpenCV"
# words that people try, and what to write in place of them
_ELSEWHERE = {
    **dict.fromkeys(("rank", "percentile", "bilateral", "canny", "nlmeans"), f"it {_NOT_LINEAR}"),
    "opening": "write -k minimum:3 -k maximum:3",
    "closing": "write -k maximum:3 -k minimum:3",
    "despeckle": "write -k median:3",
    **dict.fromkeys(("equalize", "equalise", "equalization"), "write --range equalize, which needs no kernel"),
    **dict.fromkeys(("minmax", "normalize", "normalise", "stretch"), "write --range minmax, which needs no kernel"),
    **dict.fromkeys(("negate", "negative"), "write -k invert"),
}


def suggestion(name: str, further: tuple[str, ...] = ()) -> str:
    """Return a hint that names the nearest kernel, step or the list command, or what else does the same."""
    if name in _ELSEWHERE:
        return f"{_ELSEWHERE[name]}; `cnn kernels` lists all"
    return f"{did_you_mean(name, [*CATALOGUE, *ALIASES, *further], '')} `cnn kernels` lists all".lstrip()
