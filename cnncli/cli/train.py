"""`cnn train`: from a data set's name to a run directory with a trained network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cnncli.errors import UsageError

_SEEDS = click.IntRange(0, 2**64 - 1)


@click.command("train")
@click.argument("arch", required=False)
@click.option("--arch", "arch_option", metavar="ARCH", help="Preset name, YAML file, or - [what suits the images].")
@click.option("-d", "--dataset", required=True, metavar="NAME", help="digits (bundled) or mnist.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="CNN_DATA_DIR",
    help="Where data sets are and are fetched to [CNN_DATA_DIR, else the user's cache].",
)
@click.option("--val-split", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Use only the first N images.")
@click.option("-e", "--epochs", type=click.IntRange(1, 10**6), help="[10, more where the data set is small]")
@click.option("-b", "--batch-size", type=click.IntRange(1, 65_536), default=64, show_default=True)
@click.option("--optimizer", type=click.Choice(["adam", "adamw", "momentum", "sgd"]), default="adam", show_default=True)
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), help="Learning rate [adam 0.002, momentum 0.02, sgd 0.1]."
)
@click.option(
    "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True, help="For momentum."
)
@click.option("--weight-decay", type=click.FloatRange(0, 1), default=0.0, show_default=True)
@click.option("--schedule", type=click.Choice(["cosine", "constant"]), default="cosine", show_default=True)
@click.option("--warmup", type=click.FloatRange(0, 1000), default=0.0, metavar="EPOCHS", help="Rise to --lr [0].")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="Stop after N epochs without a better one.")
@click.option("-o", "--run-dir", type=click.Path(path_type=Path), help="[runs/ARCH-DATASET-N]")
@click.option("-f", "--force", is_flag=True, help="Replace the run that is in --run-dir.")
@click.option("--seed", type=_SEEDS, default=0, show_default=True)
@click.option("-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", help="[all processors]")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be trained and how much memory it needs.")
@click.option("-q", "--quiet", is_flag=True, help="Only the result.")
@click.option("--plain", is_flag=True, help="One line an epoch on a terminal too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an epoch.")
def command(arch: str | None, arch_option: str | None, **options: Any) -> None:
    r"""Train a network on images.

    \b
    Examples:
      cnn train --dataset digits                        offline, in seconds
      cnn train --dataset mnist --epochs 5 --run-dir m  LeNet-5, about 99 %
      cnn train my.yaml --dataset mnist --lr 0.0005     a network of your own
      cnn train --dataset mnist --dry-run               only the plan

    The run directory holds config.yaml, model.yaml, best.safetensors, last.safetensors, history.csv and result.json.
    The same options and seed give the same best.safetensors with any number of threads. Ctrl-C saves and stops.
    """
    if arch and arch_option and arch != arch_option:
        raise UsageError(f"two architectures: {arch} and --arch {arch_option}", hint="give one of them")
    _check_numbers(options)
    _train(arch or arch_option, options)


def _check_numbers(options: dict[str, Any]) -> None:
    # Click's ranges let nan and inf through
    for name in ("lr", "momentum", "weight_decay", "val_split", "warmup"):
        value = options[name]
        if value is not None and not abs(value) < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value} is not a finite number", hint="try 0.001")


def _train(arch: str | None, options: dict[str, Any]) -> None:
    # here and not above: `cnn train --help` needs none of it
    from cnncli.io.datasets import load_dataset
    from cnncli.io.datasets.catalogue import check_name
    from cnncli.kernels import threads
    from cnncli.model.sources import read_source
    from cnncli.optim.recipes import default_architecture
    from cnncli.reporting.progress import training_reporter
    from cnncli.tasks.run_directory import RunDirectory, check_run_directory, default_run_directory
    from cnncli.tasks.train import make_engine_session, train
    from cnncli.tasks.training_events import Note
    from cnncli.tasks.training_plan import TrainingOptions, plan_training, prepared

    check_name(options["dataset"])
    run_dir, force = options["run_dir"], options["force"]
    if run_dir is not None and not options["dry_run"]:
        check_run_directory(run_dir, force=force)
    source = read_source(arch) if arch else None
    notes: list[str] = []
    with training_reporter(_style(options), sys.stdout, sys.stderr) as reporter:
        data = load_dataset(options["dataset"], options["data_dir"], lambda line: reporter.show(Note(line)))
        if source is None:
            name = default_architecture(*data.image_shape[1:])
            source = read_source(name)
            notes.append(f"--arch {name} suits images of {data.image_shape[1]}x{data.image_shape[2]}")
        chosen = {key: options[key] for key in TrainingOptions.__dataclass_fields__ if key in options}
        wanted = TrainingOptions(
            **chosen | {"arch": arch or source.where, "threads": threads.resolve(options["threads"])}
        )
        plan = plan_training(wanted, source, data)
        if run_dir is None:
            run_dir = default_run_directory(Path(plan.model.name).stem, data.name)
        reporter.show(prepared(plan, run_dir))
        for note in notes:
            reporter.show(Note(note))
        if options["dry_run"]:
            return
        with RunDirectory(run_dir, force=force) as run:
            for event in train(plan, run, make_engine_session):
                reporter.show(event)


def _style(options: dict[str, Any]) -> str:
    if options["as_json"]:
        return "json"
    if options["quiet"]:
        return "quiet"
    return "terminal" if sys.stdout.isatty() and not options["plain"] else "plain"
