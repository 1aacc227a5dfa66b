"""`cnn train`: from a data set's name to a run directory with a trained network."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.train_options import (
    TrainArguments,
    TrainCommand,
    check_arguments,
    reporting_style,
    train_options,
)
from cnncli.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from cnncli.reporting.progress import TrainingReporter
    from cnncli.tasks.train.events import Finished
    from cnncli.tasks.train.plan import TrainingPlan


@click.command("train", cls=TrainCommand)
@click.argument("arch", required=False)
@train_options
def command(**options: Any) -> None:
    r"""Train a network on images.

    \b
    Examples:
      cnn train --dataset digits                        offline, in seconds
      cnn train --dataset mnist --epochs 5 --run-dir m  LeNet-5, about 99 %
      cnn train my.yaml --dataset mnist --lr 0.0005     a network of your own
      cnn train --dataset mnist --dry-run               only the plan

    The run directory holds config.yaml, model.yaml, best.safetensors, last.safetensors, history.csv and result.json.
    The same options and seed give the same best.safetensors with any number of threads. Ctrl-C saves and stops; a run
    cannot be continued later.
    """
    given = TrainArguments(**options)
    if given.arch is not None and given.arch_option not in (None, given.arch):
        raise UsageError(f"two architectures: {given.arch} and --arch {given.arch_option}", hint="give one of them")
    given = replace(given, arch=given.arch_option if given.arch is None else given.arch)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a request to save: nothing to save before the first step
    check_arguments(given)
    _train(given)


def _train(given: TrainArguments) -> None:
    # here and not above: `cnn train --help` needs none of it
    from cnncli import threads
    from cnncli.model.sources import read_source
    from cnncli.optim.recipes import default_architecture
    from cnncli.reporting.progress import training_reporter
    from cnncli.shapes import format_hwc
    from cnncli.tasks.data.load import load_data
    from cnncli.tasks.train.events import Note
    from cnncli.tasks.train.options import TrainingOptions
    from cnncli.tasks.train.plan import plan_training, written_input
    from cnncli.tasks.train.run_directory import check_run_directory

    if given.run_path is not None:
        check_run_directory(given.run_path, force=given.force)
    source = read_source(given.arch) if given.arch is not None else None
    notes: list[str] = []
    chosen = {name: getattr(given, name) for name in TrainingOptions.__dataclass_fields__}
    wanted = TrainingOptions(
        **chosen
        | {
            "loss": given.loss.replace("-", "_"),
            "arch": given.arch or "",
            "threads": threads.resolve(given.threads),
            "data_dir": given.data_path,
        }
    )
    with training_reporter(reporting_style(given), sys.stdout, sys.stderr) as reporter:
        shape = written_input(source) if source else None
        data = load_data(
            wanted.data, input_shape=shape, threads=wanted.threads, say=lambda line: reporter.show(Note(line))
        )
        if source is None:
            name = default_architecture(*data.image_shape)
            source = read_source(name)
            notes.append(f"--arch {name} suits images of {format_hwc(data.image_shape)}")
            wanted = replace(wanted, arch=source.where)
        _run(plan_training(wanted, source, data), notes, given, reporter)


def _run(plan: TrainingPlan, notes: list[str], given: TrainArguments, reporter: TrainingReporter) -> None:
    """Train as planned, or on a dry run build all that training needs and write nothing."""
    from cnncli.tasks.stop_request import ignore_signals
    from cnncli.tasks.train.events import Finished, Note
    from cnncli.tasks.train.loop import make_engine_session, train
    from cnncli.tasks.train.plan import prepared
    from cnncli.tasks.train.run_directory import RunDirectory, default_run_directory, open_default_run_directory

    names = Path(plan.model.name).stem, plan.data.name
    if given.dry_run:
        reporter.show(prepared(plan, given.run_path or default_run_directory(*names), is_dry_run=True))
        for text in (*notes, *plan.notes):
            reporter.show(Note(text))
        return
    named = given.run_path
    opened = RunDirectory(named, force=given.force) if named else open_default_run_directory(*names)
    with opened as run:
        reporter.show(prepared(plan, run.path))
        for text in (*notes, run.note):
            if text:
                reporter.show(Note(text))
        try:
            for event in train(plan, run, make_engine_session):
                reporter.show(event)
                if isinstance(event, Finished):
                    _write_report(event, plan, reporter)
        except InterruptedRunError:
            ignore_signals()  # all is saved: only the lock is to be given back and the line to be written
            raise


def _write_report(done: Finished, plan: TrainingPlan, reporter: TrainingReporter) -> None:
    """Write what is made from a finished run: nothing so far beside the files of the task.

    `done` names the run directory and holds the whole history; `plan` holds data and options; `result.json` and
    `best.safetensors` are written.
    """
