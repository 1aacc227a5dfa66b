"""Compiled kernels on disk: one file a kernel, written whole or not at all, and never trusted blindly.

A file holds the SHA-256 of the rest and Numba's own serialised compile result (pickle and machine code), so the folder
must belong to the user and be writable by nobody else. The name of a file is a hash of everything its content depends
on: the sources of its kernel, the versions, the processor, the vector width and the signature. A file that is missing,
truncated or changed means "compile again"; a folder that cannot be used means "compile in memory".
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pickle
import platform
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl
from numba.core.compiler import CompileResult

from cnncli.kernels import notices
from cnncli.kernels.cache_folder import folder, replace_file
from cnncli.kernels.host import LANES

_SHARED = ("host.py", "simd.py", "tile.py", "cache.py", "kernel.py")
_HASH_BYTES = 32


@cache
def sources_digest(module: str) -> bytes:
    """Return a digest of the files a kernel of `module` is made from."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    own = module.rpartition(".")[2]
    for path in (
        *(here / name for name in _SHARED),
        here / f"{own}.py",
        here / f"{own}_words.py",
        here / f"{own}_simd.py",
    ):
        digest.update(path.read_bytes() if path.exists() else b"")
    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())
    digest.update(repr((versions, LANES)).encode())
    return digest.digest()


class KernelCache:
    """What a Numba dispatcher or C function asks for its compiled form; one kernel, any signatures.

    Parameters
    ----------
    function : callable
        The Python function that is compiled.
    name : str
        Unique among the kernels of its file, variants included.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._implementation = CompileResultCacheImpl(function)
        self._module = function.__module__
        self._name = name

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the stored compile result, or None if there is none that can be trusted."""
        target_context.refresh()
        path = self._path(signature, target_context)
        with contextlib.suppress(Exception):
            data = path.read_bytes() if path else b""
            if len(data) > _HASH_BYTES and hashlib.sha256(data[_HASH_BYTES:]).digest() == data[:_HASH_BYTES]:
                payload = pickle.loads(memoryview(data)[_HASH_BYTES:])  # noqa: S301
                return CompileResult._rebuild(target_context, *payload)
        for listener in notices.on_compile:
            listener(self._name)
        return None

    def object_code(self, signature: Any, target_context: Any) -> bytes | None:
        """Return the stored machine code of a kernel as an object file, if there is one."""
        path = self._path(signature, target_context)
        with contextlib.suppress(Exception):
            data = path.read_bytes() if path else b""
            if len(data) > _HASH_BYTES and hashlib.sha256(data[_HASH_BYTES:]).digest() == data[:_HASH_BYTES]:
                library = pickle.loads(memoryview(data)[_HASH_BYTES:])[0]  # noqa: S301
                return bytes(library[2][0])
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store a compile result; a full or read-only disk only means that it is compiled again next time."""
        path = self._path(signature, result.target_context)
        if path is None or not self._implementation.check_cachable(result):
            return
        payload = pickle.dumps(self._implementation.reduce(result))
        with contextlib.suppress(OSError):
            replace_file(path, hashlib.sha256(payload).digest() + payload)

    def _path(self, signature: Any, target_context: Any) -> Path | None:
        place = folder()
        if place is None:
            return None
        target = target_context.codegen().magic_tuple()
        digest = hashlib.sha256(sources_digest(self._module) + repr((self._name, str(signature), target)).encode())
        return place / f"{self._name}-{digest.hexdigest()[:32]}.nbc"

    # the rest of the interface a dispatcher may ask for
    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: files of other sources have other names."""


@contextlib.contextmanager
def one_compiler_at_a_time() -> Iterator[None]:
    """Hold a lock on the cache folder, so that two processes do not compile the same kernel side by side."""
    place = folder()
    if place is None:
        yield
        return
    try:
        lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
