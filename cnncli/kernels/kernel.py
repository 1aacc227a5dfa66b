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

from cnncli.kernels.cache import KernelCache, one_compiler_at_a_time, sources_digest

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
        if is_cached:
            # read now: a file that changes before the first use must not lend its name to the code that was imported
            sources_digest(body.__module__)
        self.name = name or body.__name__
        # Numba makes symbols of qualified names and a count of the functions compiled so far. Two variants from one
        # factory, compiled by two processes, would share a symbol, and a third process that loads both from the cache
        # would run one of them under both names.
        body.__qualname__ = f"{self.name}.body"
        self.__doc__ = body.__doc__
        self._compiled: dict[str, Any] = {}

    def address(self, dtype: str = "float32") -> int:
        """Return the address of the code for float32 or float64 numbers; compile it if need be."""
        if dtype not in self._compiled:
            self._compiled[dtype] = self._compile(_REALS[dtype])
        return int(self._compiled[dtype].address)

    def stored(self, dtype: str) -> tuple[str, bytes] | None:
        """Return the symbol and the object code of a compiled kernel, if the cache holds it."""
        function = self._compiled.get(dtype)
        if function is None or not self._is_cached:
            return None
        code = function._cache.object_code(function._sig, function._targetdescr.target_context)
        return None if code is None else (str(function._wrapper_name), code)

    def _compile(self, real: Any) -> Any:
        body = numba.njit(self._body, error_model="numpy")

        def entry(words: Any, task: Any, worker: Any) -> None:
            body(words, task, worker, real(0))

        entry.__qualname__ = f"{self.name}.{real}"
        entry.__module__ = self._body.__module__
        function: Any = CFunc(entry, (_SIGNATURE.args, _SIGNATURE.return_type), {}, {"error_model": "numpy"})
        if self._is_cached:
            function._cache = KernelCache(self._body, f"{self.name}-{real}")
        with one_compiler_at_a_time():
            function.compile()
        return function


def kernel(body: Callable[..., Any]) -> Kernel:
    """Make a Kernel of a function (decorator)."""
    return Kernel(body)


@numba.njit(inline="never")
def at(words: Any, index: int, task: int, worker: int) -> int:
    """Return the address in three words: base, bytes a task further, bytes a worker further."""
    return words[index] + task * words[index + 1] + worker * words[index + 2]
