"""`cnn bench`: how fast a network runs here, and how its work is planned."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from cnncli import SCHEMA
from cnncli.cli.options import choose_format, format_option, hand_out, no_color_option, output_option
from cnncli.errors import UsageError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="[ARCH]", default="lenet5")
@click.option("-b", "--batch", "batch_size", type=click.IntRange(1, 65_536), default=64, show_default=True,
              help="Images per batch.")  # fmt: skip
@click.option("-j", "--threads", type=int, metavar="N", help="Threads; by default one per processor.")
@click.option("--plan", "wants_plan", is_flag=True, help="Print phases, steps, tasks and memory; run nothing.")
@click.option("--predict", "is_prediction", is_flag=True, help="With --plan: the plan of prediction.")
@format_option
@no_color_option
@output_option
def command(
    source: str,
    batch_size: int,
    threads: int | None,
    wants_plan: bool,
    is_prediction: bool,
    format_name: str | None,
    as_json: bool,
    output: str | None,
    force: bool,
) -> None:
    r"""Measure how fast a network runs, or print how its work is planned.

    \b
    Examples:
      cnn bench                       LeNet-5, batches of 64: images/s
      cnn bench resnet20-cifar -b 128 another network
      cnn bench my.yaml --json        for programs
      cnn bench vgg16 -b 16 --plan    phases, steps, tasks, bytes, lifetimes
    """
    from cnncli.model import load_model
    from cnncli.reporting import bench_report
    from cnncli.threads import resolve

    form = choose_format(format_name, as_json, output)
    if is_prediction and not wants_plan:
        raise UsageError("--predict needs --plan", hint="without it both speeds are measured")
    model, count = load_model(source), resolve(threads)
    if wants_plan:
        from cnncli.reporting.text_format import render
        from cnncli.tasks.bench.planned import summarise_plan

        summary = summarise_plan(model, batch_size=batch_size, threads=count, is_training=not is_prediction)
        body = {"schema": SCHEMA, "arch": model.name, "batch": batch_size, "threads": count, **asdict(summary)}
        text = json.dumps(body) + "\n" if form in ("json", "jsonl") else render(bench_report.plan_table(summary), form)
    else:
        from cnncli.tasks.bench.speed import measure_speed

        if form not in ("table", "plain", "json", "jsonl"):
            raise UsageError(f"speeds are not written as {form}", hint="use --json, or --plan for a table")
        speed = measure_speed(model, batch_size=batch_size, threads=count)
        body = {"schema": SCHEMA, "arch": model.name, "batch": batch_size, "threads": count, **asdict(speed)}
        is_json = form in ("json", "jsonl")
        text = json.dumps(body) + "\n" if is_json else bench_report.speed_line(model.name, batch_size, count, speed)
    hand_out(text, output, force=force, say=True)
