"""How much memory this process may still allocate."""

from __future__ import annotations

import resource
from pathlib import Path


def free_memory(root: Path = Path("/")) -> int:
    """Return the least of what the machine, the control groups and the limits of this process leave [bytes].

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` are; another one in tests.

    References
    ----------
    Linux, Documentation/admin-guide/cgroup-v2.rst: `memory.max` limits `memory.current`, which counts the page cache;
    pages in `inactive_file` are given back first.
    """
    found = []
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        pages = _read(root / "proc/self/statm").split()
        found.append(soft - (int(pages[0]) * resource.getpagesize() if pages else 0))
    machine = _fields(root / "proc/meminfo").get("MemAvailable:")
    if machine is not None:
        found.append(machine << 10)
    for group in _control_groups(root):
        limit, used = (_read(group / name).strip() for name in ("memory.max", "memory.current"))
        if limit.isdigit() and used.isdigit():
            cached = _fields(group / "memory.stat").get("inactive_file", 0)
            found.append(int(limit) - int(used) + cached)
    return max(min(found, default=1 << 62), 0)


def _control_groups(root: Path) -> list[Path]:
    """Return the control group of this process and those around it: each one limits."""
    top = root / "sys/fs/cgroup"
    names = [line.removeprefix("0::/") for line in _read(root / "proc/self/cgroup").splitlines() if "0::/" in line]
    group = top / names[0] if names else top
    return [group, *(folder for folder in group.parents if folder.is_relative_to(top))]


def _fields(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
