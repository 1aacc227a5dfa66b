"""What the names of files say: which picture is of which class, and whether it is for training or for tests."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from cnncli.errors import InvalidInputError
from cnncli.io.datasets.own.source import PARTS, Labelled, check_class_names, in_order
from cnncli.io.images.formats import IMAGE_EXTENSIONS

PART_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_HINT = "put the pictures of each class into a folder with its name: DIR/cat/1.jpg, or DIR/train/cat/1.jpg"
_NAMED = 3  # files that a note names


@dataclass
class Listing:
    """The files of a folder or an archive, by their names below it with ``/`` between the parts.

    Attributes
    ----------
    files, folders : list of str
        Regular files and folders, links not among them.
    links : list of str
        Which are not followed.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """Pictures with their classes, and what was left out in words."""

    pictures: tuple[Labelled, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def is_picture_name(name: str) -> bool:
    """Return True for a name that ends like that of a picture."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Return True where a part of the name marks what operating systems put beside the files of users."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def arrange(listing: Listing, where: str) -> Layout:
    """Return the pictures of ``train/CLASS/…``, ``val/CLASS/…``, ``test/CLASS/…`` or of ``CLASS/…``.

    Classes are sorted by the bytes of their names. Hidden files, links, and files that are not pictures by name are
    left out and counted. One folder around all others is looked through.

    Parameters
    ----------
    listing : Listing
        In any order.
    where : str
        Name of the folder or archive, for messages.

    Raises
    ------
    InvalidInputError
        No pictures, fewer than two classes, a class without pictures, or classes that differ between the parts.
    """
    visible = [name for name in listing.files if not is_hidden(name)]
    names = sorted(filter(is_picture_name, visible), key=os.fsencode)
    others = sorted((name for name in visible if not is_picture_name(name)), key=os.fsencode)
    if not names:
        _refuse_empty(others, where)
    folders = [name for name in listing.folders if not is_hidden(name)]
    top = _surrounding(names)
    inner = [name.removeprefix(top) for name in names]
    inner_folders = [name.removeprefix(top) for name in folders if name.startswith(top)]
    heads = {name.split("/")[0] for name in inner if "/" in name}
    split = {head for head in heads if head.lower() in PART_NAMES}
    if split and not any(head.lower() == "train" for head in split):
        words = ", ".join(f"{head}/" for head in sorted(split))
        raise InvalidInputError(f"holds {words} but no train/", where=where, hint=_HINT)
    found, beside = (_in_parts if split else _flat)(inner)
    classes = _checked_classes(found, inner_folders, is_split=bool(split), where=where)
    number = {name: index for index, name in enumerate(classes)}
    pictures = [Labelled(top + name, part, number[label]) for part, label, name in found]
    hidden = len(listing.files) - len(visible)
    left_out = {
        "link": sorted(listing.links, key=os.fsencode),
        "not a picture": others,
        "beside the class folders": [top + name for name in beside],
    }
    return Layout(in_order(pictures), classes, _left_out(hidden, left_out))


_Found = list[tuple[str, str, str]]  # part, class, name


def _in_parts(names: Sequence[str]) -> tuple[_Found, list[str]]:
    found, beside = [], []
    for name in names:
        head, _, rest = name.partition("/")
        label, slash, _ = rest.partition("/")
        if slash and head.lower() in PART_NAMES:
            found.append((PART_NAMES[head.lower()], label, name))
        else:
            beside.append(name)
    return found, beside


def _flat(names: Sequence[str]) -> tuple[_Found, list[str]]:
    found = [("train", name.split("/")[0], name) for name in names if "/" in name]
    return found, [name for name in names if "/" not in name]


def _surrounding(names: Sequence[str]) -> str:
    """Return the folder around everything, as an unpacked archive has one, with its ``/``; mostly empty."""
    top = ""
    while True:
        inner = [name.removeprefix(top) for name in names]
        heads = {name.split("/")[0] for name in inner}
        is_around = len(heads) == 1 and all(name.count("/") >= 2 for name in inner)
        if not is_around or next(iter(heads)).lower() in PART_NAMES:
            return top
        top += f"{next(iter(heads))}/"


def _checked_classes(found: _Found, folders: Collection[str], *, is_split: bool, where: str) -> tuple[str, ...]:
    members: dict[str, set[str]] = defaultdict(set)
    for part, label, _ in found:
        members[part].add(label)
    classes = tuple(sorted(members["train"], key=os.fsencode))
    check_class_names(classes, where)
    for folder in sorted(folders):
        pieces = folder.split("/")
        part = PART_NAMES.get(pieces[0].lower(), "") if is_split else "train"
        if part and len(pieces) == 1 + is_split and pieces[-1] not in members[part]:
            hint = "put pictures into it, or remove it"
            raise InvalidInputError(f"class {folder!r} holds no pictures", where=where, hint=hint)
    for part in PARTS[1:]:
        if members[part] and members[part] != set(classes):
            more, less = members[part] - set(classes), set(classes) - members[part]
            words = [
                f"{what} {', '.join(map(repr, sorted(some)[:5]))}"
                for what, some in (("has", more), ("lacks", less))
                if some
            ]
            message = f"the classes of {part} and train differ: {part} {' and '.join(words)}"
            raise InvalidInputError(message, where=where, hint="give both the same class folders")
    if len(classes) < 2:
        message = f"found 1 class ({classes[0]!r}); need 2 or more" if classes else "pictures in no class folder"
        raise InvalidInputError(message, where=where, hint=_HINT)
    return classes


def _refuse_empty(others: Sequence[str], where: str) -> NoReturn:
    archives = [name for name in others if name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".npz", ".csv"))]
    message, hint = "holds no pictures", _HINT
    if archives:
        hint = f"give {archives[0]} in it as the data set"
    elif others:
        message += f" ({len(others)} other files, such as {others[0]})"
    raise InvalidInputError(message, where=where, hint=hint)


def _left_out(hidden: int, left_out: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    words = [f"{hidden} hidden"] if hidden else []
    for what, names in left_out.items():
        if names:
            more = ", ..." if len(names) > _NAMED else ""
            words.append(f"{len(names)} {what} ({', '.join(names[:_NAMED])}{more})")
    return (f"files left out: {'; '.join(words)}",) if words else ()
