"""Labelled pictures before they are decoded: what each is called, what it shows, and how its bytes are had."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cnncli.errors import InvalidInputError

PARTS = ("train", "validation", "test")
MAX_PICTURES = 1_000_000
_LONGEST_CLASS = 200  # characters

# the number of a picture and a function that returns its bytes, from any thread, or raises CnnError
Contents = Iterator[tuple[int, Callable[[], bytes]]]


@dataclass(frozen=True)
class Labelled:
    """One picture.

    Attributes
    ----------
    name : str
        Below the folder, in the archive or in the table.
    part : str
        ``train``, ``validation`` or ``test``.
    target : int or tuple of float
        Index into the class names, or the target numbers.
    """

    name: str
    part: str
    target: int | tuple[float, ...]


@dataclass(frozen=True)
class PictureSource:
    """Labelled pictures of one data set.

    Attributes
    ----------
    where : str
        As the user typed it.
    pictures : tuple of Labelled
        Those for training first, then validation, then test.
    classes : tuple of str
        Of the classes or of the target numbers.
    contents : callable
        Gives every picture once, in any order.
    targets : str
        As in a `Dataset`.
    notes : tuple of str
        What was left out.
    base : str or None
        In front of the names of pictures in messages; None: `where`.
    """

    where: str
    pictures: tuple[Labelled, ...]
    classes: tuple[str, ...]
    contents: Callable[[], Contents]
    targets: str = "classes"
    notes: tuple[str, ...] = ()
    base: str | None = None

    def path(self, number: int) -> str:
        """Return the name of a picture for messages."""
        base = self.where if self.base is None else self.base
        return f"{base.rstrip('/')}/{self.pictures[number].name}" if base else self.pictures[number].name


def source_name(where: str) -> str:
    """Return a short name for a data set of the user's, which may stand in the name of a folder.

    Examples
    --------
    >>> source_name("/data/my photos.tar.gz")
    'my-photos'
    """
    base = Path(where).absolute().name or Path(where).resolve().name
    base = re.sub(r"(\.tar)?\.(gz|bz2|xz|tgz|tar|zip|npz|csv)$", "", base, flags=re.IGNORECASE)
    return re.sub(r"[^\w.]+", "-", base, flags=re.ASCII).strip("-.") or "pictures"


def check_class_names(classes: tuple[str, ...], where: str) -> None:
    """Refuse class names that a checkpoint cannot hold.

    Raises
    ------
    InvalidInputError
        A name that is empty or too long.
    """
    for name in classes:
        if not name.strip() or len(name) > _LONGEST_CLASS:
            message = f"class name {name[:40]!r} has {len(name)} characters, not 1 to {_LONGEST_CLASS}"
            raise InvalidInputError(message, where=where, hint="rename it")


def in_order(pictures: list[Labelled]) -> tuple[Labelled, ...]:
    """Return pictures by part; within a part the classes take turns, so that the first N hold all of them alike."""
    met: dict[tuple[str, object], int] = {}
    keys = []
    for position, picture in enumerate(pictures):
        group = (picture.part, picture.target)
        met[group] = turn = met.get(group, -1) + 1
        order = turn if isinstance(picture.target, int) else position
        keys.append((PARTS.index(picture.part), order, picture.target, position))
    return tuple(pictures[key[3]] for key in sorted(keys))
