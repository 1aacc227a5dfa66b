"""The store of compiled code: one file per routine, written whole or not at all, and never trusted blindly.

Importing Numba and compiling takes seconds; linking the machine code of a routine takes a few milliseconds. So a
caller names a routine by text (`routine`), and only a routine that is not in the store makes Numba and the module that
defines it be imported.

A file holds the SHA-256 of the rest, the name of a function, what it takes, and an object file that defines it. The
name of a file is a hash of everything that its content depends on: every source of the kernels and of what compiles
them, the versions, the processor and the vector width. A file that is missing, truncated or changed means "compile
again"; a folder that cannot be used, or that somebody else could write, means "compile in memory". Importing this
imports neither Numba nor LLVM.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib
import importlib.util
import os
import platform
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cnncli.compute import notices

_PACKAGE = Path(__file__).parent.parent
_SOURCES_OF_CODE = ("compute", "kernels")  # folders of the package
_HASH_BYTES = 32
_SUFFIX = ".code"
_OLD_SUFFIXES = (_SUFFIX, ".nbc", ".native", ".tmp")  # what this and earlier versions leave
_UNUSED_DAYS = 30  # after which a file is deleted
_DAY_S = 86400
#: of waiting for another process that compiles
SAY_AFTER_S, WAIT_AT_MOST_S = 1.0, 20.0
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # of flock: somebody else has the lock


@dataclass(frozen=True)
class Compiled:
    """What Numba made of a routine.

    Parameters
    ----------
    symbol : str
        Name of the function in the object file.
    code : bytes
        Object file; empty where it holds addresses of this process and cannot be kept.
    address : int
        Where Numba has put the function in this process.
    takes : str
        Description of the operands (arguments.py), on one line; empty where the caller knows them.
    """

    symbol: str
    code: bytes
    address: int
    takes: str = ""


@dataclass(frozen=True)
class Code:
    """A routine in this process: its address, and the description of the operands it takes."""

    address: int
    takes: str = ""


@dataclass(frozen=True)
class Routine:
    """The name of a compiled function.

    Parameters
    ----------
    module, function : str
        File of this folder, and what it defines: an object with ``compile(dtype) -> Compiled``, or, with
        `parameters`, a function that makes one of them.
    parameters : tuple of int
        Of the variant, such as the size of a tile.
    """

    module: str
    function: str
    parameters: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the variant: ``contract4x6x1``."""
        return self.function + "x".join(map(str, self.parameters))

    def address(self, dtype: str = "float32") -> int:
        """Return the address of the code for one type of numbers: from the store, else compiled."""
        return self.code(dtype).address

    def code(self, dtype: str = "float32") -> Code:
        """Return the code for one type of numbers: from the store, else compiled."""
        return code(self.module, self.name, dtype, lambda: self._compile(dtype))

    def takes(self, dtype: str = "float32") -> str:
        """Return the description of what it takes; compile nothing."""
        with _turn:
            known = _load(self.module, self.name, dtype)
        return known.takes if known else str(self._made().takes())

    def preload(self, dtype: str = "float32") -> None:
        """Link the code now if it is in the store; compile nothing."""
        with _turn:
            _load(self.module, self.name, dtype)

    def can_be_kept(self, dtype: str = "float32") -> bool:
        """Return whether there is a store and the code is neither there nor in this process."""
        if (self.module, self.name, dtype) in _codes:
            return False
        path = _path(self.module, self.name, dtype)
        return path is not None and not path.exists()

    def _compile(self, dtype: str) -> Compiled:
        compiled: Compiled = self._made().compile(dtype)
        return compiled

    def _made(self) -> Any:
        made = getattr(importlib.import_module(f"cnncli.{self.module}"), self.function)
        return made(*self.parameters) if self.parameters else made


def routine(name: str, *parameters: int) -> Routine:
    """Return the handle of a kernel, such as ``pool2d.maxpool_forward``; its address is what loads something."""
    module, _, function = name.rpartition(".")
    return Routine(f"kernels.{module}", function, parameters)


_codes: dict[tuple[str, str, str], Code] = {}
_turn = threading.RLock()
# a child of a process that is compiling would find this lock, and those of LLVM, held for ever
os.register_at_fork(before=_turn.acquire, after_in_parent=_turn.release, after_in_child=_turn.release)
_unavailing: list[int] = []  # pids for which waiting has been given up
_swept: list[Path] = []  # folders


def code(module: str, name: str, dtype: str, compile_it: Callable[[], Compiled]) -> Code:
    """Return a routine in this process.

    Parameters
    ----------
    module, name, dtype : str
        What identifies it among the routines of this folder.
    compile_it : callable
        Called where the store does not have it.
    """
    with _turn:
        known = _load(module, name, dtype)
        if known is not None:
            return known
        path = _path(module, name, dtype)
        with _lock_to_compile(path):
            known = _load(module, name, dtype)  # another process may have made it meanwhile
            if known is None:
                for listener in notices.on_compile:
                    listener(f"{name}-{dtype}")
                made = compile_it()
                known = _codes[module, name, dtype] = Code(made.address, made.takes)
                _keep(path, made)
        return known


def _load(module: str, name: str, dtype: str) -> Code | None:
    """Return a routine that is linked already or can be linked from its file."""
    key = module, name, dtype
    path = _path(*key) if key not in _codes else None
    if path is not None:
        from cnncli.compute.linking import link

        with contextlib.suppress(OSError, ValueError, RuntimeError):
            symbol, takes, content = _read(path)
            _codes[key] = Code(link(symbol, content), takes)
    return _codes.get(key)


def _read(path: Path) -> tuple[str, str, bytes]:
    with path.open("rb") as file:
        data = file.read()
        is_stale = time.time() - os.fstat(file.fileno()).st_mtime > _DAY_S
    content = data[_HASH_BYTES:]
    if hashlib.sha256(content).digest() != data[:_HASH_BYTES]:
        raise ValueError("damaged")
    if is_stale:
        with contextlib.suppress(OSError):
            os.utime(path)  # in use: not to be deleted
    symbol, takes, content = content.split(b"\n", 2)
    return symbol.decode(), takes.decode(), content


def _keep(path: Path | None, made: Compiled) -> None:
    """Write a file; a full disk only means that the routine is compiled again next time."""
    from cnncli.compute.linking import is_linkable

    # a source that changed since it was imported must not lend its name to the code of the old one
    if path is None or not made.code or _digest_of_sources() != _SOURCES or not is_linkable(made.code):
        return
    content = f"{made.symbol}\n{made.takes}\n".encode() + made.code
    with contextlib.suppress(OSError):
        _replace_file(path, hashlib.sha256(content).digest() + content)
    _sweep(path.parent)


def _replace_file(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sweep(place: Path) -> None:
    """Delete, once per process, the files of the folder that nobody has used for a month."""
    if place in _swept:
        return
    _swept.append(place)
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            with contextlib.suppress(OSError):
                if path.suffix in _OLD_SUFFIXES and time.time() - path.lstat().st_mtime > _UNUSED_DAYS * _DAY_S:
                    path.unlink()


def _digest_of_sources() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(path for folder in _SOURCES_OF_CODE for path in (_PACKAGE / folder).rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(data)}\n".encode() + data)
    return digest.digest()


# read now, before anything that is compiled: see _keep
_SOURCES = _digest_of_sources()


@cache
def _fingerprint() -> str:
    """Return what all files of this machine, these versions and these sources have in common."""
    import llvmlite
    import llvmlite.binding as llvm

    from cnncli.compute.host import LANES

    numba = importlib.util.find_spec("numba")  # does not import it
    version = Path(numba.origin).with_name("_version.py").read_bytes() if numba and numba.origin else b""
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k not in _INDIFFERENT)
    facts = (
        *(_SOURCES, version, llvmlite.__version__, np.__version__, platform.python_version(), settings, LANES),
        *(sys.platform, platform.machine(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()),
    )
    return repr(facts)


_INDIFFERENT = ("NUMBA_NUM_THREADS", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")  # settings that change no code


def _path(module: str, name: str, dtype: str) -> Path | None:
    place = folder()
    if place is None:
        return None
    digest = hashlib.sha256(repr((_fingerprint(), module, name, dtype)).encode())
    return place / f"{module}.{name}-{dtype}-{digest.hexdigest()[:32]}{_SUFFIX}"


@cache
def folder() -> Path | None:
    """Return the folder of compiled code, or None where there is none that only the user can write.

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


@contextlib.contextmanager
def _lock_to_compile(path: Path | None) -> Iterator[None]:
    """Hold a lock of the folder, so that two processes do not compile the same routine side by side.

    Sixteen locks, chosen by the name of the file: different routines are mostly compiled at the same time. A lock saves
    work, nothing depends on it: without it two processes write the same file one after the other. So it is done without
    where the file system has no locks, and where its owner does not come to an end.
    """
    try:
        if path is None:
            raise OSError("no folder")
        lock = os.open(path.parent / f".lock-{path.stem[-1]}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        is_ours = _wait_for(lock, path)
        yield
        if is_ours:
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _wait_for(lock: int, path: Path) -> bool:
    """Return whether the lock is ours: False where the file is there, or it is no use to wait any longer."""
    begin, has_said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                return False
        else:
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)
                os.pwrite(lock, str(os.getpid()).encode(), 0)
            return True
        text = os.pread(lock, 20, 0)
        owner = int(text) if text.isdigit() else 0
        waited_s = time.monotonic() - begin
        if path.exists() or owner in _unavailing:
            return False
        if waited_s > WAIT_AT_MOST_S:
            _unavailing.append(owner)
            return False
        if waited_s > SAY_AFTER_S and not has_said:
            has_said = True
            _say_who_compiles(owner)
        time.sleep(0.05)


def _say_who_compiles(owner: int) -> None:
    name = f"pid {owner}" if owner else "another process"
    try:
        if owner and os.getpgid(owner) == os.getpgrp():
            return  # of the same command: it has said that it compiles
    except OSError:
        name = "another process"  # the one that wrote its number there has ended
    for listener in notices.on_wait:
        listener(f"waiting for {name}, which is compiling kernels")
