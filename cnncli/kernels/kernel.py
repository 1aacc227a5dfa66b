"""A kernel: compiled code behind one plain signature, `kernel(words, task, worker)`.

`words` are int64: addresses, strides and sizes, laid out as the kernel's docstring says. Because every kernel looks the
same from outside, a whole training step is a list of (kernel, words) that one small loop in compiled code runs
(program.py), without a return to Python between two layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.ccallback import CFunc

from cnncli.kernels import store

# these kernels exist as compiled code only, so NUMBA_DISABLE_JIT cannot be obeyed
numba.config.DISABLE_JIT = 0

_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)
_REALS = {"float32": types.float32, "float64": types.float64}


class Kernel:
    """Arithmetic in compiled code, made on first use, once for each kind of number.

    Parameters
    ----------
    body : callable
        ``body(words, task, worker, real)``: Python that Numba compiles; the type of `real` is that of the numbers.
    name : str
        Unique within the file of the body.
    is_cached : bool
        Kept on disk; only for bodies in this folder, whose sources name the file.
    """

    def __init__(self, body: Callable[..., Any], name: str = "", *, is_cached: bool = True) -> None:
        self._body, self._is_cached = body, is_cached
        self.name = name or body.__name__
        self.__doc__ = body.__doc__
        self._compiled: dict[str, store.Compiled] = {}

    def address(self, dtype: str = "float32") -> int:
        """Return the address of the code for float32 or float64 numbers; compile it if need be."""
        if self._is_cached:
            module = self._body.__module__.rpartition(".")[2]
            return store.address(module, self.name, dtype, lambda: self.compile(dtype))
        if dtype not in self._compiled:
            self._compiled[dtype] = self.compile(dtype)
        return self._compiled[dtype].address

    def compile(self, dtype: str) -> store.Compiled:
        """Compile it for float32 or float64 numbers."""
        body, real = numba.njit(self._body, error_model="numpy"), _REALS[dtype]

        def entry(words: Any, task: Any, worker: Any) -> None:
            body(words, task, worker, real(0))

        entry.__qualname__ = f"{self.name}.{real}"  # what a profiler shows
        entry.__module__ = self._body.__module__
        return compile_entry(entry, _SIGNATURE)


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


def compile_entry(entry: Callable[..., Any], signature: Any) -> store.Compiled:
    """Compile a function that C can call."""
    function: Any = CFunc(entry, (signature.args, signature.return_type), {}, {"error_model": "numpy"})
    function.compile()
    _functions.append(function)
    library = function._library
    code = b"" if library.has_dynamic_globals else bytes(library._get_compiled_object())
    return store.Compiled(function.native_name, code, int(function.address))


_functions: list[Any] = []  # code lives as long as the function


def kernel(body: Callable[..., Any]) -> Kernel:
    """Make a Kernel of a function (decorator)."""
    return Kernel(body)


@numba.njit(inline="never")
def at(words: Any, index: int, task: int, worker: int) -> int:
    """Return the address in three words: base, bytes a task further, bytes a worker further."""
    return words[index] + task * words[index + 1] + worker * words[index + 2]
