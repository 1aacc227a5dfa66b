"""The plan of a network and the times of its layers as tables."""

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


def speed_table(title: str, speed: Speed) -> Table:
    """Return one row per layer and pass; below them the speed of the whole network."""
    columns = [
        Column("Layer"),
        Column("Pass"),
        Column("ms", "right"),
        Column("GFLOP/s", "right"),
        Column("of peak", "right"),
        Column("Bytes", "right"),
    ]
    rows = [
        [
            " + ".join((layer.name, *layer.absorbed)),
            layer.which,
            _ms(layer.ms),
            "-" if layer.gflops is None else f"{layer.gflops:,.1f}",
            "-" if layer.peak_share is None else f"{layer.peak_share:.0%}",
            f"{layer.bytes:,}",
        ]
        for layer in speed.layers
    ]
    total = ["all, one by one", "", _ms(sum(layer.ms for layer in speed.layers)), "", "", ""]
    footer = [f"{title} · peak {speed.peak_gflops:,.0f} GFLOP/s (float32, in registers)"]
    if any((layer.peak_share or 0) > 1 for layer in speed.layers):
        footer.append("Above 100 %: Winograd's convolution does fewer multiply-adds than are counted.")
    footer += [
        f"{_threads(rate.threads)}: training {rate.train_images_per_s:,.0f} images/s · "
        f"prediction {rate.infer_images_per_s:,.0f} images/s"
        for rate in speed.scaling
    ]
    return Table(columns, rows, total, footer)


def _ms(value: float) -> str:
    return f"{value:,.3f}" if value < 100 else f"{value:,.1f}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
