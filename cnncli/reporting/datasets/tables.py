"""Which data sets there are, and what is in one: tables for people, objects for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnncli import SCHEMA
from cnncli.errors import printable
from cnncli.reporting.table import Column, Table
from cnncli.reporting.text_format import render
from cnncli.shapes import format_hwc
from cnncli.tasks.data.inventory import Holding, Statistics


def inventory_text(found: Sequence[Holding], form: str) -> str:
    """Return the table of `cnn data list`."""
    columns = [Column("name"), Column("fetch", "right"), Column("here"), Column("images")]
    rows = []
    for one in found:
        size = "" if one.entry.is_bundled else f"{one.entry.size_bytes / 1e6:.0f} MB"
        rows.append((one.entry.name, size, printable(one.place) or "-", one.entry.purpose))
    return render(Table(columns, rows), form)


def inventory_json(found: Sequence[Holding]) -> list[dict[str, Any]]:
    """Return one object for each data set."""
    return [
        {
            "name": one.entry.name,
            "purpose": one.entry.purpose,
            "bundled": one.entry.is_bundled,
            "size_bytes": one.entry.size_bytes,
            "paths": [str(path) for path in one.paths],
            "mirrors": list(one.entry.mirrors),
        }
        for one in found
    ]


def statistics_json(found: Statistics) -> dict[str, Any]:
    """Return what is in a data set as one object; ``input_shape`` is [H, W, C]."""
    data = found.data
    channels, height, width = data.image_shape
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "name": data.name,
        "input_shape": [height, width, channels],
        "images": found.images,
        "targets": data.targets,
        "names": list(data.classes),
        "mean": list(data.mean),
        "std": list(data.std),
        "sha256": data.sha256,
    }
    if found.counts:
        body["counts"] = found.counts
    if found.ranges:
        body["ranges"] = {name: list(values) for name, values in found.ranges.items()}
    return body | ({"notes": list(data.notes)} if data.notes else {})


def statistics_text(found: Statistics, form: str) -> str:
    """Return what is in a data set: a few lines and a table of its classes; only the table for csv, md and latex."""
    data = found.data
    if found.ranges:
        columns = [Column("number"), *(Column(title, "right") for title in ("least", "mean", "most"))]
        rows = [(printable(name), *(f"{value:.6g}" for value in values)) for name, values in found.ranges.items()]
        table = render(Table(columns, rows), form)
    else:
        kind = "class" if data.targets == "classes" else "label"
        columns = [Column(kind), *(Column(part, "right") for part in found.counts)]
        lines = zip(data.classes, *found.counts.values(), strict=True)
        rows = [(printable(name), *(f"{count:,}" for count in counts)) for name, *counts in lines]
        total = ("all", *(f"{sum(counts):,}" for counts in found.counts.values()))
        table = render(Table(columns, rows, total if data.targets == "classes" else ()), form)
    if form not in ("table", "plain"):
        return table
    images = ", ".join(f"{count:,} {part}" for part, count in found.images.items())
    lines_above = [
        f"{data.name}: {images} images of {format_hwc(data.image_shape)}",
        f"mean {_numbers(data.mean)} · std {_numbers(data.std)} of the training pixels in 0..1",
        f"sha256 {data.sha256}",
        *(f"note: {printable(note)}" for note in data.notes),
    ]
    return "\n".join([*lines_above, "", table])


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
