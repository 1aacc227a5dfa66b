"""What is known of a file to fetch. Apart from `download`, so that a list of data sets imports no HTTP."""

from __future__ import annotations

from dataclasses import dataclass


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
