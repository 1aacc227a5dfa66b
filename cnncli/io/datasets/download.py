"""Fetch files over https: known sha256, mirrors in order, nothing under its final name before the check."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from cnncli.errors import CnnError, UnavailableError
from cnncli.io.atomic import make_directory

_STALL_S = 15  # a mirror that sends nothing for so long is given up
_CHUNK = 1024  # bytes


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes
    ----------
    name : str
        Below each mirror and in the folder.
    sha256 : str
        What decides.
    size_bytes : int
        Nothing longer is accepted.
    """

    name: str
    sha256: str
    size_bytes: int


@dataclass
class _SizeGuard:
    """What pooch takes for a progress bar: here it stops a mirror that sends more than it should."""

    limit: int
    total: int = 0
    seen: int = field(default=0, init=False)

    def update(self, count: int) -> None:
        self.seen += count
        if self.seen > self.limit + _CHUNK:  # pooch counts whole chunks
            raise ValueError(f"more than {self.limit} B")

    def reset(self) -> None:
        self.seen = 0

    def close(self) -> None:
        """Nothing is open."""


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
    try:
        return platformdirs.user_cache_path("cnncli") / "data"
    except RuntimeError:
        hint = "give --data-dir, or set CNN_DATA_DIR or HOME"
        raise CnnError("this user has no home directory to keep data sets in", hint=hint) from None


def download(
    files: Sequence[RemoteFile], mirrors: Sequence[str], folder: Path, title: str, say: Callable[[str], None]
) -> None:
    """Fetch `files` into `folder`; a file that is there already with the right checksum is kept.

    Parameters
    ----------
    files : sequence of RemoteFile
        Fetched one after the other.
    mirrors : sequence of str
        Base addresses, tried in order for each file.
    folder : path
        Created if missing.
    title : str
        Of the data set, for messages.
    say : callable
        Takes one line of progress.

    Raises
    ------
    UnavailableError
        Offline, no mirror answered, or none sent the right bytes.
    """
    address = mirrors[0] + files[0].name
    names = ", ".join(file.name for file in files)
    way_out = f"put {names} from {mirrors[0]} into {folder}, or use --dataset digits, which works offline"
    if is_offline():
        raise UnavailableError(f"{title} is not on this machine and CNN_OFFLINE is set", where=address, hint=way_out)
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    make_directory(folder)
    for file in files:
        say(f"fetching {file.name} ({file.size_bytes / 1e6:.1f} MB)")
        reasons = []
        for mirror in mirrors:
            reason = _fetch(mirror + file.name, file, folder)
            if not reason:
                break
            reasons.append(reason)
        else:
            for path in new_folders:
                if not any(path.iterdir()):
                    path.rmdir()
            message = f"{title} is not on this machine and could not be fetched ({', '.join(reasons)})"
            raise UnavailableError(message, where=address, hint=way_out)


def _fetch(address: str, file: RemoteFile, folder: Path) -> str:
    """Return why `address` did not give the file, or nothing where it did."""
    import pooch  # slow to import, and seldom needed

    pooch.get_logger().setLevel(logging.ERROR)
    downloader = pooch.HTTPDownloader(progressbar=_SizeGuard(file.size_bytes), chunk_size=_CHUNK, timeout=_STALL_S)
    try:
        pooch.retrieve(address, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=downloader)
    except (OSError, ValueError, RuntimeError) as error:
        # the texts of connection errors are several lines of object addresses; their class says it
        return str(error).partition(". ")[0][:120] if type(error) is ValueError else type(error).__name__
    return ""
