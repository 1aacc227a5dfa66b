"""Runs `cnn` inside this process, as the shell would see it."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

from cnncli.cli import main


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_cnn(*arguments: object, stdin: str | bytes = b"") -> Result:
    """Return exit code, standard output and standard error of `cnn ARGUMENTS`."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    saved = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    sys.stdout, sys.stderr = out, err
    try:
        code = main.run([str(argument) for argument in arguments])
    finally:
        sys.stdin, sys.stdout, sys.stderr = saved
    return Result(int(code), *(stream.buffer.getvalue().decode() for stream in (out, err)))


def expect_error(result: Result, code: int, *words: str) -> None:
    """Check that a command failed with one line, with `code`, and that the line holds `words`."""
    assert result.code == code, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("cnn: error: "), lines
    for word in words:
        assert word in lines[0], f"{word!r} not in {lines[0]!r}"
