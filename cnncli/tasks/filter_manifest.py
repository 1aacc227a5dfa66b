"""What a batch has done so far, one JSON line a file, so that a rerun leaves out what is finished."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnncli.io.json_lines import JsonLinesWriter, read_json_lines
from cnncli.tasks.filter_events import Outcome

SCHEMA = "cnncli/1"


class Manifest:
    """The manifest of a batch.

    Parameters
    ----------
    path : str, optional
        The file; None keeps nothing.
    digest : str
        The `fingerprint` of plan and options.
    settings : dict
        The same for people: what is not at its default.
    """

    def __init__(self, path: str | None, digest: str, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._digest = digest
        self._finished: dict[tuple[str, str], dict[str, Any]] = {}
        self._writer: JsonLinesWriter | None = None
        if path is not None:
            for record in read_json_lines(path):
                key = (str(record.get("input")), str(record.get("output")))
                self._finished[key] = record
            self._writer = JsonLinesWriter(path)

    @property
    def kept(self) -> bool:
        """Whether there is a file."""
        return self._writer is not None

    def finished(self, source: str, target: str, sha256: str) -> bool:
        """Whether this input with these options has been written, and the output still has its size.

        Existence alone proves nothing: the output may come from other options or an older input.
        """
        record = self._finished.get((source, target))
        if record is None or record.get("status") not in ("written", "skipped"):
            return False
        if record.get("options") != self._digest or record.get("sha256") != sha256:
            return False
        try:
            return Path(target).stat().st_size == record.get("bytes")
        except OSError:
            return False

    def add(self, outcome: Outcome) -> None:
        """Append the record of one file."""
        if self._writer is None:
            return
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "input": outcome.source,
            "output": outcome.target,
            "status": outcome.status,
            "options": self._digest,
            "settings": self._settings,
            "sha256": outcome.sha256 or None,
            "bytes": outcome.size_bytes,
        }
        before = self._finished.get((outcome.source, str(outcome.target)))
        if outcome.status == "skipped" and before is not None:  # what it found finished stays on record
            record |= {name: before.get(name) for name in ("sha256", "bytes")}
        if outcome.failure is not None:
            record["error"] = asdict(outcome.failure)
        self._writer.write(record)

    def close(self) -> None:
        """Bring the file to the disk."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
