"""The steps of a filter chain, and the grammar of one step on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cnncli.errors import UsageError
from cnncli.filters.bank_text import alternatives
from cnncli.filters.formulas import wide_profile
from cnncli.filters.kernel import Kernel
from cnncli.filters.kernel_text import parse_kernels_file, parse_literal
from cnncli.filters.named import CATALOGUE, canonical_name, named_kernel, read_arguments, suggestion
from cnncli.filters.numbers_text import to_float
from cnncli.kernels.activation_table import ACTIVATIONS
from cnncli.shapes import Pads, Pair, pair_text

GRAY_WEIGHTS = {
    "bt601": (0.299, 0.587, 0.114),  # ITU-R BT.601; OpenCV, Pillow
    "bt709": (0.2125, 0.7154, 0.0721),  # as scikit-image rounds ITU-R BT.709
    "mean": (1 / 3, 1 / 3, 1 / 3),
}


@dataclass(frozen=True, eq=False)
class KernelStep:
    """Correlate the image with the filters of a kernel."""

    kernel: Kernel

    @property
    def name(self) -> str:
        """The name of the kernel, for summaries and file names."""
        return self.kernel.name


@dataclass(frozen=True)
class PointStep:
    """Change each value by itself, or with ``softmax`` each pixel.

    ``relu`` and the activations of `cnncli.kernels.activation_table` with their settings, ``softmax`` (over the
    channels), ``abs``, ``invert`` (full scale less the value), ``threshold`` (high where the value is at least the
    level, else 0), ``round`` (half to even), ``clip`` (low, high). Infinity is the full scale of the image (255, 65535
    or 1) as a high, and minus infinity the middle of it (128, 32768 or 0.5) as a level.
    """

    kind: str
    values: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The step as a user may type it."""
        names = _POINTS[self.kind][0]
        given = [(name, v) for name, v in zip(names, self.values, strict=True) if math.isfinite(v)]
        in_order = [name for name, _ in given] == list(names[: len(given)])
        text = ",".join(f"{v:g}" if in_order else f"{name}={v:g}" for name, v in given)
        return f"{self.kind}:{text}" if text else self.kind


@dataclass(frozen=True)
class PoolStep:
    """Take the maximum or the mean of each window, channel by channel.

    `padding` counts neither in a mean nor in a maximum, as in the layers of a network.
    """

    kind: str  # maxpool or avgpool
    size: Pair
    stride: Pair
    padding: Pads = (0, 0, 0, 0)

    @property
    def name(self) -> str:
        """The step as a user may type it."""
        down, _, across, _ = self.padding
        padding = f",p={pair_text((down, across))}" if down or across else ""
        return f"{self.kind}:{pair_text(self.size)},s={pair_text(self.stride)}{padding}"


@dataclass(frozen=True, eq=False)
class WideStep:
    """Blur along the columns with (n, 1) numbers, then along the rows with (1, n): a box or Gaussian of any width."""

    column: Kernel
    row: Kernel

    @property
    def name(self) -> str:
        """The step as a user may type it."""
        return self.row.name


@dataclass(frozen=True)
class RankStep:
    """Take the least, the largest or the middle value of each window, channel by channel.

    Padding, border, stride and dilation are those of kernels.
    """

    kind: str  # minimum, maximum or median
    size: Pair

    @property
    def name(self) -> str:
        """The step as a user may type it."""
        return f"{self.kind}:{pair_text(self.size)}"


@dataclass(frozen=True)
class GrayStep:
    """Add the colours with the weights of GRAY_WEIGHTS; one channel stays as it is."""

    method: str = "bt601"

    @property
    def name(self) -> str:
        """The step as a user may type it."""
        return f"gray:{self.method}"


Member: TypeAlias = KernelStep | WideStep | PointStep | RankStep
_MEMBERS = (KernelStep, WideStep, PointStep, RankStep)


@dataclass(frozen=True)
class BankStep:
    """Several steps on the same image, their results side by side as channels.

    `name` is the bank as it was typed, `texts` are its members.
    """

    name: str
    members: tuple[Member, ...]
    texts: tuple[str, ...]


Step: TypeAlias = KernelStep | WideStep | PointStep | PoolStep | RankStep | GrayStep | BankStep


def flattened(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps with the members of a bank in its place."""
    for step in steps:
        yield from step.members if isinstance(step, BankStep) else (step,)


_RANK_LIMITS = {"median": 255, "minimum": 65535, "maximum": 65535}

# kind -> (names of its values, their defaults)
_POINTS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "relu": ((), ()),
    **{
        name: ((one.setting.name,), (one.setting.default,)) if one.setting else ((), ())
        for name, one in ACTIVATIONS.items()
    },
    "softmax": ((), ()),
    "abs": ((), ()),
    "invert": ((), ()),
    "threshold": (("level", "high"), (-math.inf, math.inf)),
    "round": ((), ()),
    "clip": (("low", "high"), (0.0, math.inf)),
}
STEP_NAMES = (*_POINTS, *_RANK_LIMITS, "maxpool", "avgpool", "gray")
STEP_PURPOSES = {
    "relu": "negative values become 0",
    **{
        f"{name}[:{one.setting.name}]" if one.setting else name: one.summary
        + (f" ({one.setting.name} {one.setting.default:g})" if one.setting else "")
        for name, one in ACTIVATIONS.items()
    },
    "softmax": "shares of the channels in each pixel: exp(x) / sum of exp(x)",
    "abs": "absolute values",
    "invert": "full scale less the value: a negative",
    "threshold[:level,high]": "high (full scale) from the level (half) on, else 0",
    "round": "nearest whole number, half to even",
    "clip[:low,high]": "limit to an interval (0, full scale)",
    "median[:N|:NxM]": "middle value of each window (3x3): removes specks, keeps edges",
    "minimum[:N|:NxM]": "least value of each window (3x3): erosion",
    "maximum[:N|:NxM]": "largest value of each window (3x3): dilation",
    "maxpool:N[,s=N,p=N]": "largest value of each window (stride = size)",
    "avgpool:N[,s=N,p=N]": "mean of each window, padding left out",
    "gray[:bt601|bt709|mean]": "one channel from three",
}
_CHECKPOINT = re.compile(r".+:[\w./-]+\[(?:[0-9]+|\*)\]")


def parse_steps(
    specs: Sequence[str],
    read_file: Callable[[str], bytes] | None = None,
    read_weights: Callable[[str], Kernel] | None = None,
    order: str | None = None,
) -> tuple[Step, ...]:
    """Return the steps for the texts of ``-k``, in order.

    Parameters
    ----------
    specs : sequence of str
        ``name``, ``name:arguments``, a literal ``"0 -1 0; -1 5 -1; 0 -1 0"``, ``@FILE``, ``CHECKPOINT:layer[i]``, or a
        step such as ``relu`` or ``maxpool:2,s=2``; or several of them as a bank, see `cnncli.filters.bank_text`.
    read_file : callable, optional
        Returns the content of the file behind ``@``; without it files are refused.
    read_weights : callable, optional
        Returns the kernel of ``CHECKPOINT:layer[i]``.
    order : str, optional
        Of the axes of kernel arrays in files, as `cnncli.filters.kernel_array.kernel_from_array`.

    Raises
    ------
    UsageError
        Unknown names and bad literals.
    InvalidInputError
        Bad kernel files.
    """
    found: list[Step] = []
    for spec in specs:
        steps: list[Step] = []
        texts: list[str] = []
        for text in alternatives(spec):
            kernels = _file_kernels(text, read_file, order) if text.startswith("@") else []
            steps += [KernelStep(kernel) for kernel in kernels] or [_parse_step(text, read_weights)]
            texts += [kernel.name for kernel in kernels] if len(kernels) > 1 else [text.removeprefix("@")]
        found.append(steps[0] if len(steps) == 1 else _bank(spec, steps, texts))
    return tuple(found)


def _bank(spec: str, steps: list[Step], texts: list[str]) -> BankStep:
    members = tuple(step for step in steps if isinstance(step, _MEMBERS))
    if len(members) < len(steps):
        other = next(step.name for step in steps if not isinstance(step, _MEMBERS))
        hint = "put it before or behind the bank, in a -k of its own"
        raise UsageError(f"{other} cannot be a member of a bank", hint=hint)
    return BankStep(spec.strip(), members, tuple(texts))


def _file_kernels(text: str, read_file: Callable[[str], bytes] | None, order: str | None) -> list[Kernel]:
    if read_file is None:
        raise UsageError("kernel files cannot be read here", where=text)
    return parse_kernels_file(read_file(text[1:]), text[1:], order)


def _parse_step(text: str, read_weights: Callable[[str], Kernel] | None) -> Step:
    if _CHECKPOINT.fullmatch(text) and read_weights is not None:
        return KernelStep(read_weights(text))
    word, _, arguments = text.partition(":")
    kind = word.strip().lower().replace("-", "_")
    kind = {"leakyrelu": "leaky_relu", "swish": "silu", "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid",
            "grey": "gray", "grayscale": "gray", "max_pool": "maxpool", "avg_pool": "avgpool",
            "meanpool": "avgpool", "min": "minimum", "erode": "minimum", "erosion": "minimum", "max": "maximum",
            "dilate": "maximum", "dilation": "maximum"}.get(kind, kind)  # fmt: skip
    if kind in _POINTS:
        return _point(kind, arguments)
    if kind in ("maxpool", "avgpool"):
        return _pool(kind, arguments)
    if kind in _RANK_LIMITS:
        return _rank(kind, arguments)
    if kind == "gray":
        method = arguments.strip().lower() or "bt601"
        if method not in GRAY_WEIGHTS:
            raise UsageError(f"unknown gray '{arguments}'", hint=f"choose {', '.join(GRAY_WEIGHTS)}")
        return GrayStep(method)
    if canonical_name(word) in CATALOGUE:
        return _wide(canonical_name(word), arguments) or KernelStep(named_kernel(text))
    if re.match(r"[A-Za-z_]", text):
        raise UsageError(f"unknown kernel '{text[:60]}'", hint=suggestion(canonical_name(word), STEP_NAMES))
    return KernelStep(parse_literal(text))


def _point(kind: str, arguments: str) -> PointStep:
    names, defaults = _POINTS[kind]
    given = read_arguments(kind, arguments, names)
    values = tuple(given.get(name, default) for name, default in zip(names, defaults, strict=True))
    if kind == "clip" and values[0] > values[1]:
        hint = f"write clip:{values[1]:g},{values[0]:g}"
        raise UsageError(f"clip: low {values[0]:g} is above high {values[1]:g}", hint=hint)
    return PointStep(kind, values)


def _pool(kind: str, arguments: str) -> PoolStep:
    """Read ``2``, ``2x3``, ``2,s=2,p=1``."""
    values: dict[str, str] = {}
    for i, item in enumerate(filter(None, (part.strip() for part in arguments.split(",")))):
        key, equals, number = item.partition("=")
        key, number = (key.strip().lower(), number) if equals else ("size" if i == 0 else "", key)
        key = {"k": "size", "f": "size", "s": "stride", "p": "padding"}.get(key, key)
        if key not in ("size", "stride", "padding") or key in values:
            raise UsageError(f"{kind} does not understand '{item}'", hint=f"write {kind}:2,s=2,p=0")
        values[key] = number
    size = _pair(kind, "size", values.get("size", "2"), 1)
    stride = _pair(kind, "stride", values["stride"], 1) if "stride" in values else size
    down, across = _pair(kind, "padding", values.get("padding", "0"), 0)
    if down >= size[0] or across >= size[1]:
        hint = "a window must hold at least one pixel"
        raise UsageError(f"{kind}: padding {down}x{across} is not less than the size {pair_text(size)}", hint=hint)
    return PoolStep(kind, size, stride, (down, down, across, across))


def _wide(name: str, arguments: str) -> WideStep | None:
    """Return a box or Gaussian that is too wide for a kernel, None for all else."""
    if name not in ("box", "gaussian") or not arguments:
        return None
    values = read_arguments(name, arguments, CATALOGUE[name].parameters)
    width = values.get("n" if name == "box" else "sigma", 1.0)
    profile = wide_profile(name, width, values.get("size"))
    if profile is None:
        return None
    divisor = float(len(profile)) if name == "box" else 1.0
    label = f"box:{len(profile)}" if name == "box" else f"gaussian:{width:g},{len(profile)}"
    shapes = (len(profile), 1), (1, len(profile))
    column, row = (Kernel(label, profile.reshape(1, 1, *shape), divisor) for shape in shapes)
    return WideStep(column, row)


def _rank(kind: str, arguments: str) -> RankStep:
    """Read nothing, ``5`` or ``3x5``."""
    size = _pair(kind, "size", arguments or "3", 1, f"{kind}:3")
    limit = _RANK_LIMITS[kind]
    if max(size) > limit:
        raise UsageError(f"{kind}: a window of {pair_text(size)} is larger than {limit}x{limit}", hint="repeat it")
    return RankStep(kind, size)


def _pair(kind: str, what: str, text: str, least: int, example: str = "") -> Pair:
    numbers = []
    for word in text.strip().lower().split("x"):
        try:
            value = to_float(word)
        except ValueError as error:
            raise UsageError(f"{kind}: {what}: {error}", hint=f"write {example or kind + ':2,s=2'}") from None
        if value != int(value) or not least <= value <= 65535:
            raise UsageError(f"{kind}: {what} must be a whole number from {least} on, not {word}")
        numbers.append(int(value))
    if len(numbers) > 2:
        raise UsageError(f"{kind}: {what} '{text}' has {len(numbers)} numbers, at most 2")
    return numbers[0], numbers[-1]
