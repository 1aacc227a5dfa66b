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
import stat
import sys
import tempfile
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
from cnncli.kernels.simd import LANES

_SHARED = ("simd.py", "tile.py", "cache.py", "kernel.py")
_HASH_BYTES = 32


@cache
def folder() -> Path | None:
    """Return the folder of compiled kernels, or None where there is none that only the user can write.

    `CNN_CACHE_DIR` names it; else it is ``cnncli`` in the user's cache (`XDG_CACHE_HOME` or ``~/.cache``).
    """
    root: str | Path = "~/.cache/cnncli"
    try:
        root = os.environ.get("CNN_CACHE_DIR") or _user_cache() / "cnncli"
        place = Path(root) / "kernels"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = place.stat()
        if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
            raise PermissionError("the folder belongs to another user")
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError("the folder is writable by others")
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError("the folder is not writable")
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        for listener in notices.on_refuse:
            listener(
                f"{root}: compiled kernels are not kept there: {reason}; set CNN_CACHE_DIR to a folder of your own"
            )
        return None
    return place


def _user_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@cache
def _sources(module: str) -> bytes:
    """Return a digest of the files a kernel of `module` is made from."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in (*_SHARED, f"{module.rpartition('.')[2]}.py"):
        digest.update((here / name).read_bytes())
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

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store a compile result; a full or read-only disk only means that it is compiled again next time."""
        path = self._path(signature, result.target_context)
        if path is None or not self._implementation.check_cachable(result):
            return
        payload = pickle.dumps(self._implementation.reduce(result))
        with contextlib.suppress(OSError):
            _replace(path, hashlib.sha256(payload).digest() + payload)

    def _path(self, signature: Any, target_context: Any) -> Path | None:
        place = folder()
        if place is None:
            return None
        target = target_context.codegen().magic_tuple()
        digest = hashlib.sha256(_sources(self._module) + repr((self._name, str(signature), target)).encode())
        return place / f"{self._name}-{digest.hexdigest()[:32]}.nbc"

    # the rest of the interface a dispatcher may ask for
    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: files of other sources have other names."""


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
