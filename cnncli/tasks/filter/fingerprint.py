"""A hash of all that a filter run does to a file: equal hashes mean equal bytes of every result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from cnncli.errors import CnnError
from cnncli.filtering.plan import FilterPlan, resolve_plan
from cnncli.tasks.filter.options import KEEPS_RESULT, FileOptions

_PIXELS = ("uint8", "uint16", "float32", "float64")


def fingerprint(plan: FilterPlan, options: FileOptions) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over everything but the input that decides the bytes of a result.

    That is the plan with the numbers of its kernels, what its defaults become for each type of pixel, and every file
    option without the mark that it keeps results as they are. A kernel file or checkpoint counts by its numbers.
    """
    described = [_plain(plan), [_resolved(plan, name) for name in _PIXELS], _plain(options)]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _resolved(plan: FilterPlan, dtype: str) -> Any:
    try:
        resolved = resolve_plan(plan, np.dtype(dtype))
    except CnnError:  # the plan is not for such pixels
        return None
    return {f.name: _plain(getattr(resolved, f.name)) for f in fields(resolved) if f.name != "plan" and f.compare}


def _plain(value: Any) -> Any:
    """Return a value as JSON types; arrays by a hash of their numbers."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [value.dtype.str, list(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, Fraction | np.dtype):
        return str(value)
    if is_dataclass(value):
        kept = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if not f.metadata.get(KEEPS_RESULT)}
        return [type(value).__name__, kept]
    raise TypeError(f"no fingerprint of {type(value).__name__}")


def describe(plan: FilterPlan, options: FileOptions) -> dict[str, Any]:
    """Return the options that are not at their defaults, for people who read a manifest."""
    described: dict[str, Any] = {"kernel": [step.name for step in plan.steps]}
    for record in (plan, options):
        for f in fields(record):
            if f.name == "steps" or f.metadata.get(KEEPS_RESULT):
                continue
            value = getattr(record, f.name)
            if _as_text(value) != _as_text(f.default):
                described[f.name] = value if isinstance(value, bool | int | float | str) else _as_text(value)
    return described


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
