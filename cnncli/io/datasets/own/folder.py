"""A folder of pictures."""

from __future__ import annotations

# ruff: noqa: PTH118
# names are bytes that a user typed, kept as they are
import os
from collections.abc import Callable
from functools import partial

from cnncli.errors import InvalidInputError
from cnncli.io.atomic import read_regular_file
from cnncli.io.datasets.own.layout import Listing, arrange
from cnncli.io.datasets.own.source import MAX_PICTURES, Contents, PictureSource
from cnncli.io.file_errors import read_error
from cnncli.io.images.image import MAX_FILE_BYTES


def folder_source(where: str) -> PictureSource:
    """Return the pictures below a folder, arranged by `arrange`.

    Raises
    ------
    InvalidInputError, CnnError
        As `arrange`; too many files, or a folder that cannot be read.
    """
    layout = arrange(list_folder(where), where)
    names = [os.path.join(where, picture.name) for picture in layout.pictures]
    return PictureSource(where, layout.pictures, layout.classes, partial(read_files, names), notes=layout.notes)


def list_folder(where: str) -> Listing:
    """Return all that is below a folder; links are not followed.

    Raises
    ------
    InvalidInputError
        More than a million files.
    CnnError
        A folder that cannot be read.
    """
    listing = Listing()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        path = os.path.join(where, folder)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if entry.is_symlink():
                        listing.links.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        listing.folders.append(name)
                        waiting.append(f"{name}/")
                    else:
                        listing.files.append(name)
        except OSError as error:
            raise read_error(path, error) from None
        if len(listing.files) > MAX_PICTURES:
            message = f"holds more than {MAX_PICTURES} files"
            raise InvalidInputError(message, where=where, hint="give a folder that holds the pictures alone")
    return listing


def read_files(names: list[str]) -> Contents:
    """Give the content of files; each is read where it is decoded."""
    for number, name in enumerate(names):
        read: Callable[[], bytes] = partial(read_regular_file, name, MAX_FILE_BYTES)
        yield number, read
