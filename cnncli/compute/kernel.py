"""A kernel: compiled code behind one plain signature, `kernel(words, task, worker)`.

`words` are int64: what the annotations of the kernel's function declare (arguments.py), flattened. Because every kernel
looks the same from outside, a whole training step is a list of (kernel, words) that one small loop in compiled code
runs (program.py), without a return to Python between two layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from cnncli.compute import store
from cnncli.compute.arguments import (
    Context,
    Maps,
    Parameters,
    Pointer,
    described,
    fields,
    integers,
    is_record,
    parameters,
)

# these kernels exist as compiled code only, so NUMBA_DISABLE_JIT cannot be obeyed
numba.config.DISABLE_JIT = 0

_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)
_REALS = {"float32": types.float32, "float64": types.float64}


class CompiledKernel:
    """Arithmetic in compiled code, made on first use, once for each kind of number.

    Parameters
    ----------
    body : callable
        Python that Numba compiles; its annotations say what it takes, see arguments.py.
    name : str
        Unique within the file of the body.
    is_cached : bool
        Kept on disk; only for bodies in `cnncli.kernels`, whose sources name the file.
    splits_channels : bool
        A task may be shared out over parts: each `Maps` then holds the channels of one part only.
    """

    def __init__(
        self, body: Callable[..., Any], name: str = "", *, is_cached: bool = True, splits_channels: bool = False
    ) -> None:
        self._body, self._is_cached, self._splits_channels = body, is_cached, splits_channels
        self._parameters = parameters(body)
        self.name = name or body.__name__
        self.__doc__ = body.__doc__
        self._compiled: dict[str, store.Compiled] = {}

    @property
    def description(self) -> str:
        """Return what it takes, as `arguments.described` says it."""
        return described(self._parameters, splits_channels=self._splits_channels)

    def takes(self, dtype: str = "float32") -> str:
        """Return what it takes; the same for every `dtype`."""
        del dtype
        return self.description

    def code(self, dtype: str = "float32") -> store.Code:
        """Return the code for float32 or float64 numbers; compile it if need be."""
        if self._is_cached:
            module = self._body.__module__.partition(".")[2]
            return store.code(module, self.name, dtype, lambda: self.compile(dtype))
        if dtype not in self._compiled:
            self._compiled[dtype] = self.compile(dtype)
        made = self._compiled[dtype]
        return store.Code(made.address, made.takes)

    def compile(self, dtype: str) -> store.Compiled:
        """Compile it for float32 or float64 numbers."""
        # only `entry` calls the body: wrappers for callers in Python and C would be compiled for nothing
        body = numba.njit(self._body, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
        real = _REALS[dtype]
        unpack = _unpacker(self._parameters, real, self._splits_channels)

        def entry(words: Any, task: Any, worker: Any) -> None:
            body(*unpack(words, task, worker))

        entry.__qualname__ = f"{self.name}.{real}"  # what a profiler shows
        entry.__module__ = self._body.__module__
        return compile_entry(entry, _SIGNATURE, self.description)


class Entry:
    """A compiled function with a signature of its own, for callers in Python.

    Parameters
    ----------
    body : callable
        What Numba compiles.
    signature : Numba signature
    """

    def __init__(self, body: Callable[..., Any], signature: Any) -> None:
        self._body, self._signature = body, signature

    def compile(self, dtype: str) -> store.Compiled:
        """Compile it; its one signature stands for every `dtype`."""
        return compile_entry(self._body, self._signature)


def compile_entry(entry: Callable[..., Any], signature: Any, takes: str = "") -> store.Compiled:
    """Compile a function that C can call; `takes` describes the operands of a kernel."""
    function: Any = CFunc(entry, (signature.args, signature.return_type), {}, {"error_model": "numpy"})
    function.compile()
    _functions.append(function)
    address = int(function.address)
    return store.Compiled(function.native_name, _object_file(function._library), address, takes)


def _object_file(library: Any) -> bytes:
    """Return what can be kept of a compiled function: nothing where it holds addresses of this process."""
    if library.has_dynamic_globals:
        return b""
    try:
        return bytes(library._get_compiled_object())
    except RuntimeError:  # an exception in the call by which LLVM hands it over is lost; the function itself works
        return b""


_functions: list[Any] = []  # code lives as long as the function


def kernel(body: Callable[..., Any] | None = None, *, splits_channels: bool = False) -> Any:
    """Make a CompiledKernel of a function (decorator)."""
    if body is None:
        return lambda function: CompiledKernel(function, splits_channels=splits_channels)
    return CompiledKernel(body)


def _unpacker(wanted: Parameters, real: Any, splits_channels: bool) -> Any:
    """Return an intrinsic that makes the arguments of a kernel's function from its words."""
    result = types.Tuple([_numba_type(kind, real) for _, kind in wanted])

    @intrinsic
    def unpack(typingctx: Any, words: Any, task: Any, worker: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            reader = _Reader(context, builder, args, real, splits_channels)
            values = [reader.read(kind) for _, kind in wanted]
            return context.make_tuple(builder, result, values)

        return result(words, types.int64, types.int64), codegen

    return unpack


def _numba_type(kind: Any, real: Any) -> Any:
    if is_record(kind):
        inner = [_numba_type(one, real) for _, one in fields(kind)]
        same = all(one == inner[0] for one in inner)
        return types.NamedUniTuple(inner[0], len(inner), kind) if same else types.NamedTuple(inner, kind)
    if integers(kind):
        return types.UniTuple(types.int64, integers(kind))
    if isinstance(kind, Context):
        return real if kind.name == "real" else types.int64
    if isinstance(kind, Pointer):
        return types.CPointer(getattr(types, kind.dtype) if kind.dtype else real)
    return types.float64 if kind is float else types.int64


class _Reader:
    """Emits the code that reads one argument after the other from the words.

    words[0] says over how many parts a task is shared out: task = block * parts + part.
    """

    def __init__(self, context: Any, builder: Any, args: Any, real: Any, splits_channels: bool) -> None:
        self.context, self.builder, self.dtype = context, builder, real
        self.real = ir.Constant(context.get_value_type(real), 0.0)
        self.words, task, self.worker = args
        self.next = 0
        self.parts = self._word()
        self.block = builder.sdiv(task, self.parts)
        self.part = builder.sub(task, builder.mul(self.block, self.parts))
        self.splits_channels = splits_channels
        self.first: Any = None  # channel of the part

    def read(self, kind: Any) -> Any:
        """Return the value of the next argument."""
        if kind is Maps:
            return self._maps()
        if is_record(kind):
            values = [self.read(inner) for _, inner in fields(kind)]
            return self.context.make_tuple(self.builder, _numba_type(kind, self.dtype), values)
        if integers(kind):
            values = [self._word() for _ in range(integers(kind))]
            return self.context.make_tuple(self.builder, _numba_type(kind, self.dtype), values)
        if isinstance(kind, Pointer):
            shift = self.first if kind.name == "ChannelReals" and self.splits_channels else None
            return self._pointer(kind, shift)
        if isinstance(kind, Context):
            return getattr(self, kind.name)
        word = self._word()
        return self.builder.bitcast(word, ir.DoubleType()) if kind is float else word

    def _maps(self) -> Any:
        builder, split = self.builder, self.splits_channels
        data = self._pointer(Pointer("Reals"), None)
        channels, *rest = (self._word() for _ in range(5))
        if split:
            first = builder.sdiv(builder.mul(self.part, channels), self.parts)
            after = builder.add(self.part, ir.Constant(ir.IntType(64), 1))
            last = builder.sdiv(builder.mul(after, channels), self.parts)
            self.first = first
            step = builder.mul(first, rest[2])
            data = builder.gep(data, [step], source_etype=self.context.get_data_type(self.dtype))
            channels = builder.sub(last, first)
        return self.context.make_tuple(builder, _numba_type(Maps, self.dtype), [data, channels, *rest])

    def _pointer(self, kind: Any, shift: Any) -> Any:
        builder = self.builder
        base, per_task, per_worker = (self._word() for _ in range(3))
        address = builder.add(base, builder.mul(self.block, per_task))
        address = builder.add(address, builder.mul(self.worker, per_worker))
        target = _numba_type(kind, self.dtype)
        pointer = builder.inttoptr(address, self.context.get_value_type(target))
        if shift is not None:
            pointer = builder.gep(pointer, [shift], source_etype=self.context.get_data_type(target.dtype))
        return pointer

    def _word(self) -> Any:
        number = ir.IntType(64)
        place = self.builder.gep(self.words, [ir.Constant(number, self.next)], source_etype=number)
        self.next += 1
        return self.builder.load(place, typ=number)
