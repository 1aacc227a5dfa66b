"""The events of `cnn filter`; each can be sent as JSON from one process to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cnncli.errors import CnnError, ExitCode


@dataclass(frozen=True)
class Started:
    """Work on the input with this number begins: its file is about to be decoded."""

    index: int


@dataclass(frozen=True)
class Failure:
    """An error of one file, as data."""

    code: int
    message: str
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: CnnError) -> Failure:
        """Return exit code, message, location and hint of `error`."""
        return cls(int(error.exit_code), error.message, error.where, error.hint)

    def error(self) -> CnnError:
        """Return an error that prints and exits as the original one."""
        error = CnnError(self.message, where=self.where, hint=self.hint)
        error.exit_code = ExitCode(self.code)
        return error


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes
    ----------
    target : str, optional
        The file it went to, ``-`` for standard output; None where it was printed or went to several files.
    outputs : dict
        Path -> bytes of every file that was written, or was found finished.
    status : str
        ``written``, ``printed``, ``skipped`` or ``failed``.
    shape, result_shape : list of int
        (H, W, C) of input and result; alpha is counted.
    clipped : float
        Share of values that the output could not hold, 0..1.
    lowest, highest : float
        Of the response before it was fitted to the output.
    summary, clip_report : str
        What was done and what was cut off, one line each.
    notes : list of str
        Conversions and warnings, in words.
    text : list of str
        The printed matrix.
    channels : list of str
        A name for each channel of the result, as `FilterResult`; none for gray.
    pictures : int
        Of an animation or stack.
    """

    index: int
    source: str
    target: str | None
    status: str
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    result_shape: list[int] = field(default_factory=list)
    result_dtype: str = ""
    clipped: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    summary: str = ""
    clip_report: str = ""
    notes: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    sha256: str = ""
    outputs: dict[str, int] = field(default_factory=dict)
    channels: list[str] = field(default_factory=list)
    pictures: int = 1
    failure: Failure | None = None


Event: TypeAlias = Started | Outcome


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as an object of plain JSON types."""
    record: dict[str, Any] = {"event": type(event).__name__, **vars(event)}
    if record.get("failure") is not None:
        record["failure"] = vars(record["failure"])
    return record


def from_json(record: dict[str, Any]) -> Event:
    """Return the event of `to_json`."""
    kind = record.pop("event")
    if kind == "Started":
        return Started(**record)
    failure = record.pop("failure")
    return Outcome(**record, failure=Failure(**failure) if failure else None)
