"""The folder of compiled kernels, and whole files in it; importing this does not import Numba."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from functools import cache
from pathlib import Path

from cnncli.kernels import notices


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


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of the folder so that it is there whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
