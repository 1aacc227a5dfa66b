"""Fetch files over https: known sha256, mirrors in order, nothing under its final name before the check."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cnncli.errors import CnnError, UnavailableError
from cnncli.io.atomic import make_directory, read_regular_file, write_atomically
from cnncli.io.datasets.remote_file import RemoteFile

_STALL_S = 15.0  # a mirror that sends nothing for so long is given up
_CHUNK = 1 << 16  # bytes
_SAY_EVERY_S = 5.0
HTTPS = ("https://",)


class _UnusableMirrorError(Exception):
    """Why a mirror did not give a file, in a few words."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, to trusted addresses only."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self.trusted = trusted

    def redirect_request(self, *request: Any) -> urllib.request.Request | None:
        address = request[-1]
        if not address.startswith(self.trusted):
            raise _UnusableMirrorError(f"redirected to {address[:80]}, which is not {self.trusted[0]}")
        return super().redirect_request(*request)


def is_offline() -> bool:
    """Return True where ``CNN_OFFLINE`` asks never to touch the network."""
    return os.environ.get("CNN_OFFLINE", "") not in ("", "0")


def cache_folder(data_dir: Path | None) -> Path:
    """Return where data sets live: `data_dir`, else the user's cache.

    Raises
    ------
    CnnError
        The user has no home directory, as in a container with a user id that no account has.
    """
    if data_dir is not None:
        return data_dir
    import platformdirs

    try:
        return platformdirs.user_cache_path("cnncli") / "data"
    except RuntimeError:
        hint = "give --data-dir, or set CNN_DATA_DIR or HOME"
        raise CnnError("this user has no home directory to keep data sets in", hint=hint) from None


def download(
    files: Sequence[RemoteFile],
    mirrors: Sequence[str],
    folder: Path,
    title: str,
    say: Callable[[str], None],
    *,
    stall_s: float = _STALL_S,
    trusted: tuple[str, ...] = HTTPS,
) -> None:
    """Fetch `files` into `folder`; a file that is there already with the right checksum is kept.

    Parameters
    ----------
    files : sequence of RemoteFile
        Fetched one after the other.
    mirrors : sequence of str
        Base addresses, tried in order for each file.
    folder : path
        Created if missing; where nothing is fetched, it is removed again.
    title : str
        Of the data set, for messages.
    say : callable
        Takes one line of progress.
    stall_s : float
        A mirror that sends nothing for so long is given up [s].
    trusted : tuple of str
        What every address begins with, also one that a mirror redirects to.

    Raises
    ------
    UnavailableError
        Offline, no mirror answered, or none sent the right bytes.
    CnnError
        The folder cannot be written.
    """
    names = ", ".join(file.name for file in files)
    address = mirrors[0] + files[0].name
    hint = f"put {names} from {mirrors[0]} into {folder}, or use --dataset digits, which works offline"
    if is_offline():
        raise UnavailableError(f"{title} is not on this machine and CNN_OFFLINE is set", where=address, hint=hint)
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        make_directory(folder)
        for file in files:
            if _is_there(folder / file.name, file):
                continue
            say(f"fetching {file.name} ({file.size_bytes / 1e6:.1f} MB)")
            write_atomically(folder / file.name, _fetch(file, mirrors, stall_s, trusted, say))
    except BaseException as error:
        for path in new_folders:
            with contextlib.suppress(OSError):  # the files that were fetched before stay
                path.rmdir()
        if isinstance(error, _UnusableMirrorError):
            message = f"{title} is not on this machine and could not be fetched ({error})"
            raise UnavailableError(message, where=address, hint=hint) from None
        raise


def _is_there(path: Path, file: RemoteFile) -> bool:
    if not path.exists():
        return False
    try:
        return hashlib.sha256(read_regular_file(path, file.size_bytes)).hexdigest() == file.sha256
    except CnnError:
        return False


def _fetch(
    file: RemoteFile, mirrors: Sequence[str], stall_s: float, trusted: tuple[str, ...], say: Callable[[str], None]
) -> bytearray:
    """Return the content from the first mirror that has it; raise with the reasons of all of them."""
    reasons = []
    for mirror in mirrors:
        try:
            return _fetch_one(mirror + file.name, file, stall_s, trusted, say)
        except _UnusableMirrorError as error:
            reasons.append(f"{urlsplit(mirror).netloc}: {error}")
    raise _UnusableMirrorError(", ".join(reasons))


def _fetch_one(
    address: str, file: RemoteFile, stall_s: float, trusted: tuple[str, ...], say: Callable[[str], None]
) -> bytearray:
    if not address.startswith(trusted):
        raise _UnusableMirrorError(f"the address does not begin with {trusted[0]}")
    opener = urllib.request.build_opener(_Redirects(trusted))
    opener.addheaders = [("User-Agent", "cnncli")]
    content = bytearray()
    said_at = time.monotonic()
    try:
        with opener.open(address, timeout=stall_s) as response:
            while part := response.read1(_CHUNK):
                content += part
                if len(content) > file.size_bytes:
                    raise _UnusableMirrorError(f"sent more than the {file.size_bytes} B of {file.name}")
                if time.monotonic() - said_at >= _SAY_EVERY_S:
                    said_at = time.monotonic()
                    say(f"{file.name}: {len(content) / 1e6:.1f} of {file.size_bytes / 1e6:.1f} MB")
    except urllib.error.HTTPError as error:
        error.close()
        raise _UnusableMirrorError(f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _UnusableMirrorError(_in_words(reason, stall_s)) from None
    if len(content) != file.size_bytes:
        raise _UnusableMirrorError(f"sent {len(content)} of the {file.size_bytes} B of {file.name}")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _UnusableMirrorError(f"sent a {file.name} with another sha256")
    return content


def _in_words(reason: Any, stall_s: float) -> str:
    if isinstance(reason, TimeoutError):
        return f"sent nothing for {stall_s:g} s"
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return text.splitlines()[0][:120]
