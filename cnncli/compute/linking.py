"""Machine code in an object file becomes callable: linked by LLVM, without Numba."""

from __future__ import annotations

import ctypes
import struct
from functools import cache
from typing import Any

# what Numba's wrapper would call if a routine raised: routines never do, but the linker wants addresses
_NEVER_CALLED = (
    *("NRT_Free", "NRT_Allocate", "NRT_incref", "NRT_decref", "numba_do_raise", "numba_gil_ensure"),
    *("numba_gil_release", "numba_runtime_build_excinfo_struct", "numba_unpickle"),
)
_engines: list[Any] = []  # code lives as long as its engine


def link(symbol: str, code: bytes) -> int:
    """Return the address of a function of an object file.

    Every object file has an engine of its own, so that equal names in two of them cannot be mixed up.

    Raises
    ------
    ValueError, RuntimeError
        If it is no object file of this machine, refers to a name that is unknown here, or has no such function.
    """
    if not is_linkable(code):
        raise ValueError("not linkable")
    import llvmlite.binding as llvm

    for name in _NEVER_CALLED:
        if llvm.address_of_symbol(name) is None:  # else Numba is here and has set it
            llvm.add_symbol(name, ctypes.cast(_process().abort, ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    found = int(engine.get_function_address(symbol))
    if not found:
        raise ValueError("no such symbol")
    return found


def is_linkable(code: bytes) -> bool:
    """Whether every name that the code refers to is known: LLVM would end the process for one that is not."""
    try:
        names = undefined_symbols(code)
    except (struct.error, IndexError, OverflowError, ValueError):
        return False
    return all(name in _NEVER_CALLED or hasattr(_process(), name) for name in names)


def undefined_symbols(code: bytes) -> list[str]:
    """Return the names that an object file of 64 bits, low byte first, refers to and does not define.

    ELF (Linux): TIS, Executable and Linking Format 1.2, figures 1-8 and 1-15. Mach-O (macOS): Apple's
    ``mach-o/loader.h`` and ``mach-o/nlist.h``; the underscore that C names begin with there is left out.

    Raises
    ------
    ValueError
        For any other format.
    """
    if code[:6] == b"\x7fELF\x02\x01":
        return _undefined_in_elf(code)
    if code[:4] == b"\xcf\xfa\xed\xfe":
        return _undefined_in_mach_o(code)
    raise ValueError("neither ELF nor Mach-O of 64 bits, low byte first")


def _undefined_in_elf(code: bytes) -> list[str]:
    found = []
    (table,), (count,) = struct.unpack_from("<Q", code, 40), struct.unpack_from("<H", code, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + 64 * i) for i in range(count)]
    for _, kind, _, _, start, size, link_to, *_ in sections:
        if kind == 2:  # the table of symbols; its first entry is empty
            for place in range(start + 24, start + size, 24):
                name, _, _, section = struct.unpack_from("<IBBH", code, place)
                if section == 0:
                    found.append(_text(code, sections[link_to][4] + name))
    return found


def _undefined_in_mach_o(code: bytes) -> list[str]:
    found = []
    place = 32
    for _ in range(struct.unpack_from("<I", code, 16)[0]):
        command, size = struct.unpack_from("<II", code, place)
        if command == 2:  # the table of symbols
            first, count, strings, _ = struct.unpack_from("<IIII", code, place + 8)
            for entry in range(first, first + 16 * count, 16):
                name, kind = struct.unpack_from("<IB", code, entry)
                if kind & 0x0E == 0:
                    found.append(_text(code, strings + name).removeprefix("_"))
        place += size
    return found


def _text(code: bytes, place: int) -> str:
    return code[place : code.index(b"\0", place)].decode()


@cache
def _process() -> ctypes.CDLL:
    return ctypes.CDLL(None)
