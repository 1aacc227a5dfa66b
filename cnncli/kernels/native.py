"""Machine code of finished kernels, run without Numba: a warm start of a few hundredths of a second.

Importing Numba and rebuilding its view of a stored kernel takes half a second; the machine code itself is a few dozen
KiB that LLVM links in a moment. So the object code of a kernel is kept beside Numba's own file, under a name that is a
hash of everything it depends on, with a SHA-256 of the content; it holds code and a symbol's name, no pickle. Whatever
is missing or damaged is made again by `Kernel`.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import importlib.util
import os
import platform
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from cnncli.kernels.cache_folder import folder, replace_file
from cnncli.kernels.host import LANES

_HASH_BYTES = 32
# what Numba's wrapper would call if a kernel raised: kernels never do, but the linker wants addresses
_NEVER_CALLED = (
    *("NRT_Free", "NRT_Allocate", "NRT_incref", "NRT_decref", "numba_do_raise", "numba_gil_ensure"),
    *("numba_gil_release", "numba_runtime_build_excinfo_struct", "numba_unpickle"),
)
_engines: list[Any] = []  # code lives as long as its engine


@cache
def address(module: str, name: str, dtype: str = "float32") -> int:
    """Return the address of the kernel `name` of ``cnncli.kernels.<module>`` for a kind of number.

    It is linked from the stored machine code; without that, Numba is imported and makes it, and it is stored.

    Parameters
    ----------
    module, name : str
        File and function.
    dtype : str
        ``float32`` or ``float64``.
    """
    path = _path(module, name, dtype)
    if path is not None and "numba" not in sys.modules:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            return _link(*_read(path))
    made = getattr(importlib.import_module(f"cnncli.kernels.{module}"), name)
    result = int(made.address(dtype))
    if path is not None and not _is_whole(path) and (stored := made.stored(dtype)) is not None:
        symbol, code = stored
        content = symbol.encode() + b"\n" + code
        if _linkable(code):
            with contextlib.suppress(OSError):
                replace_file(path, hashlib.sha256(content).digest() + content)
    return result


def preload(module: str, name: str, dtype: str = "float32") -> None:
    """Link a kernel now if its machine code is stored; compile nothing."""
    path = _path(module, name, dtype)
    if path is not None and path.exists():
        address(module, name, dtype)


def _read(path: Path) -> tuple[str, bytes]:
    data = path.read_bytes()
    content = data[_HASH_BYTES:]
    if hashlib.sha256(content).digest() != data[:_HASH_BYTES]:
        raise ValueError("damaged")
    symbol, _, code = content.partition(b"\n")
    return symbol.decode(), code


def _is_whole(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        _read(path)
        return True
    return False


def _linkable(code: bytes) -> bool:
    """Whether every name that the code refers to is known: the linker would end the process for one that is not.

    Only ELF objects (Linux) are looked into; TIS, Executable and Linking Format 1.2, figures 1-8 and 1-15.
    """
    if code[:6] != b"\x7fELF\x02\x01":  # 64 bits, low byte first
        return False
    process = ctypes.CDLL(None)
    (table,), (count,) = struct.unpack_from("<Q", code, 40), struct.unpack_from("<H", code, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + 64 * i) for i in range(count)]
    for _, kind, _, _, start, size, link, *_ in sections:
        if kind != 2:  # the table of symbols
            continue
        names = sections[link][4]
        for place in range(start + 24, start + size, 24):
            name, _, _, section = struct.unpack_from("<IBBH", code, place)
            if section == 0:
                word = code[names + name : code.index(b"\0", names + name)].decode()
                if word not in _NEVER_CALLED and not hasattr(process, word):
                    return False
    return True


def _link(symbol: str, code: bytes) -> int:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for missing in _NEVER_CALLED:
        llvm.add_symbol(missing, abort)
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    found = int(engine.get_function_address(symbol))
    if not found:
        raise ValueError("no such symbol")
    return found


def _path(module: str, name: str, dtype: str) -> Path | None:
    place = folder()
    numba = importlib.util.find_spec("numba")  # does not import it
    if place is None or numba is None or numba.origin is None:
        return None
    here, there = Path(__file__).parent, Path(numba.origin).parent
    files = [
        "host.py",
        "simd.py",
        "tile.py",
        "cache.py",
        "kernel.py",
        "native.py",
        f"{module}.py",
        f"{module}_words.py",
        f"{module}_simd.py",
    ]
    digest = hashlib.sha256()
    for path in (*(here / file for file in files), there / "_version.py"):
        digest.update(path.read_bytes() if path.exists() else b"")
    features = llvm.get_host_cpu_features().flatten()
    facts = (name, dtype, LANES, llvm.get_host_cpu_name(), features, sys.platform, os.environ.get("NUMBA_OPT", ""))
    digest.update(repr((*facts, llvmlite.__version__, np.__version__, platform.python_version())).encode())
    return place / f"{name}-{dtype}-{digest.hexdigest()[:32]}.native"
