"""What a batch has done so far, one JSON line per file, so that a rerun leaves out what is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnncli import SCHEMA
from cnncli.io.json_lines import JsonLinesWriter, read_json_lines
from cnncli.tasks.filter.events import Outcome


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
        self._finished: dict[str, list[dict[str, Any]]] = {}  # by input
        self._writer: JsonLinesWriter | None = None
        if path is not None:
            for record in read_json_lines(path):
                records = self._finished.setdefault(str(record.get("input")), [])
                if record.get("status") in ("written", "skipped"):
                    records.append(record)
                else:  # of several outputs some may have been replaced before the failure
                    records.clear()
            self._writer = JsonLinesWriter(path)

    @property
    def kept(self) -> bool:
        """Whether a manifest is written: False where the batch was given no path."""
        return self._writer is not None

    def finished(self, source: str, targets: Sequence[str], sha256: str) -> bool:
        """Whether this input with these options has been written to `targets`, and these still have their sizes.

        Existence alone proves nothing: an output may come from other options or an older input.
        """
        for record in reversed(self._finished.get(source, [])):  # the last word about an output counts
            outputs = record.get("outputs")
            if isinstance(outputs, dict) and not outputs.keys().isdisjoint(targets):
                same = record.get("options") == self._digest and record.get("sha256") == sha256
                return same and list(outputs) == list(targets) and all(map(_has_size, targets, outputs.values()))
        return False

    def add(self, outcome: Outcome) -> None:
        """Append the record of one file."""
        if self._writer is None:
            return
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "input": outcome.source,
            "outputs": outcome.outputs,
            "status": outcome.status,
            "options": self._digest,
            "settings": self._settings,
            "sha256": outcome.sha256 or None,
        }
        if outcome.failure is not None:
            record["error"] = asdict(outcome.failure)
        self._writer.write(record)

    def close(self) -> None:
        """Bring the file to the disk."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _has_size(path: str, size: int) -> bool:
    try:
        return Path(path).stat().st_size == size
    except OSError:
        return False
