"""Where a filtered file goes: the default name, a folder, one file, or a pattern with fields in braces."""

from __future__ import annotations

# ruff: noqa: PTH112, PTH118, PTH119, PTH122
# names are taken apart as text, whatever bytes they hold
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cnncli.errors import CnnError, UsageError
from cnncli.io.image_encode import format_of
from cnncli.io.image_listing import Source

_FIELDS = ("stem", "kernel", "ext", "name", "parent")
_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME_BYTES = 100  # of the kernels in a file name


@dataclass(frozen=True)
class Job:
    """One input and where its result goes; ``-`` is standard input or output, None means print."""

    source: str
    target: str | None


def plan_jobs(sources: Sequence[Source], output: str | None, kernel: str, *, default_extension: str) -> list[Job]:
    """Return one job for each source.

    Parameters
    ----------
    sources : sequence of Source
    output : str, optional
        ``-``, a file, a folder (existing, or ending in a slash) or a pattern; None is ``./{stem}-{kernel}.png``.
    kernel : str
        The steps as a part of a file name (`kernel_label`).
    default_extension : str
        With its dot: of the default name, and in place of an extension that is not written.

    Raises
    ------
    UsageError
        Several inputs for one output, an unknown field, an extension that is not written.
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
    owners: dict[str, str] = {}
    for job in jobs:
        target = os.path.normpath(job.target or "")
        format_of(target)
        if target in owners and owners[target] != job.source:
            raise UsageError(
                f"{owners[target]} and {job.source} would both become {target}",
                where="--output",
                hint="use a pattern with {parent}, {name} or {ext}",
            )
        owners[target] = job.source
    return jobs


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


def _fill(pattern: str, source: Source, kernel: str, default_extension: str) -> str:
    name = "stdin" if source.path == "-" else os.path.basename(source.path)
    stem, extension = os.path.splitext(name)
    try:
        format_of(name)
    except CnnError:
        extension = default_extension
    fields = {"stem": stem, "kernel": kernel, "ext": extension, "name": name, "parent": source.folder}

    def replace(match: re.Match[str]) -> str:
        if match[1] not in fields:
            known = " ".join("{" + field + "}" for field in _FIELDS)
            raise UsageError(f"unknown field {match[0]} in {pattern}", where="--output", hint=f"use {known}")
        return fields[match[1]]

    if not source.folder:  # at the top: no empty step may stay in the path
        pattern = pattern.replace("{parent}/", "")
    return _FIELD.sub(replace, pattern)


def _refuse_several(sources: Sequence[Source], output: str) -> None:
    if len(sources) > 1:
        raise UsageError(
            f"{len(sources)} inputs cannot all become {output}",
            where="--output",
            hint="name a folder (with a slash at its end) or a pattern such as 'out/{stem}.png'",
        )
