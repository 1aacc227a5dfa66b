"""`cnn train`: from a data set's name to a run directory with a trained network."""

from __future__ import annotations

import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.options import ARGUMENTS
from cnncli.cli.train_config import Config, config_of
from cnncli.cli.train_help import TrainCommand
from cnncli.cli.train_options import (
    TrainArguments,
    check_arguments,
    reporting_style,
    train_options,
    typed_options,
)
from cnncli.errors import CnnError, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cnncli.io.datasets.dataset import Dataset
    from cnncli.model.sources import Source
    from cnncli.tasks.train.events import TrainingEvent
    from cnncli.tasks.train.options import TrainingOptions
    from cnncli.tasks.train.plan import TrainingPlan
    from cnncli.tasks.train.resume import SavedRun
    from cnncli.tasks.train.run_directory import RunDirectory

    Say = Callable[[TrainingEvent], None]


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
      cnn train --dataset mnist --dry-run               plan, speed, time, memory
      cnn train my.yaml -d digits --overfit-batch       can it learn at all?
      cnn train --resume runs/lenet5-mnist-1            go on after Ctrl-C
      cnn train --resume runs/digits-1 --epochs 100     make a run longer
      cnn train --config runs/digits-1/config.yaml      the same run again

    The run directory holds best.safetensors, last.safetensors, config.yaml, model.yaml, history.csv, result.json,
    and the pictures of `cnn report`.
    The same options and seed give the same best.safetensors with any number of threads. Ctrl-C saves and stops, kill
    -USR1 saves and goes on; --resume continues, after a power cut too, and ends with the same weights.
    """
    from cnncli.reporting.progress import training_reporter
    from cnncli.tasks.stop_request import ignore_signals

    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a request to save: nothing to save before the first step
    given = checked(options)
    with training_reporter(reporting_style(given), sys.stdout, sys.stderr) as reporter:
        try:
            for event in training_events(given, reporter.show):
                reporter.show(event)
        except InterruptedRunError:
            ignore_signals()  # all is saved: only the line is to be written
            raise


def checked(options: Mapping[str, Any]) -> TrainArguments:
    """Return the options of a command line, as Click has parsed them in the current context.

    Raises
    ------
    UsageError
        As `check_arguments`; two architectures.
    """
    given = TrainArguments(**options)
    if given.arch is not None and given.arch_option not in (None, given.arch):
        raise UsageError(f"two architectures: {given.arch} and --arch {given.arch_option}", hint="give one of them")
    arch = given.arch_option if given.arch is None else given.arch
    given = replace(given, arch=arch, loss=given.loss.replace("-", "_"))
    check_arguments(given)
    return given


def training_events(given: TrainArguments, say: Say) -> Iterator[TrainingEvent]:
    """Yield the events of a run that begins or continues; `say` takes notes while data are read.

    Until the first event the context in which Click has parsed the options must be the current one.
    """
    line = shlex.join(["cnn", *click.get_current_context().meta.get(ARGUMENTS, [])])
    if given.resume is None:
        yield from _train(given, say, line)
    else:
        yield from _resume(given, Path(given.resume), say, line)


def _train(given: TrainArguments, say: Say, line: str) -> Iterator[TrainingEvent]:
    """Begin a new run."""
    # here and not above: `cnn train --help` needs none of it
    from cnncli import threads
    from cnncli.model.sources import parse_model, read_source
    from cnncli.optim.recipes import default_architecture
    from cnncli.shapes import format_hwc
    from cnncli.tasks.train.options import TrainingOptions
    from cnncli.tasks.train.plan import plan_training
    from cnncli.tasks.train.run_directory import check_run_directory

    if given.run_path is not None:
        check_run_directory(given.run_path, force=given.force)
    config = config_of(click.get_current_context())
    source = read_source(given.arch) if given.arch is not None else config.source() if config else None
    notes: list[str] = []
    chosen = {name: getattr(given, name) for name in TrainingOptions.__dataclass_fields__}
    folder = None if given.data_dir is None else Path(given.data_dir)
    decided = {"arch": given.arch or "", "threads": threads.resolve(given.threads), "data_dir": folder}
    wanted = TrainingOptions(**chosen | decided)
    data = _load(wanted, source, say)
    split_source = click.get_current_context().get_parameter_source("val_split")
    if data.validation is not None and split_source is click.core.ParameterSource.COMMANDLINE:
        message = f"--val-split is not used: {data.name} brings {len(data.validation)} images for validation"
        raise UsageError(message, hint="leave it away")
    notes += config.notes(data) if config else []
    if source is None:
        name = default_architecture(*data.image_shape)
        source = read_source(name)
        fitted = parse_model(source.text, source.where, input_shape=data.image_shape, classes=len(data.classes))
        source = replace(source, text=fitted.text)  # no note says that a network nobody named was adapted
        notes.append(f"--arch {name} suits images of {format_hwc(data.image_shape)}")
    plan = plan_training(replace(wanted, arch=source.where), source, data)
    if given.print_config:
        yield from _print_config(plan, notes, given, config)
    else:
        yield from _run(plan, notes, given, line)


def _print_config(
    plan: TrainingPlan, notes: Sequence[str], given: TrainArguments, config: Config | None
) -> Iterator[TrainingEvent]:
    """Say all options as they were resolved."""
    from cnncli.model.sources import ALIASES, preset_names
    from cnncli.tasks.train.events import Configuration, Note
    from cnncli.tasks.train.run_record import config_text

    named = given.arch or (config.network if config else None) or plan.options.arch
    if named == "-":
        raise UsageError("--print-config cannot name a network from standard input", hint="give it as a file")
    is_preset = ALIASES.get(named, named) in preset_names()
    for text in (*notes, *plan.notes):
        yield Note(text)
    yield Configuration(config_text(plan, named if is_preset else str(Path(named).absolute()), plan.options.dataset))


def _resume(given: TrainArguments, folder: Path, say: Say, line: str) -> Iterator[TrainingEvent]:
    """Continue a run."""
    from cnncli import threads
    from cnncli.model.sources import read_source
    from cnncli.tasks.train.events import Note, NothingToDo
    from cnncli.tasks.train.plan import plan_training, prepared
    from cnncli.tasks.train.resume import check_architecture, read_saved_run, with_changes
    from cnncli.tasks.train.run_directory import RunDirectory

    with RunDirectory(folder, is_continued=True) as run:
        saved = read_saved_run(folder)
        if given.arch is not None:
            check_architecture(saved, read_source(given.arch))
        saved = with_changes(saved, typed_options(given), override=given.override)
        if text := saved.already_finished():
            yield NothingToDo(text, folder)
            return
        if given.threads is None:  # this may be a smaller machine
            saved = replace(
                saved, options=replace(saved.options, threads=min(saved.options.threads, threads.resolve(None)))
            )
        plan = plan_training(saved.options, saved.source, _load(saved.options, saved.source, say), saved)
        if given.dry_run:
            yield from _show_plan(plan, run.path, saved.notes, epochs_done=saved.epoch + saved.step / plan.steps)
            return
        yield prepared(plan, run.path)
        for text in (*saved.notes, run.note):
            if text:
                yield Note(text)
        yield from _train_in(run, plan, given, line, saved)


def _show_plan(
    plan: TrainingPlan, folder: Path, notes: Sequence[str], *, epochs_done: float = 0.0
) -> Iterator[TrainingEvent]:
    """Say what would be trained, and how long it would take."""
    from cnncli.tasks.train.events import Note
    from cnncli.tasks.train.forecast import forecast
    from cnncli.tasks.train.loop import make_engine_session
    from cnncli.tasks.train.plan import prepared

    yield prepared(plan, folder, forecast(plan, make_engine_session, epochs_done))
    for text in (*notes, *plan.notes):
        yield Note(text)


def _check(plan: TrainingPlan, notes: Sequence[str], given: TrainArguments) -> Iterator[TrainingEvent]:
    """Learn one batch by heart, or check the gradients; nothing is written."""
    from cnncli.tasks.train.events import Note
    from cnncli.tasks.train.gradcheck import check_gradients
    from cnncli.tasks.train.loop import make_engine_session
    from cnncli.tasks.train.overfit import overfit_batch

    for text in (*notes, *plan.notes):
        yield Note(text)
    yield from check_gradients(plan) if given.gradcheck else overfit_batch(plan, make_engine_session)


def _load(options: TrainingOptions, source: Source | None, say: Say) -> Dataset:
    """Return the data set of a run, whether it begins or is continued."""
    from cnncli.tasks.data.load import load_data
    from cnncli.tasks.train.events import Note
    from cnncli.tasks.train.loop import import_engine, meanwhile
    from cnncli.tasks.train.plan import written_input

    shape = written_input(source) if source else None
    with meanwhile(import_engine):  # unpacking and checking files leaves Python's lock free
        return load_data(options.data, input_shape=shape, threads=options.threads, say=lambda line: say(Note(line)))


def _run(plan: TrainingPlan, notes: list[str], given: TrainArguments, line: str) -> Iterator[TrainingEvent]:
    """Train as planned, or on a dry run build all that training needs and write nothing."""
    from cnncli.tasks.train.events import Note
    from cnncli.tasks.train.plan import prepared
    from cnncli.tasks.train.run_directory import RunDirectory, default_run_directory, open_default_run_directory

    names = Path(plan.model.name).stem, plan.data.name
    if given.dry_run:
        yield from _show_plan(plan, given.run_path or default_run_directory(*names), notes)
        return
    if given.overfit_batch or given.gradcheck:
        yield from _check(plan, notes, given)
        return
    named = given.run_path
    opened = RunDirectory(named, force=given.force) if named else open_default_run_directory(*names)
    with opened as run:
        yield prepared(plan, run.path)
        for text in (*notes, run.note):
            if text:
                yield Note(text)
        yield from _train_in(run, plan, given, line)


def _train_in(
    run: RunDirectory, plan: TrainingPlan, given: TrainArguments, line: str, saved: SavedRun | None = None
) -> Iterator[TrainingEvent]:
    """Train into an open run directory."""
    from cnncli.tasks.train.events import Finished
    from cnncli.tasks.train.loop import make_engine_session, train

    run.command = line
    is_finished = False
    for event in train(plan, run, make_engine_session, saved):
        yield event
        is_finished = is_finished or isinstance(event, Finished)
    if is_finished and given.report:  # here the memory of the training is free again
        _write_report(run.path, plan)


def _write_report(folder: Path, plan: TrainingPlan) -> None:
    """Write the files that show a finished run; it is whole without them.

    Raises
    ------
    CnnError
        A full disk: files that were asked for are missing.
    """
    from cnncli.cli.report import write_report
    from cnncli.io.checkpoint import read_checkpoint
    from cnncli.tasks.evaluate.run_data import LabelledImages

    part = "test" if len(plan.test) else "validation"
    images = plan.test if len(plan.test) else plan.validation
    if not len(images):
        return
    try:
        chosen = LabelledImages(plan.data.name, part, images)
        write_report(folder, folder, read_checkpoint(folder), plan.model, chosen, threads=plan.options.threads)
    except InterruptedRunError:
        raise
    except (CnnError, MemoryError) as error:
        hint = f"the run is complete; `cnn report {folder}` writes the report"
        if isinstance(error, MemoryError):
            raise CnnError("too little memory for the report", where=str(folder), hint=hint) from None
        raise CnnError(error.message, where=error.where, hint=hint) from None
