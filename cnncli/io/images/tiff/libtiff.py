"""The libtiff inside Pillow: which compressions it was built with, and what it would print on standard error."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# module, format, arguments (a va_list, which Python cannot read)
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_thread = threading.local()


def codec_is_there(compression: int) -> bool:
    """Whether Pillow's libtiff was built with a compression; True where it cannot be asked."""
    library = _library()
    return library is None or bool(library.TIFFIsCODECConfigured(compression))


@contextmanager
def reported_errors() -> Iterator[list[str]]:
    """Collect the names of the decoders that found an error in this thread; libtiff prints nothing any more.

    libtiff repairs what it can (a bad code word in a fax ends the line), prints a line and returns success.
    """
    found: list[str] = []
    if (library := _library()) is not None:
        library.TIFFSetErrorHandler(_record)
        library.TIFFSetWarningHandler(None)
    _thread.names = found
    try:
        yield found
    finally:
        _thread.names = None


@_Handler
def _record(module: bytes | None, _format: bytes | None, _arguments: Any) -> None:
    names = getattr(_thread, "names", None)
    if names is not None:
        names.append((module or b"libtiff").decode("ascii", "replace"))


@cache
def _library() -> Any:
    """Return the libtiff that Pillow is linked to; None where its symbols are hidden."""
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)  # a look-up also searches what this library is linked to
        for name in ("TIFFIsCODECConfigured", "TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            getattr(library, name)
    except (OSError, AttributeError):
        return None
    return library
