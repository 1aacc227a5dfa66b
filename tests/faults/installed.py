"""The installed `cnn`, run as a user runs it, and the contract that every refused input must keep."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CNN = Path(sys.executable).with_name("cnn")
ONE_LINE = re.compile(r"^cnn: (error|warning): .+", re.DOTALL)


def bound_by_permissions() -> list[str]:
    """Return what runs a command so that the modes of files count: root is bound by none, unless it gives that up."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed: root may read and write everything")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


@dataclass(frozen=True)
class Run:
    """What a run of `cnn` left behind."""

    code: int
    out: bytes
    err: str


def run(
    arguments: list[str | bytes],
    folder: Path,
    *,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    prefix: list[str] | None = None,
    stdout: int | None = subprocess.PIPE,
) -> Run:
    """Run `cnn` in `folder`; standard error is decoded as UTF-8 and must be valid."""
    command: list[str | bytes] = [*(prefix or []), str(CNN), *arguments]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CNN_") or k == "CNN_CACHE_DIR"}
    environment = kept | (env or {})
    done = subprocess.run(
        command,
        cwd=folder,
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=600,
        check=False,
    )
    return Run(done.returncode, done.stdout or b"", done.stderr.decode("utf-8"))


def said(result: Run) -> list[str]:
    """Return the lines on standard error without the one about compiling, which depends on the cache."""
    return [line for line in result.err.splitlines() if not line.startswith("compiling kernels")]


def rows_of(result: Run) -> list[Any]:
    """Return the JSON lines of a run that must have ended well."""
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def fingerprint(folder: Path) -> dict[str, str]:
    """Return every entry below `folder` with the SHA-256 of regular files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        found[os.fsdecode(path.relative_to(folder))] = (
            hashlib.sha256(path.read_bytes()).hexdigest() if regular and os.access(path, os.R_OK) else "other"
        )
    return found


def assert_refused(result: Run, code: int, pattern: str, before: dict[str, str], after: dict[str, str]) -> None:
    """Check the contract: exit code, one clean line that says what to do, nothing printed, nothing changed."""
    assert result.code == code, result
    assert result.err.endswith("\n"), result
    # on a cold cache a result may have to be computed before it turns out that the file cannot hold it
    lines = [line for line in result.err.splitlines() if not line.startswith("compiling kernels")]
    assert len(lines) == 1, result.err
    assert ONE_LINE.match(lines[0]), result.err
    assert re.search(pattern, lines[0]), result.err
    assert "Traceback" not in result.err
    assert all(c.isprintable() for c in lines[0]), ascii(result.err)
    # what a file may hold in that place is what to do
    assert "; " in lines[0] or "expected " in lines[0], f"no remedy: {lines[0]}"
    assert result.out == b"", result.out[:200]
    assert after == before, "files changed"
