"""The report of a filter run: what was done and clipped on standard error, numbers and JSON on standard output."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from shutil import get_terminal_size
from typing import Any, TextIO

from cnncli import SCHEMA
from cnncli.errors import printable
from cnncli.io.standard_output import write_standard_output
from cnncli.reporting.encodable import write_line
from cnncli.reporting.filter_progress import FilterProgress
from cnncli.tasks.filter.events import Failure, Outcome

_LISTED_FAILURES = 10


class FilterReport:
    """Writes a line per outcome and, for a batch, a summary.

    Parameters
    ----------
    steps : str
        The steps in words.
    total : int
        How many files there are.
    out, err : text streams
    quiet : bool
        Only failures.
    verbose : bool
        Every file of a batch, and the notes.
    as_json : bool
        One JSON object per file on `out`.
    terminal : bool
        Draw a progress bar for a batch.
    """

    def __init__(
        self,
        steps: str,
        total: int,
        out: TextIO,
        err: TextIO,
        *,
        quiet: bool,
        verbose: bool,
        as_json: bool,
        terminal: bool,
    ) -> None:
        self.steps, self.total, self.out, self.err = steps, total, out, err
        self.quiet, self.verbose, self.as_json = quiet, verbose, as_json
        self.counts = {"written": 0, "printed": 0, "skipped": 0, "failed": 0}
        self.failures: list[Failure] = []
        self._terminal = terminal
        self._began = time.monotonic()
        self._clipped_files = 0
        self._shown = 0
        self._progress = FilterProgress(total, err) if terminal and total > 1 and not quiet else None

    def __enter__(self) -> FilterReport:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *args: object) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, outcome: Outcome) -> None:
        """Write what became of one file: text, JSON or a warning, and advance the progress bar."""
        self.counts[outcome.status] += 1
        if outcome.failure:
            self._show_failure(outcome.failure)
            if self.as_json and self.total > 1:
                body = {"schema": SCHEMA, "source": outcome.source, "target": outcome.target, "status": "failed"}
                write_line(json.dumps(body | {"error": asdict(outcome.failure)}), self.out)
        elif self.as_json:
            write_line(json.dumps(_as_json(outcome, self.steps)), self.out)
        else:
            if outcome.text:
                self._write_matrix(outcome.text)
            if outcome.status != "skipped":
                self._show_result(outcome)
        if self._progress:
            self._progress.advance(self.counts["failed"])

    def finish(self, target: str) -> None:
        """Write the summary of a batch: files written, time, and how many were skipped or failed."""
        if self.total == 1 or self.quiet:
            return
        took = time.monotonic() - self._began
        done = self.counts["written"] + self.counts["printed"]
        parts = [f"{'printed' if self.counts['printed'] else 'wrote'} {done} of {self.total} files"]
        if target:
            parts[0] += f" to {printable(target)}"
        parts.append(f"{took:.1f} s ({self.total / max(took, 1e-9):.0f} files/s)")
        for name in ("skipped", "failed"):
            if self.counts[name]:
                parts.append(f"{self.counts[name]} {name}")
        if self._clipped_files:
            parts.append(f"values were clipped in {self._clipped_files}")
        write_line(" · ".join(parts), self.err)

    def _write_matrix(self, lines: list[str]) -> None:
        if self._shown and self.counts["printed"] > 1:
            lines = ["", *lines]  # a blank line between matrices, as between channels
        write_standard_output("\n".join(lines) + "\n")

    def _show_result(self, outcome: Outcome) -> None:
        self._clipped_files += bool(outcome.clip_report)
        first, self._shown = self._shown == 0, self._shown + 1
        if self.quiet or not (first or self.verbose):
            return
        name = "stdin" if outcome.source == "-" else printable(outcome.source)
        shape = "x".join(map(str, outcome.shape))
        self._line(f"{name} {shape} {outcome.dtype} · {self.steps} · {outcome.summary}")
        for note in outcome.notes:
            self._line(f"note: {printable(note)}")
        if self.total > 1 and not self.verbose:
            return
        if outcome.clip_report:
            self._line(outcome.clip_report)
        if outcome.status == "written":
            changed = outcome.result_shape != outcome.shape or outcome.result_dtype != outcome.dtype
            result = f" {'x'.join(map(str, outcome.result_shape))} {outcome.result_dtype}" if changed else ""
            self._line(f"wrote {_places(outcome.outputs)}{result}")

    def _show_failure(self, failure: Failure) -> None:
        self.failures.append(failure)
        if self.total > 1 and len(self.failures) <= _LISTED_FAILURES:
            self._line(f"cnn: warning: {printable(str(failure.error()))}")

    def _line(self, text: str) -> None:
        for line in _fitted(text, get_terminal_size().columns) if self._terminal else [text]:
            if self._progress:
                self._progress.line(line)
            else:
                write_line(line, self.err)


def _places(outputs: Iterable[str]) -> str:
    """Return the names of the files that were written.

    Examples
    --------
    >>> _places(["-"]), _places(["a-0.png", "a-1.png", "a-2.png"])
    ('standard output', '3 files a-0.png to a-2.png')
    """
    names = ["standard output" if name == "-" else printable(name) for name in outputs]
    return names[0] if len(names) == 1 else f"{len(names)} files {names[0]} to {names[-1]}"


def _fitted(text: str, columns: int) -> list[str]:
    """Return a summary broken before its dots where it is wider than the terminal.

    Examples
    --------
    >>> _fitted("a.png 5x5x3 · sobel 3x3 · range=abs", 26)
    ['a.png 5x5x3 · sobel 3x3', '  · range=abs']
    """
    lines: list[str] = []
    for part in text.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= columns:
            lines[-1] += f" · {part}"
        else:
            lines.append(f"  · {part}" if lines else part)
    return lines


def _as_json(outcome: Outcome, steps: str) -> dict[str, Any]:
    """Return the object of one file; a printed matrix becomes `values`, channel by channel."""
    record: dict[str, Any] = {"schema": SCHEMA, "steps": steps, **asdict(outcome)}
    for name in ("index", "failure", "text", "sha256"):
        del record[name]
    if outcome.text:
        channels: list[list[list[float]]] = [[]]
        for line in outcome.text:
            if line:
                channels[-1].append([float(word) for word in line.split()])
            else:
                channels.append([])
        record["values"] = channels[0] if len(channels) == 1 else channels
    return record
