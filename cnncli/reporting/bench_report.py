"""The plan of a network as a table, and its speed as a line."""

from __future__ import annotations

from cnncli.reporting.table import Column, Table
from cnncli.tasks.bench.planned import PlanSummary
from cnncli.tasks.bench.speed import Speed


def plan_table(summary: PlanSummary) -> Table:
    """Return one row per step."""
    columns = [
        Column("Step"),
        Column("Phase", "right"),
        Column("Scope"),
        Column("Tasks", "right"),
        Column("Bytes", "right"),
        Column("Written to"),
    ]
    rows = [
        [step.name, str(step.phase), step.scope, str(step.tasks), f"{step.bytes:,}" if step.bytes else "-", step.writes]
        for step in summary.steps
    ]
    sizes = f"feature maps {_mib(summary.plan_bytes)} · whole session {_mib(summary.session_bytes)}"
    footer = [f"{len(summary.steps)} steps in {summary.phases} phases · {sizes}"]
    return Table(columns, rows, footer=footer)


def speed_line(name: str, batch_size: int, threads: int, speed: Speed) -> str:
    """Return both speeds in one line."""
    rates = f"training {speed.train_images_per_s:,.0f} images/s · prediction {speed.infer_images_per_s:,.0f} images/s"
    return f"{name} · batch {batch_size} · {threads} threads · {rates}\n"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
