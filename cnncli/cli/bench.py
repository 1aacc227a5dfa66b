"""`cnn bench`: how fast a network runs here, and how its work is planned."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from cnncli import SCHEMA
from cnncli.cli.options import choose_format, format_option, hand_out, no_color_option, output_option


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="[ARCH]", default="lenet5")
@click.option("-b", "--batch", "batch_size", type=click.IntRange(1, 65_536), default=64, show_default=True,
              help="Images per batch.")  # fmt: skip
@click.option("-j", "--threads", type=int, metavar="N", help="Threads; by default one per processor.")
@click.option("--plan", "wants_plan", is_flag=True, help="Print phases, steps, tasks and memory; run nothing.")
@click.option("--predict", "is_prediction", is_flag=True, help="Layers, or the plan, of prediction, not of training.")
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
    r"""Measure how fast a network runs, layer by layer, or print how its work is planned.

    \b
    Examples:
      cnn bench                       LeNet-5, batches of 64
      cnn bench resnet20-cifar -b 128 another network
      cnn bench my.yaml --predict     the layers of prediction
      cnn bench my.yaml --json        for programs
      cnn bench vgg16 -b 16 --plan    phases, steps, tasks, bytes, lifetimes

    Each layer is timed by itself with the whole batch; "of peak" compares it with the multiply-adds that the
    processor does in registers, measured in the same run. Random images, float32, Adam.
    """
    from cnncli.model import load_model
    from cnncli.reporting import bench_report
    from cnncli.reporting.text_format import render
    from cnncli.threads import resolve

    form = choose_format(format_name, as_json, output)
    model, count = load_model(source), resolve(threads)
    facts = {"schema": SCHEMA, "arch": model.name, "batch": batch_size, "threads": count}
    values: dict[str, Any]
    if wants_plan:
        from cnncli.tasks.bench.planned import summarise_plan

        plan = summarise_plan(model, batch_size=batch_size, threads=count, is_training=not is_prediction)
        table, values = bench_report.plan_table(plan), asdict(plan)
    else:
        from cnncli.tasks.bench.speed import measure_speed

        speed = measure_speed(model, batch_size=batch_size, threads=count, is_training=not is_prediction)
        table = bench_report.speed_table(f"{model.name} · batch {batch_size}", speed)
        values = speed.to_json()
    is_json = form in ("json", "jsonl")
    text = json.dumps(facts | values) + "\n" if is_json else render(table, form)
    hand_out(text, output, force=force, say=True)
