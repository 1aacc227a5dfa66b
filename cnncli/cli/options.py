"""Options that several commands share, and how a command hands out its text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cnncli.errors import InvalidInputError, UsageError
from cnncli.reporting.notation import NOTATIONS
from cnncli.shapes import Shape

Command = TypeVar("Command", bound=Callable[..., Any])

ARGUMENTS = "cnncli.arguments"  # in the context: everything that was typed after `cnn`
TEXT_FORMATS = ("table", "plain", "json", "jsonl", "csv", "md", "latex")
_EXTENSIONS = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".md": "md", ".tex": "latex", ".txt": "plain"}


class ShapeType(click.ParamType[Shape]):
    """A shape as ``28x28x3`` or ``3@28x28``."""

    name = "shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shape:
        """Return the text as (C, H, W); fail with what is wrong with it."""
        from cnncli.language.notation import parse_shape

        try:
            return parse_shape(str(value))
        except InvalidInputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


class SizeType(click.ParamType["tuple[int, int] | None"]):
    """Height and width as ``64x48``, or one number for both; ``auto`` is None."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int] | None:
        """Return (height, width)."""
        if value == "auto" or isinstance(value, tuple):
            return None if value == "auto" else value
        sides = str(value).lower().split("x")
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() and 1 <= int(side) <= 4096 for side in sides):
            self.fail(f"{value!r} is not HEIGHTxWIDTH of 1 to 4096 pixels, as in 64x48", param, ctx)
        return int(sides[0]), int(sides[-1])


class ClassesType(click.ParamType["tuple[str, ...]"]):
    """Names of classes as ``cat,dog``."""

    name = "classes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names; fail with what is wrong with them."""
        from cnncli.tasks.data.choice import parse_classes

        try:
            return value if isinstance(value, tuple) else parse_classes(str(value))
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


class ChannelsType(click.Choice[int]):
    """1 for gray, 3 for colour."""

    def __init__(self) -> None:
        super().__init__([1, 3])


def refuse_unused_data_dir(source: str) -> None:
    """Refuse ``--data-dir`` beside a data set that does not lie in one; CNN_DATA_DIR is for all commands.

    Raises
    ------
    UsageError
        Also where `source` is neither a name nor a path.
    """
    from cnncli.io.datasets.catalogue import find_entry, is_own

    own = is_own(source)
    given = click.get_current_context().get_parameter_source("data_dir")
    if given is click.core.ParameterSource.COMMANDLINE and (own or find_entry(source).is_bundled):
        what = "names its files" if own else "is bundled"
        raise UsageError(f"--data-dir is not used: {source} {what}", hint="leave it away")


def output_option(command: Command) -> Command:
    """Add ``-o/--output`` and ``-f/--force``."""
    command = click.option("-f", "--force", is_flag=True, help="Overwrite an existing output.")(command)
    return click.option("-o", "--output", metavar="PATH|-", help="Write here instead of standard output.")(command)


def format_option(command: Command) -> Command:
    """Add ``--format`` and ``--json``."""
    command = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(command)
    return click.option(
        "--format",
        "format_name",
        type=click.Choice(TEXT_FORMATS),
        help="Form of the output; by default a table on a terminal, plain text in a pipe.",
    )(command)


def quiet_option(command: Command) -> Command:
    """Add ``-q/--quiet``, which leaves out remarks."""
    return click.option("-q", "--quiet", is_flag=True, help="The answer alone, without remarks.")(command)


def no_color_option(command: Command) -> Command:
    """Add ``--no-color``, which is the same as NO_COLOR=1 in the environment."""

    def obey(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            os.environ["NO_COLOR"] = "1"

    text = "No colours and no bold; also NO_COLOR=1."
    return click.option("--no-color", is_flag=True, expose_value=False, callback=obey, help=text)(command)


def notation_option(command: Command) -> Command:
    """Add ``--notation``: how shapes are written."""
    return click.option(
        "--notation",
        type=click.Choice(NOTATIONS, case_sensitive=False),
        help="How shapes are written.",
    )(command)


def choose_format(format_name: str | None, as_json: bool, output: str | None, *, picture: bool = False) -> str:
    """Return the format: as asked for, else by the extension of `output`, else by the kind of standard output.

    Parameters
    ----------
    format_name, as_json, output
        The options of the command line.
    picture : bool
        The command can draw: ``.svg`` is a format.

    Raises
    ------
    UsageError
        Options that exclude each other, or an extension that no format has.
    """
    if as_json and format_name not in (None, "json"):
        raise UsageError(f"--json and --format {format_name} exclude each other", hint="give one of them")
    if as_json:
        return "json"
    if format_name:
        return format_name
    if output and output != "-":
        from pathlib import Path

        known = {**_EXTENSIONS, ".svg": "svg"} if picture else _EXTENSIONS
        suffix = Path(output).suffix.lower()
        if suffix and suffix not in known:
            hint = f"use {', '.join(known)}, or say which with --format"
            raise UsageError(f"{suffix} is not a form of this output", where=output, hint=hint)
        return known.get(suffix, "plain")
    return "table" if sys.stdout.isatty() else "plain"


def hand_out(text: str, output: str | None, *, force: bool = False, say: bool = False) -> None:
    """Write `text` to a file (and `say` so on standard error) or to standard output."""
    if output and output != "-":
        from cnncli.io.atomic import write_atomically

        write_atomically(output, text.encode(), overwrite=force)
        if say:
            from cnncli.errors import printable

            click.echo(f"wrote {printable(output)}", err=True)
        return
    from cnncli.reporting.encodable import encodable

    click.echo(encodable(text, sys.stdout), nl=False, color=True)
