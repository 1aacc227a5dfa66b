"""`cnn data`: the data sets by name, their files, and what is in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cnncli import SCHEMA
from cnncli.cli.options import (
    ChannelsType,
    SizeType,
    choose_format,
    format_option,
    hand_out,
    output_option,
    refuse_unused_data_dir,
)
from cnncli.errors import UsageError, did_you_mean, printable

Command = TypeVar("Command", bound=Callable[..., Any])

_data_dir = click.option(
    "--data-dir",
    metavar="DIR",
    envvar="CNN_DATA_DIR",
    help="Where the files of named data sets are, or are fetched to [the user's cache].",
)
_threads = click.option(
    "-j", "--threads", type=click.IntRange(1, 1024), envvar="CNN_THREADS", metavar="N", help="[all processors]"
)


def _form_options(command: Command) -> Command:
    """Add the options that say in which form pictures enter a network."""
    for option in (
        click.option("--channels", type=ChannelsType(), help="Gray or colour, of pictures of your own [theirs]."),
        click.option("--fit", type=click.Choice(["pad", "crop", "stretch"]), help="How they are brought to it [pad]."),
        click.option(
            "--resize", type=SizeType(), metavar="HxW", help="Size of pictures of your own [theirs; mixed: 64x64]."
        ),
    ):
        command = option(command)
    return command


class DataGroup(click.Group):
    """A group that names the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.commands, "see `cnn data --help`")
            raise UsageError(f"no such command 'data {args[0]}'", hint=hint)
        return super().resolve_command(ctx, args)


@click.group("data", cls=DataGroup, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    r"""List, fetch, check and describe data sets.

    \b
    Examples:
      cnn data list                     which there are, and where
      cnn data get mnist cifar10        fetch and check
      cnn data verify photos/           can every picture be read?
      cnn data stats photos.zip         classes, sizes, mean and deviation
      cnn data path mnist               where its files are

    A data set of your own is a folder of pictures with a folder for each class (or train/, val/ and test/ above them),
    a zip or tar of such a folder, NumPy's .npz with x_train, y_train, x_test, y_test, or a .csv table of path,label.
    """


@command.command("list", short_help="Data sets by name, and where they are.")
@_data_dir
@format_option
@output_option
def list_command(data_dir: str | None, format_name: str | None, as_json: bool, output: str | None, force: bool) -> None:
    r"""List the data sets by name, and where their files are.

    \b
    Examples:
      cnn data list
      cnn data list --json
    """
    from cnncli.reporting.datasets import tables
    from cnncli.tasks.data.inventory import holdings

    form = choose_format(format_name, as_json, output)
    found = list(holdings(_folder(data_dir)))
    if form in ("json", "jsonl"):
        bodies = tables.inventory_json(found)
        text = _json(form, {"schema": SCHEMA, "datasets": bodies}, bodies)
    else:
        text = tables.inventory_text(found, form)
    hand_out(text, output, force=force, say=True)


@command.command("get", short_help="Fetch and check; print where they are.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_data_dir
def get_command(names: tuple[str, ...], data_dir: str | None) -> None:
    r"""Fetch data sets and check them; print where they are.

    \b
    Examples:
      cnn data get mnist
      cnn data get cifar10 --data-dir /data

    A copy that is there already is checked and kept. CNN_OFFLINE=1 never touches the network.
    """
    from cnncli.io.datasets.catalogue import find_entry
    from cnncli.tasks.data.inventory import get

    for name in names:
        find_entry(name)
    for name in names:
        found = get(name, _folder(data_dir), lambda line: click.echo(f"note: {line}", err=True))
        click.echo(printable(found.place))


@command.command("path", short_help="Where the files of a data set are.")
@click.argument("name")
@_data_dir
def path_command(name: str, data_dir: str | None) -> None:
    r"""Print where the files of a data set are, one on each line.

    \b
    Examples:
      cnn data path mnist
    """
    from cnncli.tasks.data.inventory import require

    found = require(name, _folder(data_dir))
    if found.entry.is_bundled:
        raise UsageError(f"{name} is bundled: it has no files of its own", hint="cnn data stats says what is in it")
    for path in found.paths:
        click.echo(printable(str(path)))


@command.command("verify", short_help="Read all, check checksums and pictures.")
@click.argument("sources", nargs=-1, required=True, metavar="NAME|PATH...")
@_data_dir
@_threads
@_form_options
def verify_command(sources: tuple[str, ...], data_dir: str | None, threads: int | None, **form: Any) -> None:
    r"""Read all of a data set: are its checksums known, can every picture be decoded?

    \b
    Examples:
      cnn data verify mnist
      cnn data verify photos/ scans.zip

    Prints the SHA-256 of names, labels and pixels, which a checkpoint of the same form holds as data_sha256. Nothing is
    fetched.
    """
    from cnncli import threads as thread_count
    from cnncli.tasks.data.inventory import verify
    from cnncli.tasks.data.request import DataRequest

    for source in sources:
        refuse_unused_data_dir(source)
        data = verify(DataRequest(source, _folder(data_dir), **form), thread_count.resolve(threads))
        for note in data.notes:
            click.echo(f"note: {printable(note)}", err=True)
        images = sum(len(part) for part in data.parts.values())
        click.echo(f"{printable(source)}: {images} images, good, sha256 {data.sha256}")


@command.command("stats", short_help="Images by part and class, mean, deviation.")
@click.argument("source", metavar="NAME|PATH")
@_data_dir
@_threads
@_form_options
@format_option
@output_option
def stats_command(
    source: str,
    data_dir: str | None,
    threads: int | None,
    resize: tuple[int, int] | None,
    fit: str | None,
    channels: int | None,
    format_name: str | None,
    as_json: bool,
    output: str | None,
    force: bool,
) -> None:
    r"""Say what is in a data set: images by part and class, mean and deviation.

    \b
    Examples:
      cnn data stats digits
      cnn data stats photos/ --json
      cnn data stats table.csv --format csv -o classes.csv

    The numbers are those of the pixels as `cnn train` takes them in the same form. Nothing is fetched.
    """
    from cnncli import threads as thread_count
    from cnncli.reporting.datasets import tables
    from cnncli.tasks.data.inventory import load_here, statistics
    from cnncli.tasks.data.request import DataRequest

    refuse_unused_data_dir(source)
    form = choose_format(format_name, as_json, output)
    request = DataRequest(source, _folder(data_dir), resize, fit, channels)
    found = statistics(load_here(request, thread_count.resolve(threads)))
    if form in ("json", "jsonl"):
        body = tables.statistics_json(found)
        text = _json(form, body, [body])
    else:
        text = tables.statistics_text(found, form)
    hand_out(text, output, force=force, say=True)


def _folder(data_dir: str | None) -> Path | None:
    if data_dir == "":
        raise UsageError("--data-dir is empty", hint="name a folder, or leave it away")
    return None if data_dir is None else Path(data_dir)


def _json(form: str, whole: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    if form == "jsonl":
        return "".join(json.dumps(line) + "\n" for line in lines)
    return json.dumps(whole, indent=2) + "\n"
