"""What a kernel takes, by name: declared once by the annotations of its function.

A kernel is a Python function whose parameters are annotated with the types of this file::

    @kernel
    def relu_forward(x: Maps, y: Maps, real: Real) -> None: ...

The caller gives operands by the same names (`pack`), compiled code receives them as arguments of the function
(`kernel.py`). Between the two lies a flat list of int64 whose order follows from the annotations alone. Importing this
file does not import Numba.
"""

from __future__ import annotations

import json
import struct
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np


@dataclass(frozen=True)
class Pointer:
    """Marks an address of numbers: base, plus a step per task, plus a step per worker.

    Parameters
    ----------
    name : str
    dtype : str
        Empty for the type of the program, float32 or float64.
    """

    name: str
    dtype: str = ""


@dataclass(frozen=True)
class Context:
    """Marks what compiled code knows by itself: it takes no operand."""

    name: str


Reals: TypeAlias = Annotated[Any, Pointer("Reals")]
#: one number per channel; where channels are shared out, from the first one of the part on
ChannelReals: TypeAlias = Annotated[Any, Pointer("ChannelReals")]
Int64s: TypeAlias = Annotated[Any, Pointer("Int64s", "int64")]
UInt64s: TypeAlias = Annotated[Any, Pointer("UInt64s", "uint64")]
Float32s: TypeAlias = Annotated[Any, Pointer("Float32s", "float32")]
Float64s: TypeAlias = Annotated[Any, Pointer("Float64s", "float64")]

Real: TypeAlias = Annotated[Any, Context("real")]  # zero of the program's type: names the type in compiled code
Block: TypeAlias = Annotated[int, Context("block")]  # number of the block of images, or of the task
Part: TypeAlias = Annotated[int, Context("part")]  # number of the part of a task that is shared out
Parts: TypeAlias = Annotated[int, Context("parts")]  # over how many parts a task is shared out
Worker: TypeAlias = Annotated[int, Context("worker")]  # number of the thread at work


class Maps(NamedTuple):
    """Feature maps (channels, height, width, LANES) of a block of images; steps in elements."""

    data: Reals
    channels: int
    height: int
    width: int
    channel_step: int
    row_step: int


class Window(NamedTuple):
    """Sliding window: size, stride [px], and padding at the top and left [px]."""

    rows: int
    columns: int
    row_stride: int
    column_stride: int
    top: int
    left: int


class Partial(NamedTuple):
    """A sum that is accumulated over the blocks of a group, one array per group of `blocks` blocks."""

    data: Reals
    step: int  # elements between the arrays of two groups
    blocks: int


class Learner(NamedTuple):
    """What every update rule reads and writes besides its own state; `mask` and `scale` see optimizer.py."""

    parameters: Reals
    gradients: Reals
    mask: Reals
    rates: Float64s
    scale: Float64s
    checks: Reals
    mask_step: int
    length: int
    per_task: int


@dataclass(frozen=True, eq=False)
class Operand:
    """Where an operand lies: an array, and how far apart the parts of two tasks and of two workers are.

    Parameters
    ----------
    array : ndarray
        C-contiguous.
    offset : int
        Elements from the start of the array.
    task_step, worker_step : int
        Elements between the parts of two neighbouring tasks, or workers.
    """

    array: np.ndarray
    offset: int = 0
    task_step: int = 0
    worker_step: int = 0

    def words(self) -> tuple[int, int, int]:
        """Return address, bytes per task, bytes per worker."""
        size = self.array.itemsize
        return self.array.ctypes.data + self.offset * size, self.task_step * size, self.worker_step * size

    def shifted(self, elements: int) -> Operand:
        """Return the operand `elements` further on."""
        return Operand(self.array, self.offset + elements, self.task_step, self.worker_step)

    def per_task(self, step: int) -> Operand:
        """Return the operand with another step per task."""
        return Operand(self.array, self.offset, step, self.worker_step)


Parameters = tuple[tuple[str, Any], ...]  # names and types, or marks, in the order of the words


def parameters(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a kernel's function with their types.

    Raises
    ------
    TypeError
        If a parameter has no annotation that kernels take.
    """
    hints = _hints(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    for name in names:
        if name not in hints:
            raise TypeError(f"parameter {name!r} of kernel {function.__name__} has no type")
        _check(hints[name], f"{function.__name__}.{name}")
    return tuple((name, hints[name]) for name in names)


def fields(kind: Any) -> Parameters:
    """Return the fields of a named tuple with their types."""
    hints = _hints(kind)
    return tuple((name, hints[name]) for name in kind._fields)


def is_record(kind: Any) -> bool:
    """Return whether a type is a named tuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def integers(kind: Any) -> int:
    """Return n for the type of a tuple of n integers, 0 for any other type."""
    inner = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    return len(inner) if inner and all(one is int for one in inner) else 0


def _hints(owner: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(owner, include_extras=True)
    return {name: kind.__metadata__[0] if hasattr(kind, "__metadata__") else kind for name, kind in hints.items()}


def _check(kind: Any, where: str) -> None:
    if is_record(kind):
        for name, inner in fields(kind):
            _check(inner, f"{where}.{name}")
    elif not (integers(kind) or kind in (int, float) or isinstance(kind, Pointer | Context)):
        raise TypeError(f"{where} has type {kind}, which kernels do not take")


def described(wanted: Parameters, *, splits_channels: bool = False) -> str:
    """Return what a kernel takes as JSON on one line.

    ``operands`` are pairs of a name and a type, in the order of the words. ``splits`` says that a task of the kernel
    may be shared out over parts. A type is the name of a pointer of this file, ``int``, ``float``, ``int*3``, or a
    named tuple: its name and fields.
    """
    operands = [[name, _described(kind)] for name, kind in wanted if not isinstance(kind, Context)]
    splits = splits_channels or any(isinstance(kind, Context) and kind.name == "part" for _, kind in wanted)
    return json.dumps({"operands": operands, "splits": splits})


def _described(kind: Any) -> Any:
    if is_record(kind):
        return [kind.__name__, [[name, _described(inner)] for name, inner in fields(kind)]]
    if integers(kind):
        return f"int*{integers(kind)}"
    return kind.name if isinstance(kind, Pointer) else kind.__name__


@cache
def _operands(takes: str) -> Any:
    return json.loads(takes)["operands"]


def pack(takes: str, given: Mapping[str, Any], kernel: str) -> tuple[list[int], list[np.ndarray]]:
    """Return the int64 words of a kernel's operands, and the arrays that they point into.

    Parameters
    ----------
    takes : str
        What the kernel takes, as `described` says it.
    given : mapping
        An `Operand` per pointer, integers, floats, named tuples of them; for `Maps` also anything with a method
        ``maps()`` that returns one whose `data` is an Operand.
    kernel : str
        Its name, for messages.

    Raises
    ------
    TypeError
        If an operand is missing, surplus or of another type.
    """
    wanted = _operands(takes)
    names = {name for name, _ in wanted}
    if names != set(given):
        missing, surplus = sorted(names - set(given)), sorted(set(given) - names)
        raise TypeError(f"{kernel} takes {sorted(names)}: missing {missing}, not known {surplus}")
    words: list[int] = []
    arrays: list[np.ndarray] = []
    for name, kind in wanted:
        for word in _words(kind, given[name], f"{kernel}: {name}"):
            if isinstance(word, Operand):
                words.extend(word.words())
                arrays.append(word.array)
            else:
                words.append(word)
    return words, arrays


def splits(takes: str) -> bool:
    """Return whether a task of a kernel may be shared out over parts."""
    return bool(json.loads(takes)["splits"])


def _words(kind: Any, value: Any, where: str) -> Iterator[Operand | int]:
    if isinstance(kind, list):
        record = value.maps() if kind[0] == "Maps" and hasattr(value, "maps") else value
        if type(record).__name__ != kind[0]:
            raise TypeError(f"{where} is {type(value).__name__}, not {kind[0]}")
        for name, inner in kind[1]:
            yield from _words(inner, getattr(record, name), f"{where}.{name}")
    elif kind.startswith("int*"):
        if len(value) != int(kind[4:]):
            raise TypeError(f"{where} is {value!r}, not {kind[4:]} integers")
        yield from (int(one) for one in value)
    elif kind == "float":
        yield struct.unpack("<q", struct.pack("<d", value))[0]
    elif kind == "int":
        if int(value) != value:
            raise TypeError(f"{where} is {value!r}, not an integer")
        yield int(value)
    else:
        operand = getattr(value, "operand", value)
        if not isinstance(operand, Operand):
            raise TypeError(f"{where} is {type(value).__name__}, not an Operand")
        dtype = _POINTERS[kind].dtype
        if dtype and operand.array.dtype != dtype:
            raise TypeError(f"{where} is {operand.array.dtype}, not {dtype}")
        yield operand


_POINTERS = {
    pointer.name: pointer
    for pointer in (typing.get_args(one)[1] for one in (Reals, ChannelReals, Int64s, UInt64s, Float32s, Float64s))
}
