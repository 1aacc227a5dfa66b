"""`cnn eval`: measure a trained network on labelled images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnncli.cli.options import (
    choose_format,
    format_option,
    hand_out,
    no_color_option,
    output_option,
    quiet_option,
)
from cnncli.errors import UsageError, printable

if TYPE_CHECKING:
    from cnncli.io.checkpoint import Checkpoint
    from cnncli.model.network import Model
    from cnncli.reporting.results.evaluation import Measured
    from cnncli.tasks.evaluate.evaluate import Evaluation
    from cnncli.tasks.evaluate.run_data import LabelledImages

_PARTS = ("test", "validation", "train")


@dataclass(frozen=True)
class EvalArguments:
    """What was typed: one field for each argument and option of the command, by its name there."""

    run: str
    dataset: str | None
    data_dir: str | None
    part: str | None
    limit: int | None
    batch_size: int
    top_k: int | None
    worst: int
    expected: tuple[str, ...]
    threads: int | None
    format_name: str | None
    as_json: bool
    output: str | None
    force: bool
    quiet: bool


@click.command("eval")
@click.argument("run", metavar="RUN|FILE")
@click.option("-d", "--dataset", metavar="NAME|DIR|FILE", help="Another data set than that of the run.")
@click.option("--data-dir", metavar="DIR", envvar="CNN_DATA_DIR", help="Where its files are [the user's cache].")
@click.option("--part", type=click.Choice(_PARTS), help="Which of its images [test, if there are any].")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option(
    "-b",
    "--batch-size",
    type=click.IntRange(1, 65_536),
    default=64,
    show_default=True,
    metavar="N",
    help="Images at a time; the result does not depend on it.",
)
@click.option("-t", "--top-k", type=click.IntRange(1, 1000), metavar="K", help="Right within the first K answers  [5].")
@click.option(
    "--worst", type=click.IntRange(0, 10**6), default=5, show_default=True, metavar="N", help="Worst mistakes."
)
@click.option("--expect", "expected", metavar="CONDITION", multiple=True, help="Exit with 4 unless it holds.")
@click.option(
    "-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", metavar="N", help="[all processors]"
)
@format_option
@output_option
@no_color_option
@quiet_option
def command(**options: Any) -> None:
    r"""Measure a trained network on labelled images.

    \b
    Examples:
      cnn eval runs/lenet5-mnist-1                     the test images of the run
      cnn eval runs/lenet5-mnist-1 --part validation   as in its history
      cnn eval m/last.safetensors --json               one JSON object
      cnn eval m --expect 'acc>=0.98'                  exit code 4 below
      cnn eval m --expect 'recall.7>0.95'              of one class
      cnn eval m --format jsonl                        one line per image

    RUN is a run directory (its best weights) or a checkpoint. Accuracy and loss are those that training reported, to
    the last bit, with any batch size and any number of threads. --format csv, md and latex hold the table of classes.
    """
    given = EvalArguments(**options)
    for name, value in {"RUN": given.run, "--dataset": given.dataset, "--data-dir": given.data_dir}.items():
        if value == "":
            raise UsageError(f"{name} is empty", hint="name one, or leave it away")
    _evaluate(given)


def _evaluate(given: EvalArguments) -> None:
    from cnncli import threads
    from cnncli.io.checkpoint import BEST, read_checkpoint
    from cnncli.io.datasets.catalogue import is_bundled
    from cnncli.reporting.results.evaluation import Measured
    from cnncli.reporting.results.work_bar import WorkBar
    from cnncli.tasks.evaluate.figures import Condition, check_conditions, check_names, figures_of, named_figures
    from cnncli.tasks.evaluate.run_data import Wanted, images_of_run
    from cnncli.tasks.predict.predict import checkpoint_model

    style = choose_format(given.format_name, given.as_json, given.output)
    _refuse_unused(style)
    conditions = [Condition.parse(text) for text in given.expected]
    checkpoint = read_checkpoint(given.run)
    where = given.run if given.run.endswith(".safetensors") else f"{given.run}/{BEST}"
    model = checkpoint_model(checkpoint, where)
    top_k = _top_k(given, len(checkpoint.classes))
    say = _silent if given.quiet else _say
    data_dir = None if given.data_dir is None else Path(given.data_dir)
    wanted = Wanted(given.dataset, data_dir, given.part, given.limit, threads.resolve(given.threads))
    chosen = images_of_run(checkpoint, where, wanted, say)
    if _is_typed("data_dir") and is_bundled(chosen.dataset):
        raise UsageError(f"--data-dir is not used: {chosen.dataset} is bundled", hint="leave it away")
    for note in chosen.notes:
        say(f"note: {printable(note)}")
    with WorkBar("images", len(chosen.images), sys.stderr, is_shown=sys.stderr.isatty() and not given.quiet) as bar:
        evaluation = measure(
            checkpoint, model, chosen, where, batch_size=given.batch_size, threads=wanted.threads, show=bar.show
        )
    known = named_figures(evaluation, figures_of(evaluation, top_k)) if conditions else {}
    check_names(conditions, known)
    measured = Measured.of(evaluation, where, model, checkpoint, chosen)
    hand_out(_text(measured, style, top_k, given.worst), given.output, force=given.force, say=not given.quiet)
    check_conditions(conditions, known, where)


def _is_typed(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _refuse_unused(style: str) -> None:
    """Refuse options for figures that the output has no place for."""
    if style in ("table", "plain", "json"):
        return
    what = "one line per image" if style == "jsonl" else "the table of classes"
    for name in ("top_k", "worst"):
        if _is_typed(name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} has no place in {style}: it holds {what}", hint=f"leave out {flag}")


def _silent(_: str) -> None:
    """Say nothing: --quiet."""


def _say(line: str) -> None:
    click.echo(line, err=True)


def _top_k(given: EvalArguments, classes: int) -> int | None:
    """Return how many answers count; by itself 5, but no such figure where all or nearly all classes would count."""
    if given.top_k is not None and given.top_k > classes:
        raise UsageError(f"--top-k {given.top_k}: the network has {classes} classes", hint=f"use 1 to {classes}")
    return given.top_k or (5 if classes > 6 else 2 if classes > 2 else None)


def measure(
    checkpoint: Checkpoint,
    model: Model,
    chosen: LabelledImages,
    where: str,
    *,
    batch_size: int,
    threads: int,
    show: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Return what the network of a checkpoint makes of images.

    `where` names the checkpoint in messages, `show` takes how many images are done.
    """
    from cnncli.tasks.evaluate.evaluate import Evaluation, evaluate
    from cnncli.tasks.predict.predict import load_weights, loss_of, make_engine_session

    size = min(batch_size, len(chosen.images))
    session = make_engine_session(model, checkpoint, batch_size=size, threads=threads)
    load_weights(session, checkpoint)
    loss = loss_of(model, checkpoint)
    for event in evaluate(session, chosen.images, checkpoint.classes, loss, where):
        if isinstance(event, Evaluation):
            return event
        show(event.done)
    raise RuntimeError("an evaluation ends with its result")


def _text(measured: Measured, style: str, top_k: int | None, worst: int) -> str:
    from cnncli.reporting.results.evaluation import as_json, as_text, image_lines

    if style == "json":
        return json.dumps(as_json(measured, top_k, worst)) + "\n"
    return image_lines(measured) if style == "jsonl" else as_text(measured, style, top_k, worst)
