"""`cnncli.train`: what `cnn train` does, as a generator of its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike, fspath

import click

from cnncli.cli.main import usage_error
from cnncli.cli.options import ARGUMENTS
from cnncli.cli.train import checked, command, training_events
from cnncli.cli.train_options import TrainArguments
from cnncli.errors import UsageError, did_you_mean
from cnncli.tasks.data.choice import join_classes
from cnncli.tasks.train.events import TrainingEvent

_OUTPUT = ("quiet", "plain", "as_json")  # events are values here


def train(
    arch: str | PathLike[str] | None = None,
    dataset: str | PathLike[str] | None = None,
    **options: object,
) -> Iterator[TrainingEvent]:
    """Train a network on images; yield the events of ``cnn train``, which writes the same run directory.

    Nothing is trained that is not asked for: each event is made when the loop over them comes to it, and leaving the
    loop stops the run. Options are checked at once.

    Parameters
    ----------
    arch : str or path, optional
        Preset or architecture file; by default what suits the data.
    dataset : str or path, optional
        As ``--dataset``; may be missing with ``resume``.
    **options
        Every option of the command under its long name with underscores: ``epochs=5``, ``batch_size=32``, ``lr=0.001``,
        ``run_dir="m"``, ``shuffle=False``, ``resume="runs/digits-1"``. None and False stand for one that is not given.

    Yields
    ------
    Note, Prepared, Progress, Evaluating, EpochDone, Finished ...
        Of `cnncli.tasks.train.events`; `EpochDone` has `epoch`, `loss`, `acc`, `val_loss`, `val_acc`, `Finished` has
        `test_acc` and `run_dir`.

    Raises
    ------
    CnnError
        As the command; ``InterruptedRunError`` after Ctrl-C, when all is saved.

    Examples
    --------
    >>> events = train("lenet5", "mnist", optimiser="sgd")
    Traceback (most recent call last):
    cnncli.errors.UsageError: train has no option 'optimiser'; did you mean optimizer?
    """
    words = [] if arch is None else ["--arch", fspath(arch)]
    given = {"dataset": dataset, **options}
    for name, value in given.items():
        words += _words(name, value)
    try:
        context = command.make_context("cnn train", list(words))
        context.meta[ARGUMENTS] = ["train", *words]  # the report of the run says them
        with context.scope(cleanup=False):
            arguments = checked(context.params)
    except click.UsageError as error:
        raise usage_error(error) from None
    return _events(context, arguments)


def _events(context: click.Context, arguments: TrainArguments) -> Iterator[TrainingEvent]:
    said: list[TrainingEvent] = []
    events = training_events(arguments, said.append)
    with context.scope():
        first = next(events, None)
    yield from said
    if first is not None:
        yield first
    yield from events


def _words(name: str, value: object) -> list[str]:
    """Return an option as it would be typed."""
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    by_name = {o.lstrip("-").replace("-", "_"): option for option in options.values() for o in option.opts}
    if name not in by_name or len(name) == 1 or by_name[name].name in _OUTPUT or name == "arch":
        known = [word for word, option in by_name.items() if len(word) > 1 and option.name not in _OUTPUT]
        raise UsageError(f"train has no option {name!r}", hint=did_you_mean(name, known, "see `cnn train --help`"))
    option = by_name[name]
    word = f"--{name.replace('_', '-')}"
    if option.is_flag:
        if not isinstance(value, bool | None):
            raise UsageError(f"{value!r} is not True or False", where=word)
        return [word] if value else list(option.secondary_opts[:1]) if value is False else []
    if value is None or value is False:
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        texts = [str(item) for item in value]
        value = join_classes(texts) if option.name == "classes" else "x".join(texts)  # of resize: rows and columns
    return [f"{word}={fspath(value) if isinstance(value, PathLike) else value}"]
