"""Where a filtered file goes: the default name, a folder, one file, or a pattern with fields in braces."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH114, PTH118, PTH119, PTH120, PTH122, PTH206
# names are taken apart as text, whatever bytes they hold
import contextlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnncli.errors import CnnError, UsageError
from cnncli.io.atomic import temporaries
from cnncli.io.images.formats import format_of
from cnncli.io.images.listing import InputFile

_FIELDS = ("stem", "kernel", "ext", "name", "parent", "folder")
_FIELD = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"-[0-9]+(\.[^./]*)$")  # of a channel
_NAME_BYTES = 100  # of the kernels in a file name


@dataclass(frozen=True)
class Job:
    """One input and where its result goes; ``-`` is standard input or output, None means print.

    `fallback` is there where the user did not choose the extension of `target`: with another extension it is a name
    that no other job has.
    """

    source: str
    target: str | None
    fallback: str = ""


def output_folder(output: str | None) -> str | None:
    """Return the folder that ``--output`` names for results: itself, or what stands before the fields of a pattern.

    Examples
    --------
    >>> output_folder("out/{parent}/{stem}.png"), output_folder("{stem}.png"), output_folder("out/")
    ('out', None, 'out/')
    """
    if output is None or output == "-":
        return None
    if output.endswith(("/", os.sep)) or os.path.isdir(output):
        return output
    field = _FIELD.search(output)
    return os.path.dirname(output[: field.start()]) or None if field else None


def plan_jobs(
    sources: Sequence[InputFile],
    output: str | None,
    kernel: str,
    *,
    default_extension: str,
    split_channels: bool = False,
) -> list[Job]:
    """Return one job for each source.

    Parameters
    ----------
    sources : sequence of InputFile
    output : str, optional
        ``-``, a file, a folder (existing, or ending in a slash) or a pattern; None is ``./{stem}-{kernel}.png``.
        ``{stem}``, ``{ext}`` and ``{name}`` are of the input, ``{parent}`` is its folder below the one that was
        searched, ``{folder}`` its folder as it was named.
    kernel : str
        The steps as a part of a file name (`kernel_label`).
    default_extension : str
        With its dot: of the default name, and in place of an extension that is not written.
    split_channels : bool
        The outputs of a job are numbered: ``a-0.png`` for ``a.png``.

    Raises
    ------
    UsageError
        Several inputs for one output, an output that is the input of another job, an unknown field, an extension that
        is not written.
    """
    if output == "-":
        _refuse_several(sources, output)
        return [Job(source.path, "-") for source in sources]
    if output is None:
        pattern = "{stem}-{kernel}" + default_extension
    elif output.endswith(("/", os.sep)) or os.path.isdir(output):
        pattern = os.path.join(output, "{parent}", "{stem}-{kernel}{ext}")
    else:
        pattern = output
        if not _FIELD.search(output):
            _refuse_several(sources, output)
    jobs = [Job(s.path, _fill(pattern, s, kernel, default_extension)) for s in sources]
    _refuse_clashes(jobs, output)
    if len(jobs) > 1:  # the output of a single job may be its input
        _refuse_inputs_as_outputs(jobs, split_channels)
    return _with_fallbacks(jobs) if output is None or pattern.endswith("{ext}") else jobs


def _with_fallbacks(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs with a name that any extension may follow: ``a-box``, or ``a-box.gif`` where that is in use."""
    taken = Counter(
        os.path.splitext(os.path.normpath(name))[0] for job in jobs for name in (job.source, job.target or "")
    )
    found = []
    for job in jobs:
        target = job.target or ""
        stem = os.path.splitext(target)[0]
        found.append(replace(job, fallback=stem if taken[os.path.normpath(stem)] == 1 else target))
    return found


def _refuse_clashes(jobs: Sequence[Job], output: str | None) -> None:
    owners: dict[str, str] = {}
    for job in jobs:
        target = os.path.normpath(job.target or "")
        format_of(target)
        if target in owners:
            raise UsageError(
                f"{owners[target]} and {job.source} would both become {target}",
                where="--output",
                hint=_separating(owners[target], job.source, output),
            )
        owners[target] = job.source


def _separating(first: str, second: str, output: str | None) -> str:
    """Return a hint with a pattern that gives two inputs different names."""
    if os.path.basename(first) != os.path.basename(second):
        field = "{name}-{kernel}.png"
    elif _folder(first) != _folder(second):
        field = "{folder}/{stem}-{kernel}{ext}"
    else:
        return "filter them one after the other"
    return f"use a pattern such as '{os.path.join(output_folder(output) or '', field)}'"


def _refuse_inputs_as_outputs(jobs: Sequence[Job], split_channels: bool) -> None:
    """Refuse a batch in which an input may be replaced before it is read."""
    folders: dict[str, str] = {}

    def place(path: str) -> str:
        """Return where a name leads, as `os.path.realpath`, with the folders of many names looked up once."""
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        whole = os.path.join(folders[folder], name)
        return os.path.realpath(whole) if os.path.islink(whole) else whole

    readers: dict[str, list[str]] = {}
    for job in jobs:
        path = place(job.source)
        if split_channels:  # what is numbered is not ``a.png`` but ``a-0.png``
            path = _NUMBER.sub(r"\1", path) if _NUMBER.search(path) else ""
        readers.setdefault(path, []).append(job.source)
    for job in jobs:
        for reader in readers.get(place(job.target or ""), ()):
            if reader == job.source:
                continue
            raise UsageError(
                f"{reader} is an input of this batch, and the result of {job.source} would replace it",
                where="--output",
                hint=f"write to a folder (-o out/), or leave {reader} out",
            )


def remove_abandoned(jobs: Sequence[Job]) -> None:
    """Remove what killed runs left of these outputs: ``.a-box.png.tmp.4711``, where process 4711 has ended.

    Other names stay: another machine may be writing them, as another shard of the same batch.
    """
    names: dict[str, set[str]] = {}
    for job in jobs:
        if job.target not in (None, "-"):
            folder, name = os.path.split(job.target or "")
            names.setdefault(folder or ".", set()).update((name, os.path.splitext(name)[0]))
    for folder, known in names.items():
        for leftover in temporaries(folder):
            stem = os.path.splitext(leftover.target)[0]
            ours = {leftover.target, stem, re.sub(r"-[0-9]+$", "", stem)} & known  # any extension, any channel
            if ours and leftover.is_abandoned():
                with contextlib.suppress(OSError):
                    leftover.path.unlink()


def kernel_label(specs: Sequence[str]) -> str:
    """Return the steps as a part of a file name.

    Examples
    --------
    >>> kernel_label(["gaussian:1.5", "sharpen"]), kernel_label(["0 1 0"]), kernel_label(["@my/edge.txt"])
    ('gaussian-1.5-sharpen', 'custom', 'edge')
    """
    words = []
    for spec in specs:
        if spec.startswith("@"):
            spec = os.path.splitext(os.path.basename(spec))[0]
        elif not re.match(r"[A-Za-z]", spec):
            spec = "custom"
        words.append(re.sub(r"[^A-Za-z0-9.+_]+", "-", spec).strip("-."))
    return "-".join(word for word in words if word)[:_NAME_BYTES] or "custom"


def _fill(pattern: str, source: InputFile, kernel: str, default_extension: str) -> str:
    name = "stdin" if source.path == "-" else os.path.basename(source.path)
    stem, extension = os.path.splitext(name)
    try:
        format_of(name)
    except CnnError:
        extension = default_extension
    fields = {"stem": stem, "kernel": kernel, "ext": extension, "name": name}
    fields |= {"parent": source.folder, "folder": _folder(source.path)}

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            known = " ".join("{" + field + "}" for field in _FIELDS)
            raise UsageError(f"unknown field {match[0]} in {pattern}", where="--output", hint=f"use {known}")
        return fields[match[1]]

    for field in ("parent", "folder"):
        if not fields[field]:  # no empty step may stay in the path
            pattern = pattern.replace(f"{{{field}}}/", "")
    return _FIELD.sub(value, pattern)


def _folder(path: str) -> str:
    """Return the folder of an input as a relative path that stays below where it is put: ``../a/b.png`` has ``_/a``."""
    steps = os.path.normpath(os.path.dirname(path)).split(os.sep)
    return os.sep.join("_" if step == ".." else step for step in steps if step not in ("", "."))


def _refuse_several(sources: Sequence[InputFile], output: str) -> None:
    if len(sources) > 1:
        raise UsageError(
            f"{len(sources)} inputs cannot all become {output}",
            where="--output",
            hint="name a folder (with a slash at its end) or a pattern such as 'out/{stem}.png'",
        )
